use std::io::{self, Read};

use capture::{CapturedFiles, Names, Side};
use model::{Entry, Kind, MachinePath};
use session::{ContentError, Finished};

use crate::source;

/// The files of a finished session, changed or not.
pub(crate) struct Captured<'a> {
    finished: &'a Finished,
    names: Names,
}

impl<'a> Captured<'a> {
    /// Reads the account names of the captured root.
    pub(crate) fn of(finished: &'a Finished) -> io::Result<Self> {
        Ok(Self { finished, names: source::names(finished)? })
    }
}

impl CapturedFiles for Captured<'_> {
    fn open(&self, path: &MachinePath, side: Side) -> io::Result<Option<Box<dyn Read + '_>>> {
        match self.entry(path, side)?.map(|entry| entry.kind) {
            Some(Kind::File(_) | Kind::HardLink(_)) => {}
            _ => return Ok(None),
        }
        match source::content(self.finished, path, side) {
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
        let node = source::unchanged(self.finished, path)?;
        Ok(node.map(|node| node.entry(&self.names)))
    }
}
