//! Account names, as a root itself tells them.

use std::{fs, io, path::Path};

use capture::Names;

/// Reads the names from `etc/passwd` and `etc/group` below `root`; a missing file has no names.
///
/// # Errors
/// A file that is there and cannot be read: unknown is not empty.
pub fn read_names(root: &Path) -> io::Result<Names> {
    let read = |file: &str| match fs::read(root.join(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    };
    Ok(Names::parse(&read("etc/passwd")?, &read("etc/group")?))
}
