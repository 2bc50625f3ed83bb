//! Locks on files, which end with whoever holds them. What is in a file may be read all the same: the byte that is locked lies
//! beyond it.

use std::{fs::File, io, os::windows::io::AsRawHandle as _};

use windows_sys::Win32::{
    Foundation::{ERROR_IO_PENDING, ERROR_LOCK_VIOLATION},
    Storage::FileSystem::{LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx},
    System::IO::{OVERLAPPED, OVERLAPPED_0, OVERLAPPED_0_0},
};

use crate::services::{done, is};

/// Where the byte is: no file of ours is so long.
const PLACE: OVERLAPPED_0_0 = OVERLAPPED_0_0 { Offset: 0, OffsetHigh: 0x4000_0000 };

/// Takes the lock on a file until that is closed, alone or with others who do the same; whether it could be had.
///
/// # Errors
/// The file cannot be locked at all.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn lock(file: &File, alone: bool) -> io::Result<bool> {
    let how = if alone { LOCKFILE_EXCLUSIVE_LOCK } else { 0 } | LOCKFILE_FAIL_IMMEDIATELY;
    let mut place =
        OVERLAPPED { Anonymous: OVERLAPPED_0 { Anonymous: PLACE }, ..OVERLAPPED::default() };
    // SAFETY: the file is open, and the place outlives the call, which does not wait.
    match done(unsafe { LockFileEx(file.as_raw_handle(), how, 0, 1, 0, &raw mut place) }) {
        Ok(()) => Ok(true),
        Err(error) if is(&error, ERROR_LOCK_VIOLATION) || is(&error, ERROR_IO_PENDING) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_had_by_one_and_ends_with_its_file() {
        let path = std::env::temp_dir().join(format!("packhorse-lock-{}", std::process::id()));
        std::fs::write(&path, b"text").unwrap();
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let (one, two) = (open(), open());
        assert!(lock(&one, true).unwrap());
        assert!(!lock(&two, false).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
        drop(one);
        assert!(lock(&two, false).unwrap());
        drop(two);
        std::fs::remove_file(&path).unwrap();
    }
}
