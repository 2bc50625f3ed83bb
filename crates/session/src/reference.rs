//! The machine that is captured, as a session asks it.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use capture::{Facts, Names, Node, Record};
use model::{Content, Hash, MachinePath, Time};
use serde::{Deserialize, Serialize};

/// Takes the records of a scan, each with where it can be read.
pub type Sink<'a> = &'a mut dyn FnMut(Record, &dyn Place) -> io::Result<()>;

/// The machine that is captured.
pub trait Reference: Sync {
    /// The folder that is its root, as messages name it.
    fn root(&self) -> &Path;

    /// Its own host name.
    fn host_name(&self) -> String;

    /// What is no part of it and is known before it is walked.
    ///
    /// # Errors
    /// What is mounted cannot be told.
    fn passed_over(&self) -> io::Result<Vec<Skip>>;

    /// Walks it in path order: every path once, each folder right before what it holds, without the folders `own`,
    /// which are places on the machine we run on. Returns what was left out; nothing is left out silently.
    ///
    /// # Errors
    /// The root cannot be read at all, or `sink` failed.
    fn scan(&self, own: &[PathBuf], sink: Sink<'_>) -> Result<Vec<Skip>, ScanError>;

    /// What is at a path now; links are not followed.
    ///
    /// # Errors
    /// It cannot be looked at; where nothing is, [`io::ErrorKind::NotFound`] or [`io::ErrorKind::NotADirectory`].
    fn look(&self, path: &MachinePath) -> io::Result<Node>;

    /// Opens the content of a regular file; no link on the way is followed.
    ///
    /// # Errors
    /// It cannot be read.
    fn open(&self, path: &MachinePath) -> io::Result<Box<dyn Read>>;

    /// The hash of a file's content now; `None` for one too vast to read.
    ///
    /// # Errors
    /// It cannot be read.
    fn hash(&self, path: &MachinePath, content: &Content) -> io::Result<Option<Hash>>;

    /// Its account names.
    ///
    /// # Errors
    /// They cannot be read.
    fn names(&self) -> io::Result<Names>;

    /// What is peculiar to it. What cannot be read is left out: facts only help to find traces of the machine.
    fn facts(&self, host_name: &str) -> Facts;

    /// The folder whose files are kept whatever they hold, if there is one.
    fn settings_folder(&self) -> Option<MachinePath>;

    /// The time by the clock that stamps files, told by one made in `folder`: no adjustment of the wall clock puts it
    /// apart from them.
    ///
    /// # Errors
    /// The folder cannot be written.
    fn clock(&self, folder: &Path) -> io::Result<Time>;
}

/// Where a record can be read, however long its path.
pub trait Place {
    /// Opens its content.
    ///
    /// # Errors
    /// It cannot be read.
    fn open(&self) -> io::Result<Box<dyn Read>>;

    /// The hash of its content; `None` for one too vast to read.
    ///
    /// # Errors
    /// It cannot be read.
    fn hash(&self, content: &Content) -> io::Result<Option<Hash>>;
}

/// A path the scan did not look at, and so neither what lies below.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skip {
    /// Where.
    pub path: MachinePath,
    /// Why.
    pub reason: SkipReason,
}

/// Why a path is not looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// Another file system is mounted there, of this kind, which is no part of the machine.
    Mounted(String),
    /// It belongs to Packhorse itself.
    OwnFolder,
    /// A socket: its meaning ends with the process that made it.
    Socket,
    /// The capture made it there as a place to mount on.
    MountPoint,
    /// It could not be read; this is what the kernel said.
    Unreadable(String),
}

impl std::fmt::Display for SkipReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mounted(kind) => write!(f, "another file system ({kind}) is mounted there"),
            Self::OwnFolder => f.write_str("it belongs to packhorse"),
            Self::Socket => f.write_str("a socket ends with the process that made it"),
            Self::MountPoint => f.write_str("the capture made it, to mount on"),
            Self::Unreadable(reason) => write!(f, "it cannot be read: {reason}"),
        }
    }
}

/// A scan stopped.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The root cannot be opened.
    #[error("cannot open the root `{}`", root.display())]
    Root {
        /// The folder.
        root: PathBuf,
        /// The kernel's answer.
        #[source]
        reason: io::Error,
    },
    /// A path cannot be read, for another reason than missing rights.
    #[error("cannot read `{path}`")]
    Path {
        /// Where.
        path: MachinePath,
        /// The kernel's answer.
        #[source]
        reason: io::Error,
    },
    /// Whoever takes the records failed.
    #[error("cannot keep what was scanned")]
    Sink(#[source] io::Error),
}
