use std::{
    ffi::{CString, OsStr},
    fs::File,
    io::{self, Read},
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use capture::{CapturedFiles, Names, Observer, Side};
use machine_linux::{
    node::{Attributes, read_node},
    owners::read_names,
    session::{self, ContentError, Finished},
};
use model::{Entry, Kind, MachinePath};

/// The files of a finished session, changed or not.
pub(crate) struct Captured<'a> {
    finished: &'a Finished,
    names: Names,
}

impl<'a> Captured<'a> {
    /// Reads the account names of the captured root.
    pub(crate) fn of(finished: &'a Finished) -> io::Result<Self> {
        Ok(Self { finished, names: read_names(&finished.session().beginning().root)? })
    }

    /// Where a path that did not change lies on this machine.
    fn unchanged(&self, path: &MachinePath) -> Option<PathBuf> {
        let beginning = self.finished.session().beginning();
        match beginning.observer {
            Observer::Snapshots => Some(join(&beginning.root, path.relative())),
            Observer::Overlay => {
                let nearest = beginning
                    .layers
                    .iter()
                    .filter(|layer| path.is_within(&layer.path))
                    .max_by_key(|layer| layer.path.parts().count())?;
                Some(join(&nearest.lower, path.below(&nearest.path)?))
            }
        }
    }
}

impl CapturedFiles for Captured<'_> {
    fn open(&self, path: &MachinePath, side: Side) -> io::Result<Option<Box<dyn Read + '_>>> {
        match self.entry(path, side)?.map(|entry| entry.kind) {
            Some(Kind::File(_) | Kind::HardLink(_)) => {}
            _ => return Ok(None),
        }
        let side = match side {
            Side::Before => session::Side::Before,
            Side::After => session::Side::After,
        };
        match self.finished.content(path, side) {
            Ok(reader) => Ok(Some(reader)),
            Err(ContentError::NotKept { .. }) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn entry(&self, path: &MachinePath, side: Side) -> io::Result<Option<Entry>> {
        if let Some(change) = self.finished.changes.changes.get(path) {
            return Ok(match side {
                Side::Before => change.before.clone(),
                Side::After => change.after.clone(),
            });
        }
        let Some(at) = self.unchanged(path) else { return Ok(None) };
        let absent = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        };
        let (folder, name) = match (at.parent(), at.file_name()) {
            (Some(folder), Some(name)) => (folder, CString::new(name.as_bytes())?),
            _ => (at.as_path(), CString::default()),
        };
        let folder = match File::open(folder) {
            Ok(folder) => folder,
            Err(error) if absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        match read_node(folder.as_fd(), &name, Attributes::Plain) {
            Ok((node, _)) => Ok(Some(node.entry(&self.names))),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn join(folder: &Path, below: &[u8]) -> PathBuf {
    if below.is_empty() { folder.to_owned() } else { folder.join(OsStr::from_bytes(below)) }
}
