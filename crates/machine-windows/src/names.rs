//! Names as the interface takes them.

use std::{
    ffi::{OsStr, OsString},
    os::windows::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

use model::MachinePath;
pub(crate) use model::{bytes_of, words_of};

/// Where `path` is, in the form that has no limit of length; `None` for what is on no drive.
pub fn host(path: &MachinePath) -> Option<PathBuf> {
    let mut words: Vec<u16> = r"\\?\".encode_utf16().collect();
    words.extend(words_of(&path.on_drive()?));
    Some(OsString::from_wide(&words).into())
}

/// A text as the interface takes it, ended by a zero.
pub(crate) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}
