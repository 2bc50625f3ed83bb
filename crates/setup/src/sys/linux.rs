//! What extracting and the command line need of Linux.

use std::{
    ffi::{OsStr, OsString},
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

use operate::Exit;

/// This very program's file.
pub(crate) fn own_file() -> io::Result<File> {
    File::open("/proc/self/exe").map_err(|error| {
        let what = "this installer reads its own file through /proc";
        io::Error::new(error.kind(), format!("{what}: {error}"))
    })
}

/// A name from the bytes a package has it in.
pub(crate) fn name(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

/// The bytes of a word of the command line.
pub(crate) fn bytes(word: OsString) -> Vec<u8> {
    word.into_vec()
}

/// Lets modes be what they are asked to be.
pub(crate) fn own_modes() {
    rustix::process::umask(rustix::fs::Mode::empty());
}

pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)
}

pub(crate) fn make_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

pub(crate) fn make_file(path: &Path, mode: u16) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(u32::from(mode & 0o777)).open(path)
}

pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buffer, offset)
}

pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

pub(crate) fn symlink(target: &[u8], path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(OsStr::from_bytes(target), path)
}

/// The code a program ends with: docs/exit-codes.md.
pub(crate) fn code(exit: Exit) -> i32 {
    exit as i32
}
