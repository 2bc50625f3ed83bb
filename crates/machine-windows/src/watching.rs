//! Folders in which something may happen.

use std::{
    io,
    os::windows::io::{AsHandle, BorrowedHandle},
    path::Path,
};

use windows_sys::Win32::{
    Foundation::{HANDLE, INVALID_HANDLE_VALUE},
    Storage::FileSystem::{
        FILE_NOTIFY_CHANGE_FILE_NAME, FILE_NOTIFY_CHANGE_LAST_WRITE, FindCloseChangeNotification,
        FindFirstChangeNotificationW, FindNextChangeNotification, MOVEFILE_REPLACE_EXISTING,
        MOVEFILE_WRITE_THROUGH, MoveFileExW,
    },
};

use crate::{names::wide, services::done};

/// A folder that is watched: what is in it has other names, or was written to.
#[derive(Debug)]
pub struct Folder(HANDLE);

// SAFETY: it is a number of the machine's, good in every thread.
#[expect(unsafe_code, reason = "the interface's handle is a pointer by its type")]
unsafe impl Send for Folder {}

impl Folder {
    /// Watches it.
    ///
    /// # Errors
    /// It is not there, or its disk tells nobody.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn watch(path: &Path) -> io::Result<Self> {
        let what = FILE_NOTIFY_CHANGE_FILE_NAME | FILE_NOTIFY_CHANGE_LAST_WRITE;
        // SAFETY: the name ends with a zero.
        let handle = unsafe { FindFirstChangeNotificationW(wide(path).as_ptr(), 0, what) };
        if handle == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(handle))
    }

    /// Takes note of what happened; what happens from now on is told again.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn clear(&self) {
        // SAFETY: the handle is open.
        unsafe { FindNextChangeNotification(self.0) };
    }
}

impl AsHandle for Folder {
    #[expect(unsafe_code, reason = "std knows no other handle that is closed otherwise")]
    fn as_handle(&self) -> BorrowedHandle<'_> {
        // SAFETY: the handle is open as long as this.
        unsafe { BorrowedHandle::borrow_raw(self.0) }
    }
}

impl Drop for Folder {
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn drop(&mut self) {
        // SAFETY: the handle is open, and closed once.
        unsafe { FindCloseChangeNotification(self.0) };
    }
}

/// Gives a file its name, in place of what had it. It is on disk when this returns.
///
/// # Errors
/// One of them is in use, or not ours.
#[expect(unsafe_code, reason = "std does not wait for the disk")]
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let how = MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH;
    // SAFETY: both names end with a zero.
    done(unsafe { MoveFileExW(wide(from).as_ptr(), wide(to).as_ptr(), how) })
}
