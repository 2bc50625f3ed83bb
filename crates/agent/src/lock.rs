//! One agent for one state folder: a lock on the folder itself, which the kernel takes back whatever happens to its holder.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;

use crate::process;

/// The right to be the agent, as long as it lives.
#[derive(Debug)]
pub struct Only {
    _folder: File,
}

/// This is not the agent.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// Another one is.
    #[error("{}", sentence(*process, name, *seconds, folder))]
    Taken {
        /// As which process, if the kernel says.
        process: Option<u32>,
        /// Its command name.
        name: String,
        /// For how long it has been there.
        seconds: Option<u64>,
        /// Whose state folder it has.
        folder: PathBuf,
    },
    /// The folder cannot be locked at all.
    #[error("cannot lock `{}`", folder.display())]
    Lock {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn sentence(process: Option<u32>, name: &str, seconds: Option<u64>, folder: &Path) -> String {
    let mut text = format!("an agent already looks after `{}`", folder.display());
    if let Some(process) = process {
        text += &format!(": `{name}`, process {process}");
    }
    if let Some(seconds) = seconds {
        text += &format!(", for {seconds} s");
    }
    text
}

/// Becomes the agent of a state folder, or says who is.
pub fn become_only(folder: &Path) -> Result<Only, TakeError> {
    let refused = |source| TakeError::Lock { folder: folder.to_owned(), source };
    let file = File::open(folder).map_err(refused)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Only { _folder: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let process = holder(&file);
            Err(TakeError::Taken {
                process,
                name: process.map(process::name).unwrap_or_default(),
                seconds: process.and_then(process::age),
                folder: folder.to_owned(),
            })
        }
        Err(error) => Err(refused(error.into())),
    }
}

/// Who holds any lock on the file: `proc_locks(5)`.
pub(crate) fn holder(file: &File) -> Option<u32> {
    let metadata = file.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let inode = format!(":{}", metadata.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    // `->` marks one that waits. Some file systems show another device than stat does.
    let held: Vec<_> =
        locks.lines().map(fields).filter(|line| !line.iter().any(|word| word == "->")).collect();
    let exact = held.iter().find(|line| line.contains(&place));
    let line = exact
        .or_else(|| held.iter().find(|line| line.iter().any(|word| word.ends_with(&inode))))?;
    line.get(4)?.parse().ok()
}
