//! Handles that close by themselves.

use std::{
    io,
    os::windows::io::{FromRawHandle as _, OwnedHandle},
};

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};

/// A new handle as the interface answers it: ours, or the reason why there is none.
#[expect(unsafe_code, reason = "the interface answers with plain numbers")]
pub(crate) fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: who calls passes what the interface just made, and nobody else has it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}
