//! A capture on disk: a folder that survives being killed at any point and a restart of the machine.
//!
//! What the folder holds, and in which order it comes to be, is written in docs/formats/session.md.

mod compare;
mod content;
mod files;
mod kept;
mod overlay;
mod snapshots;

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use capture::{Event, Facts, Illegal, Observer, State};
use model::Time;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{overlay::Layer, scan::Skip};

pub use compare::SecondObserver;
pub use content::{ContentError, Finished, Notes, Side};
pub use files::SESSION_FORMAT;
pub use overlay::{RunError, RunSettings};
pub use snapshots::{KEEP, Progress, SnapshotSettings, snapshot_of};

/// Where sessions are kept unless somebody says otherwise.
pub const SESSIONS: &str = "/var/lib/packhorse-capture";

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
    _lock: File,
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

impl Session {
    /// Begins a session in `folder`, which must hold none. Facts are recorded, nothing is scanned yet.
    ///
    /// # Errors
    /// A session that is there already, finished or not; a folder that cannot be written.
    pub fn begin(folder: &Path, beginning: Beginning) -> Result<Self, BeginError> {
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
        files::make_folder(folder).map_err(failed)?;
        let lock = take_lock(folder)?;
        let facts = crate::facts::read_facts(&beginning.root, &beginning.host_name);
        files::write_whole(folder, files::FACTS, &facts).map_err(failed)?;
        File::create(folder.join(files::JOURNAL)).map_err(failed)?;
        // The last to come to be: without it the folder holds no session.
        files::write_whole(folder, files::SESSION, &beginning).map_err(failed)?;
        let since = beginning.begun;
        Ok(Self { folder: folder.to_owned(), beginning, state: State::Begun, since, _lock: lock })
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
        Ok(Self { folder: folder.to_owned(), beginning, state, since, _lock: lock })
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

    /// Ends the observation and writes the change set; after a restart too, against the baseline it was
    /// begun with.
    ///
    /// # Errors
    /// A baseline that was never completed; a root that cannot be read; a session that cannot be written.
    pub fn finish(self, progress: Progress<'_>) -> Result<Finished, RunError> {
        match self.beginning.observer {
            Observer::Overlay => self.finish_overlay(),
            Observer::Snapshots => self.finish_snapshots(progress),
        }
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
        files::remove(&self.folder)
            .map_err(|reason| AdvanceError::Write { folder: self.folder.clone(), reason })
    }

    pub(crate) fn advance(&mut self, event: Event) -> Result<(), AdvanceError> {
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
    let _lock = take_lock(folder)?;
    files::remove(folder).map_err(|reason| BeginError::Write { folder: folder.to_owned(), reason })
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
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(OpenSessionError::InUse { folder: folder.to_owned() })
        }
        Err(error) => Err(read(error.into())),
    }
}

/// The time now, for people to read: nothing is decided by it.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}

/// A host name nobody has by chance, so that its traces can be found: `packhorse-` and 8 digits.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn unmistakable_host_name() -> io::Result<String> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("packhorse-{:08x}", u32::from_ne_bytes(bytes)))
}
