//! A finished session: the change set, and the content behind it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use capture::{ChangeSet, Disagreement, Facts, ReadChangesError, Side, State};
use model::{Entry, Kind, MachinePath};
use serde::{Deserialize, Serialize};

use crate::{LeftRunning, OpenSessionError, Opens, Reference, Session, Skip, files, kept::Kept};

/// A session whose change set is written.
#[derive(Debug)]
pub struct Finished {
    session: Session,
    /// What the installer did.
    pub changes: ChangeSet,
    /// What is peculiar to the reference machine.
    pub facts: Facts,
    /// What was left out, what it cost, and what else was noticed.
    pub notes: Notes,
}

/// What is to be told about a capture beside its changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Notes {
    /// Paths that were left out, and why.
    pub skips: Vec<Skip>,
    /// What the way it was observed cannot see or cost, as sentences.
    pub costs: Vec<String>,
    /// The command's exit code, where a command was run.
    pub exit_code: Option<i32>,
    /// Processes that outlived the command and were ended.
    pub left_running: Vec<LeftRunning>,
    /// How often each existing file was opened, outside the folders that changed too.
    pub opens: BTreeMap<MachinePath, Opens>,
    /// The options overlayfs accepted.
    pub overlay_options: Option<String>,
    /// Where the second observer saw something else, when there was one.
    pub disagreements: Option<Vec<Disagreement>>,
}

/// The content of a path cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// It was not kept: the baseline keeps `/etc` and small text, up to a budget.
    #[error(
        "the old content of `{path}` was not kept (`packhorse capture begin --keep BYTES` keeps more)"
    )]
    NotKept {
        /// The path.
        path: MachinePath,
    },
    /// The machine has changed since.
    #[error("`{path}` was changed after the capture")]
    ChangedSince {
        /// The path.
        path: MachinePath,
    },
    /// It cannot be read.
    #[error("cannot read the content of `{path}`")]
    Read {
        /// The path.
        path: MachinePath,
        /// Why.
        #[source]
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Finished {
    /// Opens a finished session.
    ///
    /// # Errors
    /// Not finished, in use, newer, or damaged.
    pub fn open(session: Session) -> Result<Self, OpenSessionError> {
        let file = session.folder().join(files::CHANGES);
        if session.state().0 != State::Finished {
            return Err(OpenSessionError::Damaged {
                file,
                reason: format!("the capture is {}, not finished", session.state().0),
            });
        }
        let changes = read_changes_file(&file)?;
        let facts = session.facts()?;
        let notes = files::read_json(&session.folder().join(files::SKIPS))?;
        Ok(Self { session, changes, facts, notes })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Gives the session back, to discard it.
    pub fn into_session(self) -> Session {
        self.session
    }

    /// What `path` holds by the change set; of a hard link, where its content stands.
    pub fn place_of_content<'p>(&'p self, path: &'p MachinePath, side: Side) -> &'p MachinePath {
        match self.entry(path, side).map(|entry| &entry.kind) {
            Some(Kind::HardLink(first)) => first,
            _ => path,
        }
    }

    fn entry(&self, path: &MachinePath, side: Side) -> Option<&Entry> {
        let change = self.changes.changes.get(path)?;
        match side {
            Side::Before => change.before.as_ref(),
            Side::After => change.after.as_ref(),
        }
    }

    /// The content of the regular file at `path`, or of the file it is a hard link to, as two snapshots of `reference`
    /// have it.
    ///
    /// The caller compares the hash: a live machine may have changed since.
    ///
    /// # Errors
    /// Old content that was not kept, or a file that cannot be read.
    pub fn content_of_snapshots(
        &self,
        path: &MachinePath,
        side: Side,
        reference: &dyn Reference,
    ) -> Result<Box<dyn io::Read>, ContentError> {
        let at = self.place_of_content(path, side);
        match side {
            Side::Before => self.kept_content(at, self.entry(path, side), reference),
            Side::After => now_content(at, reference),
        }
    }

    fn kept_content(
        &self,
        path: &MachinePath,
        entry: Option<&Entry>,
        reference: &dyn Reference,
    ) -> Result<Box<dyn io::Read>, ContentError> {
        let failed =
            |reason: io::Error| ContentError::Read { path: path.clone(), reason: Box::new(reason) };
        let hash = match entry.map(|entry| &entry.kind) {
            Some(Kind::File(content)) => content.hash,
            // Another name of a file that itself changed, or a file that did not change at all.
            _ => match self.changes.changes.get(path).and_then(|change| change.before.as_ref()) {
                Some(Entry { kind: Kind::File(content), .. }) => content.hash,
                _ => return now_content(path, reference),
            },
        };
        let kept = Kept::open(&self.session.folder().join(files::KEPT)).map_err(failed)?;
        match hash.map(|hash| kept.read(&hash)) {
            Some(Ok(Some(content))) => Ok(Box::new(io::Cursor::new(content))),
            Some(Err(error)) => Err(failed(error)),
            _ => Err(ContentError::NotKept { path: path.clone() }),
        }
    }
}

fn now_content(
    path: &MachinePath,
    reference: &dyn Reference,
) -> Result<Box<dyn io::Read>, ContentError> {
    reference
        .open(path)
        .map_err(|reason| ContentError::Read { path: path.clone(), reason: Box::new(reason) })
}

/// Reads a change set of a session.
///
/// # Errors
/// It cannot be read, or is damaged.
pub fn read_changes_file(file: &Path) -> Result<ChangeSet, OpenSessionError> {
    let read = |reason| OpenSessionError::Read { file: file.to_owned(), reason };
    let opened = File::open(file).map_err(read)?;
    capture::read_changes(BufReader::new(opened)).map_err(|error| match error {
        ReadChangesError::Read(reason) => read(reason),
        other => OpenSessionError::Damaged { file: file.to_owned(), reason: other.to_string() },
    })
}
