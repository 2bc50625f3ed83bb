use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

/// Makes a folder. Whoever captures Windows has made it already, for its owner alone: std knows no such folders.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

/// Moves a file within a folder, over what has the name; on disk when it answers: flushing the file flushes the volume's
/// log, in which its new name stands (`FlushFileBuffers`, NTFS).
pub(crate) fn put(folder: &Path, from: &str, to: &str) -> io::Result<()> {
    let to = folder.join(to);
    fs::rename(folder.join(from), &to)?;
    OpenOptions::new().write(true).open(&to)?.sync_all()
}

/// Takes away a folder that holds nothing but a file we have locked. A file that is open keeps its name, and the folder,
/// until it is closed; nothing of a session is left to be found then.
pub(crate) fn remove_locked(folder: &Path, name: &str, lock: File) -> io::Result<()> {
    drop(lock);
    match fs::remove_file(folder.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::remove_dir(folder)
}
