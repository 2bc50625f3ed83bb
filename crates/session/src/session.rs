//! The folder of a capture, open.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use capture::{ChangeSet, Event, Facts, Illegal, Observer, State};
use model::Time;
use serde::{Deserialize, Serialize};

use crate::{Layer, Notes, Outcome, SESSION_FORMAT, Skip, files, platform};

/// What a session was begun with; written once, before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Beginning {
    /// The format of the folder.
    pub format: u32,
    /// The root that is captured.
    pub root: PathBuf,
    /// How it is observed.
    pub observer: Observer,
    /// Whether all content is hashed for the baseline.
    pub hash: bool,
    /// How many bytes of old content may be kept outside `/etc`.
    pub keep: u64,
    /// When it was begun.
    pub begun: Time,
    /// The host name the installer sees.
    pub host_name: String,
    /// The overlays, when it is observed so.
    pub layers: Vec<Layer>,
    /// What is no part of the machine.
    pub skips: Vec<Skip>,
}

/// An open session: nobody else has it open.
#[derive(Debug)]
pub struct Session {
    folder: PathBuf,
    beginning: Beginning,
    state: State,
    since: Time,
    /// Held for as long as the session is open; the kernel lets go of it with the process.
    lock: File,
}

/// A session cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The folder has a session already.
    #[error(
        "`{}` holds a capture of `{}`, {state} since {since}; it waits for {waits_for}",
        folder.display(),
        root.display()
    )]
    Pending {
        /// The session's folder.
        folder: PathBuf,
        /// The root it captures.
        root: PathBuf,
        /// How far it is.
        state: State,
        /// Since when.
        since: Time,
        /// What ends it.
        waits_for: &'static str,
    },
    /// What is in the folder cannot be told.
    #[error(transparent)]
    Open(#[from] OpenSessionError),
    /// The folder cannot be written.
    #[error("cannot write the session `{}`", folder.display())]
    Write {
        /// The session's folder.
        folder: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
}

/// A session cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenSessionError {
    /// There is none.
    #[error("`{}` holds no capture (`packhorse capture begin` starts one)", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// Another process has it open.
    #[error("the session `{}` is in use by another process", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A newer release wrote it.
    #[error(
        "the session `{}` has format {found}, and this release reads up to {}",
        folder.display(),
        SESSION_FORMAT
    )]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A file of it is not what was written.
    #[error("the session's file `{}` is damaged: {reason} (`packhorse capture discard` takes the session away)", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of it cannot be read.
    #[error("cannot read the session's file `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
}

/// A session cannot be moved on.
#[derive(Debug, thiserror::Error)]
pub enum AdvanceError {
    /// It is not that far, or further.
    #[error("the session `{}` cannot go on", folder.display())]
    Illegal {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        reason: Illegal,
    },
    /// The folder cannot be written.
    #[error("cannot write the session `{}`", folder.display())]
    Write {
        /// The session's folder.
        folder: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
}

/// A machine was not observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The session.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The session.
    #[error(transparent)]
    Open(#[from] OpenSessionError),
    /// The session.
    #[error(transparent)]
    Advance(#[from] AdvanceError),
    /// The root cannot be looked at, or the session cannot be written.
    #[error("cannot prepare the capture of `{}`", root.display())]
    Prepare {
        /// The root.
        root: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
}

impl Session {
    /// Begins a session in `folder`, which must hold none. The facts are recorded, nothing is scanned yet.
    ///
    /// # Errors
    /// A session that is there already, finished or not; a folder that cannot be written.
    pub fn begin(folder: &Path, beginning: Beginning, facts: &Facts) -> Result<Self, BeginError> {
        let failed = |reason| BeginError::Write { folder: folder.to_owned(), reason };
        match Self::open(folder) {
            Ok(session) => {
                return Err(BeginError::Pending {
                    folder: folder.to_owned(),
                    root: session.beginning.root.clone(),
                    state: session.state,
                    since: session.since,
                    waits_for: session
                        .state
                        .waits_for()
                        .unwrap_or("nothing: `packhorse capture discard` makes room"),
                });
            }
            Err(OpenSessionError::Missing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        platform::make_private(folder).map_err(failed)?;
        let lock = take_lock(folder)?;
        files::write_whole(folder, files::FACTS, facts).map_err(failed)?;
        File::create(folder.join(files::JOURNAL)).map_err(failed)?;
        // The last to come to be: without it the folder holds no session.
        files::write_whole(folder, files::SESSION, &beginning).map_err(failed)?;
        let since = beginning.begun;
        Ok(Self { folder: folder.to_owned(), beginning, state: State::Begun, since, lock })
    }

    /// Opens the session in `folder`, after a restart too.
    ///
    /// # Errors
    /// None there, in use, from a newer release, or damaged, in which case the file is named.
    pub fn open(folder: &Path) -> Result<Self, OpenSessionError> {
        let missing = || OpenSessionError::Missing { folder: folder.to_owned() };
        if !folder.join(files::SESSION).exists() {
            return Err(missing());
        }
        let lock = take_lock(folder)?;
        let beginning = files::read_beginning(folder)?;
        let (state, since) = files::read_journal(folder, beginning.begun)?;
        Ok(Self { folder: folder.to_owned(), beginning, state, since, lock })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it was begun with.
    pub fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// How far it is, and since when.
    pub fn state(&self) -> (State, Time) {
        (self.state, self.since)
    }

    /// The facts recorded when it was begun.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn facts(&self) -> Result<Facts, OpenSessionError> {
        files::read_json(&self.folder.join(files::FACTS))
    }

    /// Notes how the command ended that was run between the two scans.
    ///
    /// # Errors
    /// The session cannot be written.
    pub fn note_exit(&self, exit_code: i32) -> Result<(), ObserveError> {
        let outcome = Outcome { exit_code, ..Outcome::default() };
        files::write_whole(&self.folder, files::OUTCOME, &outcome)
            .map_err(|reason| self.failed(reason))
    }

    /// Writes the change set and all else there is to tell; the session is finished then.
    ///
    /// # Errors
    /// The session cannot be written, or is not that far.
    pub fn write_finished(
        &mut self,
        changes: &ChangeSet,
        notes: &Notes,
    ) -> Result<(), ObserveError> {
        files::write_whole(&self.folder, files::SKIPS, notes)
            .map_err(|reason| self.failed(reason))?;
        files::write_with(&self.folder, files::CHANGES, |file| {
            capture::write_changes(changes, file)
        })
        .map_err(|reason| self.failed(reason))?;
        Ok(self.advance(Event::ChangesDone)?)
    }

    /// The error of something that failed for this session's root.
    pub fn failed(&self, reason: io::Error) -> ObserveError {
        ObserveError::Prepare { root: self.beginning.root.clone(), reason }
    }

    /// Takes the session away with everything it kept; what an installer did to a real root stays.
    /// Killed halfway, the next call goes on.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn discard(mut self) -> Result<(), AdvanceError> {
        if self.state != State::Discarded {
            self.advance(Event::Discard)?;
        }
        let Self { folder, lock, .. } = self;
        files::remove(&folder, lock).map_err(|reason| AdvanceError::Write { folder, reason })
    }

    /// Writes down that something happened.
    ///
    /// # Errors
    /// It cannot happen now, or the folder cannot be written.
    pub fn advance(&mut self, event: Event) -> Result<(), AdvanceError> {
        let state = self
            .state
            .next(event)
            .map_err(|reason| AdvanceError::Illegal { folder: self.folder.clone(), reason })?;
        let at = now();
        files::append_journal(&self.folder, event, at)
            .map_err(|reason| AdvanceError::Write { folder: self.folder.clone(), reason })?;
        self.state = state;
        self.since = at;
        Ok(())
    }
}

/// Takes a damaged session away, of which nothing can be told any more.
///
/// # Errors
/// In use, or the folder cannot be written.
pub fn discard_damaged(folder: &Path) -> Result<(), BeginError> {
    let lock = take_lock(folder)?;
    files::remove(folder, lock)
        .map_err(|reason| BeginError::Write { folder: folder.to_owned(), reason })
}

/// The sessions in a folder of sessions.
///
/// # Errors
/// The folder cannot be listed.
pub fn sessions_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join(files::SESSION).exists())
        .collect();
    found.sort();
    Ok(found)
}

fn take_lock(folder: &Path) -> Result<File, OpenSessionError> {
    let path = folder.join(files::LOCK);
    let read = |reason| OpenSessionError::Read { file: path.clone(), reason };
    let mut options = OpenOptions::new();
    let lock =
        options.read(true).write(true).create(true).truncate(false).open(&path).map_err(read)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenSessionError::InUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(reason)) => Err(read(reason)),
    }
}

/// The time now, for people to read: nothing is decided by it.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}
