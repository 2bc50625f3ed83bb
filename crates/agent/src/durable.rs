//! Files that are there whole, or not at all, whatever happens.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use crate::platform::files;
pub(crate) use crate::platform::files::sync_folder;

/// Writes a file beside its place, makes it durable, and renames it there; then the folder is made durable.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = folder.join(name);
    let mut file = files::private().create(true).truncate(true).write(true).open(&beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    // What is still open may have no other name.
    drop(file);
    let placed = written.and_then(|()| files::rename(&beside, path));
    if placed.is_err() {
        // On a full disk it would be in the way.
        let _ = fs::remove_file(&beside);
    }
    placed?;
    sync_folder(folder)
}

/// Whether there is no room, or no more of it for us.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// All bytes of a file; `None` where there is none. Unreadable is an error, and not nothing.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
