//! What extracting and the command line need of Windows.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io,
    os::windows::fs::FileExt as _,
    path::Path,
};

use operate::Exit;

/// This very program's file.
pub(crate) fn own_file() -> io::Result<File> {
    File::open(std::env::current_exe()?)
}

/// A name from the bytes a package has it in.
pub(crate) fn name(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// The bytes of a word of the command line.
pub(crate) fn bytes(word: OsString) -> Vec<u8> {
    word.to_string_lossy().into_owned().into_bytes()
}

/// Files have no modes here.
pub(crate) fn own_modes() {}

pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)
}

pub(crate) fn make_folders(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

pub(crate) fn make_file(path: &Path, _: u16) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.seek_read(&mut buffer[filled..], offset + filled as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(())
}

pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        written += file.seek_write(&bytes[written..], offset + written as u64)?;
    }
    Ok(())
}

pub(crate) fn symlink(target: &[u8], path: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(name(target), path)
}

/// A code of Windows Installer, which administrators' tools expect: docs/exit-codes.md.
pub(crate) fn code(exit: Exit) -> i32 {
    match exit {
        Exit::Done | Exit::Leftovers | Exit::Nothing => 0,
        Exit::Restart => 3010,
        Exit::InUse => 1618,
        Exit::Usage => 1639,
        Exit::Decision => 1602,
        Exit::Failed | Exit::RolledBack | Exit::NoSpace => 1603,
        Exit::Damaged => 1620,
    }
}
