//! Files and folders nobody else reads: what is made in a folder of ours is for whom that is.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

pub(crate) use machine_windows::rename;

/// How a file is made in a folder that is ours alone.
pub(crate) fn private() -> OpenOptions {
    OpenOptions::new()
}

/// Makes a folder, and those it is in.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

/// Names are on disk once they are given.
#[expect(clippy::unnecessary_wraps, reason = "as where a folder is written like a file")]
pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// A path as bytes.
pub(crate) fn bytes(path: &Path) -> Vec<u8> {
    path.to_string_lossy().into_owned().into_bytes()
}

/// The path of these bytes.
pub(crate) fn path(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}
