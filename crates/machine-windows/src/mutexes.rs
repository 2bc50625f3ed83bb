//! Named mutexes: who has one is found out and waited for, and it ends with its process.

use std::{
    io,
    os::windows::io::{AsRawHandle as _, OwnedHandle},
    ptr,
};

use windows_sys::Win32::{
    Foundation::{ERROR_FILE_NOT_FOUND, WAIT_FAILED, WAIT_TIMEOUT},
    System::Threading::{
        CreateMutexW, INFINITE, OpenMutexW, ReleaseMutex, SYNCHRONIZATION_SYNCHRONIZE,
        WaitForSingleObject,
    },
};

use crate::{handles::owned, names::wide, services::is};

/// Held by Windows Installer while it installs, and by nobody at other times.
pub const INSTALLER: &str = r"Global\_MSIExecute";

/// A mutex that is ours until this is dropped. It goes to no other thread.
#[derive(Debug)]
pub(crate) struct Taken(OwnedHandle);

impl Taken {
    /// Makes it where there is none, and waits until it is ours.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub(crate) fn make(name: &str) -> io::Result<Self> {
        // SAFETY: the name ends with a zero.
        let mutex = owned(unsafe { CreateMutexW(ptr::null(), 0, wide(name).as_ptr()) })?;
        wait(&mutex, INFINITE)?;
        Ok(Self(mutex))
    }
}

impl Drop for Taken {
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn drop(&mut self) {
        // SAFETY: the mutex is open, and this thread has it.
        unsafe { ReleaseMutex(self.0.as_raw_handle()) };
    }
}

/// Whether somebody holds the mutex of that name now.
///
/// # Errors
/// It may not be looked at.
pub fn is_held(name: &str) -> io::Result<bool> {
    let Some(mutex) = open(name)? else { return Ok(false) };
    let is_ours = wait(&mutex, 0)?;
    drop(is_ours.then_some(Taken(mutex)));
    Ok(!is_ours)
}

/// Waits until nobody holds the mutex of that name. It costs nothing.
///
/// # Errors
/// It may not be waited for.
pub fn wait_until_free(name: &str) -> io::Result<()> {
    let Some(mutex) = open(name)? else { return Ok(()) };
    wait(&mutex, INFINITE)?;
    drop(Taken(mutex));
    Ok(())
}

/// Whether it is ours within so many milliseconds. One whose holder ended without letting go is.
#[expect(unsafe_code, reason = "the interface is unsafe")]
fn wait(mutex: &OwnedHandle, within: u32) -> io::Result<bool> {
    // SAFETY: the handle is open.
    match unsafe { WaitForSingleObject(mutex.as_raw_handle(), within) } {
        WAIT_FAILED => Err(io::Error::last_os_error()),
        answer => Ok(answer != WAIT_TIMEOUT),
    }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn open(name: &str) -> io::Result<Option<OwnedHandle>> {
    // SAFETY: the name ends with a zero.
    match owned(unsafe { OpenMutexW(SYNCHRONIZATION_SYNCHRONIZE, 0, wide(name).as_ptr()) }) {
        Err(error) if is(&error, ERROR_FILE_NOT_FOUND) => Ok(None),
        opened => opened.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutex_is_held_as_long_as_somebody_has_it() {
        let name = r"Local\Packhorse test of mutexes";
        assert!(!is_held(name).unwrap());
        let held = Taken::make(name).unwrap();
        // A thread may take what it has again: another one is asked.
        let asked = || std::thread::spawn(move || is_held(name).unwrap()).join().unwrap();
        assert!(asked());
        drop(held);
        assert!(!asked());
        wait_until_free(name).unwrap();
    }
}
