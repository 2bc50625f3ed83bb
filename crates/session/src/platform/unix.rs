use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

/// Makes a folder only its owner may look into.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Moves a file within a folder, over what has the name; on disk when it answers.
pub(crate) fn put(folder: &Path, from: &str, to: &str) -> io::Result<()> {
    fs::rename(folder.join(from), folder.join(to))?;
    File::open(folder)?.sync_all()
}

/// Takes away a folder that holds nothing but a file we have locked; the lock is held till both are gone.
pub(crate) fn remove_locked(folder: &Path, name: &str, lock: File) -> io::Result<()> {
    match fs::remove_file(folder.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let removed = fs::remove_dir(folder);
    drop(lock);
    removed
}
