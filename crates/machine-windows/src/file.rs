//! What one path holds, by an open handle; links are never followed.

use std::{
    fs::{File, OpenOptions},
    io,
    os::windows::{ffi::OsStrExt as _, fs::OpenOptionsExt as _, io::AsRawHandle as _},
    path::Path,
};

use change::{Found, Node, RawMeta};
use model::{Time, Xattrs};
use windows_sys::Win32::{
    Foundation::FILETIME,
    Storage::FileSystem::{
        BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_HIDDEN,
        FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_READONLY, FILE_ATTRIBUTE_REPARSE_POINT,
        FILE_ATTRIBUTE_SYSTEM, FILE_BASIC_INFO, FILE_FLAG_BACKUP_SEMANTICS,
        FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES, FileBasicInfo,
        GetFileAttributesW, GetFileInformationByHandle, INVALID_FILE_ATTRIBUTES,
        SetFileAttributesW, SetFileInformationByHandle,
    },
};

#[cfg(feature = "observe")]
use windows_sys::Win32::Storage::FileSystem::GetFileInformationByHandleEx;

use crate::{
    names::{bytes_of, wide},
    services::done,
    streams,
};

/// The attribute Samba and Wine keep the hidden and system bits in: `0x2`.
pub(crate) const ATTRIBUTES: &[u8] = b"user.DOSATTRIB";
const KEPT: u32 = FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_SYSTEM;
/// Seconds from 1601 to 1970.
const EPOCH: i64 = 11_644_473_600;
const TICKS: i64 = 10_000_000;
/// What stands for permissions here: a file may be written, or not.
pub(crate) const WRITABLE: u16 = 0o755;
pub(crate) const READ_ONLY: u16 = 0o555;

/// What `path` holds, or `None`.
pub(crate) fn look(path: &Path) -> io::Result<Option<Found>> {
    match open(path, FILE_READ_ATTRIBUTES) {
        Ok(file) => found(&file, path).map(Some),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What `path` holds, and when anything about it last changed; of a volume that does not say (FAT), the last of its times.
#[cfg(feature = "observe")]
pub(crate) fn look_closely(path: &Path) -> io::Result<(Found, Time)> {
    let file = open(path, FILE_READ_ATTRIBUTES)?;
    Ok((found(&file, path)?, changed(&file)?))
}

fn found(file: &File, path: &Path) -> io::Result<Found> {
    let known = by_handle(file)?;
    let attributes = known.dwFileAttributes;
    let is_link = attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0
        && std::fs::symlink_metadata(path)?.is_symlink();
    let node = if is_link {
        let target: Vec<u16> = std::fs::read_link(path)?.as_os_str().encode_wide().collect();
        Node::Symlink(bytes_of(&target))
    } else if attributes & FILE_ATTRIBUTE_DIRECTORY != 0 {
        Node::Directory
    } else {
        Node::File { length: u64::from(known.nFileSizeHigh) << 32 | u64::from(known.nFileSizeLow) }
    };
    let mut xattrs = Xattrs::new();
    if attributes & KEPT != 0 {
        xattrs.insert(ATTRIBUTES.into(), format!("{:#x}", attributes & KEPT).into_bytes().into());
    }
    if !is_link && streams::are_held(path) {
        xattrs.extend(streams::read(path)?);
    }
    let is_folder = attributes & FILE_ATTRIBUTE_DIRECTORY != 0;
    let read_only = attributes & FILE_ATTRIBUTE_READONLY != 0 && !is_folder;
    let meta = RawMeta {
        mode: if read_only { READ_ONLY } else { WRITABLE },
        user: 0,
        group: 0,
        modified: time(known.ftLastWriteTime),
        xattrs,
    };
    let inode = u64::from(known.nFileIndexHigh) << 32 | u64::from(known.nFileIndexLow);
    let identity = (u64::from(known.dwVolumeSerialNumber), inode);
    Ok(Found { node, meta, identity, links: known.nNumberOfLinks.into() })
}

/// Sets streams and attributes, and the time last.
pub(crate) fn set(path: &Path, meta: &RawMeta) -> io::Result<()> {
    refuse_foreign(meta)?;
    let known = attributes_of(path)?;
    let is_folder = known & FILE_ATTRIBUTE_DIRECTORY != 0;
    let is_link =
        known & FILE_ATTRIBUTE_REPARSE_POINT != 0 && std::fs::symlink_metadata(path)?.is_symlink();
    if streams::are_held(path) && !is_link {
        if known & FILE_ATTRIBUTE_READONLY != 0 && !is_folder {
            set_attributes(path, 0)?;
        }
        streams::write(path, &meta.xattrs)?;
    } else {
        refuse_streams(meta)?;
    }
    let mut attributes = kept(meta);
    if meta.mode & 0o200 == 0 && !is_folder {
        attributes |= FILE_ATTRIBUTE_READONLY;
    }
    set_basic(&open(path, FILE_WRITE_ATTRIBUTES)?, attributes, meta.modified)
}

/// As [`set`] does, for a file that was just made, by the handle it was made with.
pub(crate) fn set_new(file: &File, path: &Path, meta: &RawMeta) -> io::Result<()> {
    refuse_foreign(meta)?;
    if streams::are_held(path) {
        streams::add(path, &meta.xattrs)?;
    } else {
        refuse_streams(meta)?;
    }
    let read_only = if meta.mode & 0o200 == 0 { FILE_ATTRIBUTE_READONLY } else { 0 };
    set_basic(file, kept(meta) | read_only, meta.modified)
}

fn refuse_foreign(meta: &RawMeta) -> io::Result<()> {
    if meta.xattrs.keys().any(|name| **name != *ATTRIBUTES && !streams::is_stream(name)) {
        let reason = "Windows has no such attributes";
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    Ok(())
}

fn refuse_streams(meta: &RawMeta) -> io::Result<()> {
    if meta.xattrs.keys().any(|name| streams::is_stream(name)) {
        let reason = "it can hold no named streams";
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    Ok(())
}

fn kept(meta: &RawMeta) -> u32 {
    meta.xattrs.get(ATTRIBUTES).map_or(0, |text| bits(text)) & KEPT
}

/// Gives what is open exactly these attributes and this time, at once.
#[expect(unsafe_code, reason = "std sets one at a time")]
fn set_basic(file: &File, attributes: u32, modified: Time) -> io::Result<()> {
    // What is zero stays as it is; so the earliest time there is comes one tick late.
    let basic = FILE_BASIC_INFO {
        LastWriteTime: ticks(modified).max(1),
        FileAttributes: if attributes == 0 { FILE_ATTRIBUTE_NORMAL } else { attributes },
        ..FILE_BASIC_INFO::default()
    };
    let size = u32::try_from(size_of::<FILE_BASIC_INFO>()).unwrap_or(0);
    // SAFETY: the handle is open, and the structure is the one of this kind and as long as we say.
    done(unsafe {
        SetFileInformationByHandle(
            file.as_raw_handle(),
            FileBasicInfo,
            (&raw const basic).cast(),
            size,
        )
    })
}

/// What `path` is, without opening it: a handle would ask its volume for its number, too.
#[expect(unsafe_code, reason = "std opens what it looks at")]
fn attributes_of(path: &Path) -> io::Result<u32> {
    // SAFETY: the name ends with a zero.
    let known = unsafe { GetFileAttributesW(wide(path).as_ptr()) };
    if known == INVALID_FILE_ATTRIBUTES { Err(io::Error::last_os_error()) } else { Ok(known) }
}

/// Gives a file exactly these attributes.
#[expect(unsafe_code, reason = "std sets one attribute alone")]
pub(crate) fn set_attributes(path: &Path, attributes: u32) -> io::Result<()> {
    let attributes = if attributes == 0 { FILE_ATTRIBUTE_NORMAL } else { attributes };
    // SAFETY: the name ends with a zero.
    let done = unsafe { SetFileAttributesW(wide(path).as_ptr(), attributes) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(crate) fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

fn open(path: &Path, access: u32) -> io::Result<File> {
    OpenOptions::new()
        .access_mode(access)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
}

#[expect(unsafe_code, reason = "std has no stable name for what a handle knows")]
fn by_handle(file: &File) -> io::Result<BY_HANDLE_FILE_INFORMATION> {
    let mut known = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and the structure is plain data on this stack.
    let done = unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut known) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(known) }
}

/// `FILE_BASIC_INFO`: the time no program sets by accident, and those every volume has.
#[cfg(feature = "observe")]
#[expect(unsafe_code, reason = "std does not ask for the time of change")]
fn changed(file: &File) -> io::Result<Time> {
    let mut basic = FILE_BASIC_INFO::default();
    let size = u32::try_from(size_of::<FILE_BASIC_INFO>()).unwrap_or(0);
    // SAFETY: the handle is open, and the structure is the one of this kind and as long as we say.
    let done = unsafe {
        GetFileInformationByHandleEx(
            file.as_raw_handle(),
            FileBasicInfo,
            (&raw mut basic).cast(),
            size,
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    let last = if basic.ChangeTime == 0 {
        basic.LastWriteTime.max(basic.CreationTime)
    } else {
        basic.ChangeTime
    };
    Ok(of_ticks(last))
}

fn bits(text: &[u8]) -> u32 {
    let text = std::str::from_utf8(text).unwrap_or_default();
    u32::from_str_radix(text.trim_end_matches('\0').trim_start_matches("0x"), 16).unwrap_or(0)
}

fn time(time: FILETIME) -> Time {
    of_ticks(i64::from(time.dwHighDateTime) << 32 | i64::from(time.dwLowDateTime))
}

/// A time in units of 100 ns since 1601; what is earlier is that.
fn ticks(time: Time) -> i64 {
    let seconds = time.seconds.saturating_add(EPOCH).max(0);
    seconds.saturating_mul(TICKS).saturating_add(i64::from(time.nanoseconds) / 100)
}

/// Units of 100 ns since 1601 as a time.
fn of_ticks(ticks: i64) -> Time {
    let nanoseconds = u32::try_from(ticks.rem_euclid(TICKS) * 100).unwrap_or(0);
    Time { seconds: ticks.div_euclid(TICKS) - EPOCH, nanoseconds }
}
