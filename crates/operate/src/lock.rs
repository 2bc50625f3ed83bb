//! Locks of ours and of others. Always kernel locks: a file left behind by a crash holds nothing.

#[cfg_attr(windows, path = "lock/windows.rs")]
#[cfg_attr(unix, path = "lock/linux.rs")]
mod held;

use std::{io, path::PathBuf, time::Duration};

pub use held::Held;
pub(crate) use held::lock_all;
#[cfg(unix)]
pub(crate) use held::name_of;

/// Told while somebody else holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What is locked.
    pub what: String,
    /// The process that holds it, if the kernel says.
    pub holder: Option<(i32, String)>,
}

/// A lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it, and waiting was not wanted, or was ended.
    #[error("{}", .0.sentence())]
    Taken(Waiting),
    /// It cannot be locked at all.
    #[error("cannot lock `{}`", path.display())]
    Lock {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
}

impl Waiting {
    /// The sentence people read.
    pub fn sentence(&self) -> String {
        match &self.holder {
            Some((process, name)) => {
                format!("{} is locked by `{name}` (process {process})", self.what)
            }
            None => format!("{} is locked by another process", self.what),
        }
    }
}

/// How long a message may be away before people should hear of a wait again.
pub(crate) const QUIET: Duration = Duration::from_secs(5);
