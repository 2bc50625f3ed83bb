//! Files of a repository: written whole or not at all, switched over in one step.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use native::Listed;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use sha2::{Digest as _, Sha256};

use crate::ExportRepositoryError;

/// The repository's folder, ours alone until this is dropped.
pub(crate) struct Locked(#[expect(dead_code, reason = "held for its lock")] File);

pub(crate) fn lock(folder: &Path) -> Result<Locked, ExportRepositoryError> {
    let unwritable = unwritable(folder);
    fs::create_dir_all(folder).map_err(&unwritable)?;
    let file = File::open(folder).map_err(&unwritable)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Locked(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(ExportRepositoryError::Busy { path: folder.to_owned() })
        }
        Err(error) => Err(unwritable(error.into())),
    }
}

pub(crate) fn unreadable(path: &Path) -> impl Fn(io::Error) -> ExportRepositoryError + '_ {
    move |source| ExportRepositoryError::Read { path: path.to_owned(), source }
}

pub(crate) fn unwritable(path: &Path) -> impl Fn(io::Error) -> ExportRepositoryError + '_ {
    move |source| ExportRepositoryError::Write { path: path.to_owned(), source }
}

/// Length and hash of a file, listed under `name`.
pub(crate) fn listed(path: &Path, name: &str) -> Result<Listed, ExportRepositoryError> {
    let mut file = File::open(path).map_err(unreadable(path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        let count = file.read(&mut buffer).map_err(unreadable(path))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        length += count as u64;
    }
    Ok(Listed { path: name.to_owned(), length, sha256: hex(&hash.finalize()) })
}

pub(crate) fn listed_bytes(bytes: &[u8], name: &str) -> Listed {
    Listed {
        path: name.to_owned(),
        length: bytes.len() as u64,
        sha256: hex(&Sha256::digest(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a new file beside `path` by `write`, and gives it its name once it is whole and durable.
pub(crate) fn put(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), ExportRepositoryError>,
) -> Result<(), ExportRepositoryError> {
    let unwritable = unwritable(path);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(&unwritable)?;
    let mut file =
        tempfile::Builder::new().prefix(".packhorse-").tempfile_in(folder).map_err(&unwritable)?;
    write(file.as_file_mut())?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(&unwritable)?;
    file.as_file().sync_all().map_err(&unwritable)?;
    file.persist(path).map_err(|error| unwritable(error.error))?;
    Ok(())
}

pub(crate) fn put_bytes(path: &Path, bytes: &[u8]) -> Result<(), ExportRepositoryError> {
    put(path, |file| file.write_all(bytes).map_err(unwritable(path)))
}

/// Puts the folder `new` in the place of `old` in one step; what was there goes.
pub(crate) fn switch(new: &Path, old: &Path) -> Result<(), ExportRepositoryError> {
    let unwritable = unwritable(old);
    sync_folder(new).map_err(&unwritable)?;
    if old.exists() {
        renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE)
            .map_err(|error| unwritable(error.into()))?;
        fs::remove_dir_all(new).map_err(&unwritable)?;
    } else {
        fs::rename(new, old).map_err(&unwritable)?;
    }
    sync_folder(old.parent().unwrap_or(Path::new("."))).map_err(unwritable)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A fresh folder beside `path`, for what will take its place; one that a crash left is taken away.
pub(crate) fn fresh_beside(path: &Path) -> Result<PathBuf, ExportRepositoryError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.new"));
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(unwritable(&fresh))?;
    }
    fs::create_dir_all(&fresh).map_err(unwritable(&fresh))?;
    Ok(fresh)
}

/// All finished files below a folder with this end of their names, sorted.
pub(crate) fn find(folder: &Path, end: &str) -> Result<Vec<PathBuf>, ExportRepositoryError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(unreadable(&folder))?,
        };
        for entry in entries {
            let entry = entry.map_err(unreadable(&folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            if entry.file_type().map_err(unreadable(&folder))?.is_dir() {
                folders.push(entry.path());
            } else if name.ends_with(end) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Gzip without name and time: the same bytes for the same text.
pub(crate) fn gzip(text: &str) -> Vec<u8> {
    let mut packed = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::best());
    // Memory takes all.
    let _ = packed.write_all(text.as_bytes());
    packed.finish().unwrap_or_default()
}
