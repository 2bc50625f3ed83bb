use std::{
    ffi::OsString,
    fs::{File, Metadata},
    io,
    os::windows::ffi::OsStringExt as _,
};

/// A name or path as this system has it.
pub fn os_string(bytes: &[u8]) -> OsString {
    OsString::from_wide(&model::words_of(bytes))
}

/// Who may read, write and run a file is what the folder it is in says.
///
/// # Errors
/// None.
pub fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

/// No file says so here: `files.meta` does.
pub(crate) fn is_executable(_: &Metadata) -> bool {
    false
}

pub(crate) fn is_socket(_: &Metadata) -> bool {
    false
}

/// All is read: the zeros of a hole too.
#[expect(clippy::unnecessary_wraps, reason = "as on the other system")]
pub(crate) fn next_data(_: &File, at: u64) -> io::Result<Option<u64>> {
    Ok(Some(at))
}
