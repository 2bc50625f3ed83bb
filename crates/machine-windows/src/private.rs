//! Folders that hold what others on the machine must not read.

use std::{io, path::Path, ptr};

use windows_sys::Win32::{
    Foundation::{ERROR_ALREADY_EXISTS, LocalFree},
    Security::{
        Authorization::{ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1},
        SECURITY_ATTRIBUTES,
    },
    Storage::FileSystem::CreateDirectoryW,
};

use crate::names::wide;

/// Its owner, administrators and the system may do all in it and below, nobody else anything; nothing comes from above.
const OWNER_ALONE: &str = "D:P(A;OICI;FA;;;OW)(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)";

/// Makes a folder only its owner and administrators may look into; one that is there stays as it is.
///
/// # Errors
/// It cannot be made.
#[expect(unsafe_code, reason = "std makes folders as the one above says")]
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    if let Some(above) = folder.parent() {
        std::fs::create_dir_all(above)?;
    }
    let mut descriptor = ptr::null_mut();
    // SAFETY: the text ends with a zero, the pointer is on this stack, and the length is not asked for.
    let done = unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            wide(OWNER_ALONE).as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            ptr::null_mut(),
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    let attributes = SECURITY_ATTRIBUTES {
        nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0),
        lpSecurityDescriptor: descriptor,
        bInheritHandle: 0,
    };
    // SAFETY: the name ends with a zero, and the descriptor is the one just made.
    let made = unsafe { CreateDirectoryW(wide(folder).as_ptr(), &raw const attributes) };
    let error = io::Error::last_os_error();
    // SAFETY: the descriptor was made for us, and is used no more.
    unsafe { LocalFree(descriptor) };
    if made == 0 && error.raw_os_error() != Some(ERROR_ALREADY_EXISTS.cast_signed()) {
        return Err(error);
    }
    Ok(())
}
