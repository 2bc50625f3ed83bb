//! Locks on files of ours, which the kernel takes back whatever happens to who holds them.

use std::{fs::File, io, path::Path};

use machine_linux::locks;
use rustix::fs::FlockOperation;

use super::process;

/// Takes the lock of a folder; nothing, where somebody else has it, and then who.
pub(crate) fn take_folder(folder: &Path) -> io::Result<Result<File, Option<Holder>>> {
    let file = File::open(folder)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Ok(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Err(locks::lock_holder(&file).map(|process| {
            Holder { process, name: locks::process_name(process), seconds: process::age(process) }
        }))),
        Err(error) => Err(error.into()),
    }
}

/// Who holds a lock.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) process: u32,
    pub(crate) name: String,
    pub(crate) seconds: Option<u64>,
}

/// Takes the lock on a file, if nobody has it.
pub(crate) fn take(file: &File) -> bool {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Whether somebody else has the lock on a file.
pub(crate) fn is_taken(file: &File) -> bool {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockShared).is_err()
}
