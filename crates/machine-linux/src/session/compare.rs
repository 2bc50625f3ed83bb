//! The second observer of an overlay run: two snapshots of the merged view, taken inside.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use capture::{Contents, Record, SnapshotHeader};
use model::{Hash, Kind};

use ::session::{
    BASELINE, OBSERVED, ObserveError, Reference as _, compare, hash_now, hash_of, write_snapshot,
    write_with,
};

use super::{Root, RunError};
use crate::{
    namespaces::Observer,
    node::hash,
    overlay::{Layer, open_before},
    owners::read_names,
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
        self.session.join(BASELINE)
    }
}

impl Observer for SecondObserver {
    fn before(&mut self, merged: &Path) -> io::Result<()> {
        let root = Root(merged.to_owned());
        let header =
            SnapshotHeader { names: read_names(merged)?, started: root.clock(&self.session)? };
        let file = BufWriter::new(File::create(self.baseline())?);
        let started = header.started;
        let written =
            write_snapshot(&root, &[], file, &header, &mut |_| {}, &mut |record, place| {
                if record.stamp.changed >= started { hash_now(record, place) } else { Ok(()) }
            });
        written.map_err(io::Error::other)?.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(())
    }

    fn after(&mut self, merged: &Path) -> io::Result<()> {
        let root = Root(merged.to_owned());
        let mut contents = MergedContents { merged: root.clone(), layers: self.layers.clone() };
        let names = read_names(merged)?;
        let compared =
            compare::<_, RunError>(&self.baseline(), &root, &[], names, &mut contents, &mut |_| {})
                .map_err(io::Error::other)?;
        write_with(&self.session, OBSERVED, |file| capture::write_changes(&compared.changes, file))
    }
}

/// Content after in the merged view; content before in what lies below, which nobody writes.
struct MergedContents {
    merged: Root,
    layers: Vec<Layer>,
}

impl Contents for MergedContents {
    type Error = RunError;

    fn before(&mut self, record: &Record) -> Result<Option<Hash>, RunError> {
        let Kind::File(content) = &record.node.kind else { return Ok(None) };
        let file = open_before(&self.layers, &record.path)?;
        let failed = |reason| ObserveError::Prepare { root: self.merged.0.clone(), reason };
        Ok(hash(&file, content).map_err(failed)?)
    }

    fn after(&mut self, record: &Record) -> Result<Option<Hash>, RunError> {
        Ok(hash_of(&self.merged, record)?)
    }
}
