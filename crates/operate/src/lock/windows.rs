//! Our lock, and that of the system's own installer: named mutexes, which end with their process.

use std::{io, path::Path, ptr};

use windows_sys::Win32::{
    Foundation::{CloseHandle, ERROR_FILE_NOT_FOUND, HANDLE, WAIT_ABANDONED, WAIT_OBJECT_0},
    System::Threading::{
        CreateMutexW, OpenMutexW, ReleaseMutex, SYNCHRONIZATION_SYNCHRONIZE, WaitForSingleObject,
    },
};

use super::{LockError, Waiting};
use crate::interrupt;

const OURS: &str = "Global\\Packhorse";
/// Held by Windows Installer while it installs, and by nobody at other times.
const INSTALLER: &str = "Global\\_MSIExecute";
/// Milliseconds after which a wait looks whether it was asked to end.
const LOOK: u32 = 500;

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Held {
    mutex: HANDLE,
}

impl Drop for Held {
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn drop(&mut self) {
        // SAFETY: the mutex is open, and ours.
        unsafe {
            ReleaseMutex(self.mutex);
            CloseHandle(self.mutex);
        }
    }
}

/// Takes our own lock on this machine, once Windows Installer is done.
pub(crate) fn lock_all(
    root: &Path,
    wait: bool,
    tell: &mut dyn FnMut(&Waiting),
) -> Result<Held, LockError> {
    let refused = |reason| LockError::Lock { path: root.to_owned(), reason };
    if let Some(installer) = open(INSTALLER).map_err(refused)? {
        let held = taken(installer, "Windows Installer", wait, tell)?;
        drop(held);
    }
    let ours = create(OURS).map_err(refused)?;
    taken(ours, "this machine", wait, tell)
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn taken(
    mutex: HANDLE,
    what: &str,
    wait: bool,
    tell: &mut dyn FnMut(&Waiting),
) -> Result<Held, LockError> {
    let waiting = Waiting { what: what.to_owned(), holder: None };
    let mut told = false;
    loop {
        // SAFETY: the mutex is open.
        match unsafe { WaitForSingleObject(mutex, if told { LOOK } else { 0 }) } {
            // Whoever had it ended without letting go: it is ours.
            WAIT_OBJECT_0 | WAIT_ABANDONED => return Ok(Held { mutex }),
            _ if !wait || interrupt::is_asked() => {
                // SAFETY: the mutex is open, and used no more.
                unsafe { CloseHandle(mutex) };
                return Err(LockError::Taken(waiting));
            }
            _ if !told => {
                tell(&waiting);
                told = true;
            }
            _ => {}
        }
    }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn create(name: &str) -> io::Result<HANDLE> {
    // SAFETY: the name ends with a zero.
    let mutex = unsafe { CreateMutexW(ptr::null(), 0, wide(name).as_ptr()) };
    if mutex.is_null() { Err(io::Error::last_os_error()) } else { Ok(mutex) }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn open(name: &str) -> io::Result<Option<HANDLE>> {
    // SAFETY: the name ends with a zero.
    let mutex = unsafe { OpenMutexW(SYNCHRONIZATION_SYNCHRONIZE, 0, wide(name).as_ptr()) };
    if !mutex.is_null() {
        return Ok(Some(mutex));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(ERROR_FILE_NOT_FOUND.cast_signed()) {
        Ok(None)
    } else {
        Err(error)
    }
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}
