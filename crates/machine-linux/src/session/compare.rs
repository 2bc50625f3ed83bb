//! The second observer of an overlay run: two snapshots of the merged view, taken inside.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use capture::{Contents, Record, SnapshotHeader};
use model::{Hash, Kind};

use super::{
    RunError, files,
    snapshots::{clock, compare, hash_below, hash_now, write_snapshot},
};
use crate::{
    namespaces::Observer,
    node::hash,
    overlay::{Layer, open_before},
    owners::read_names,
    scan::Scan,
};

/// Observes the merged view before and after the run, and leaves its change set in the session.
pub struct SecondObserver {
    session: PathBuf,
    layers: Vec<Layer>,
}

impl SecondObserver {
    /// An observer for the run whose enclosure is described in `file`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of(file: &Path) -> io::Result<Self> {
        let enclosure: crate::namespaces::Enclosure =
            serde_json::from_slice(&std::fs::read(file)?)?;
        let session = file.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self { session, layers: enclosure.layers })
    }

    fn baseline(&self) -> PathBuf {
        self.session.join(files::BASELINE)
    }
}

impl Observer for SecondObserver {
    fn before(&mut self, merged: &Path) -> io::Result<()> {
        let scan = Scan::of(merged)?;
        let header = SnapshotHeader { names: read_names(merged)?, started: clock(&self.session)? };
        let file = BufWriter::new(File::create(self.baseline())?);
        let started = header.started;
        let written = write_snapshot(&scan, file, &header, &mut |_| {}, &mut |record, place| {
            if record.stamp.changed >= started { hash_now(record, place) } else { Ok(()) }
        });
        written.map_err(io::Error::other)?.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(())
    }

    fn after(&mut self, merged: &Path) -> io::Result<()> {
        let scan = Scan::of(merged)?;
        let mut contents =
            MergedContents { merged: merged.to_owned(), layers: self.layers.clone() };
        let names = read_names(merged)?;
        let compared = compare(&self.baseline(), &scan, names, &mut contents, &mut |_| {})
            .map_err(io::Error::other)?;
        files::write_with(&self.session, files::OBSERVED, |file| {
            capture::write_changes(&compared.changes, file)
        })
    }
}

/// Content after in the merged view; content before in what lies below, which nobody writes.
struct MergedContents {
    merged: PathBuf,
    layers: Vec<Layer>,
}

impl Contents for MergedContents {
    type Error = RunError;

    fn before(&mut self, record: &Record) -> Result<Option<Hash>, RunError> {
        let Kind::File(content) = &record.node.kind else { return Ok(None) };
        let file = open_before(&self.layers, &record.path)?;
        hash(&file, content)
            .map_err(|reason| RunError::Prepare { root: self.merged.clone(), reason })
    }

    fn after(&mut self, record: &Record) -> Result<Option<Hash>, RunError> {
        hash_below(&self.merged, record)
    }
}
