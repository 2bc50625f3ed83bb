//! Folders from which we read what we act on: for administrators and the machine itself, whatever they were like before.

use std::{io, path::Path};

/// What the state folder and what is in it allow nobody else.
pub(crate) const PRIVATE: u32 = 0;
/// What a program that everybody may read allows nobody else: nobody but administrators writes below `Program Files`.
pub(crate) const OURS_TO_WRITE: u32 = 1;

/// Takes from others what they are not to have of a folder and of what lies in it. It is not told what they had.
pub(crate) fn tighten(path: &Path, others: u32, _: u32) -> io::Result<Vec<String>> {
    if others == PRIVATE {
        machine_windows::make_private(path)?;
    }
    Ok(Vec::new())
}
