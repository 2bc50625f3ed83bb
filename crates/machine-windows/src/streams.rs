//! Named streams: what a file holds besides its content, under names of their own.
//!
//! In a package they are extended attributes named as Samba names them (`user.DosStream.NAME:$DATA`, `vfs_streams_xattr(8)`),
//! so that they travel through both systems.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::windows::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    ptr,
    sync::OnceLock,
};

use model::Xattrs;
use windows_sys::Win32::{
    Foundation::{ERROR_HANDLE_EOF, INVALID_HANDLE_VALUE},
    Storage::FileSystem::{
        FindClose, FindFirstStreamW, FindNextStreamW, FindStreamInfoStandard,
        GetVolumeInformationW, WIN32_FIND_STREAM_DATA,
    },
    System::SystemServices::FILE_NAMED_STREAMS,
};

use crate::names::{bytes_of, wide, words_of};

const PREFIX: &[u8] = b"user.DosStream.";
const KIND: &[u8] = b":$DATA";

/// Whether an attribute is a stream.
pub(crate) fn is_stream(attribute: &[u8]) -> bool {
    name_of(attribute).is_some()
}

/// The stream an attribute stands for.
fn name_of(attribute: &[u8]) -> Option<&[u8]> {
    let name = attribute.strip_prefix(PREFIX)?.strip_suffix(KIND)?;
    let is_name = !name.is_empty() && !name.iter().any(|byte| b":\\/\0".contains(byte));
    is_name.then_some(name)
}

/// Whether the volume of `path`, `\\?\C:\…`, holds streams. Where it does not, a colon is part of a name, or refused.
pub(crate) fn are_held(path: &Path) -> bool {
    static HELD: [OnceLock<bool>; 26] = [const { OnceLock::new() }; 26];
    let bytes = path.as_os_str().as_encoded_bytes();
    let Some(letter) = bytes.strip_prefix(br"\\?\").and_then(|rest| rest.first()) else {
        return false;
    };
    let number = letter.to_ascii_uppercase().wrapping_sub(b'A');
    let held = HELD.get(usize::from(number));
    held.is_some_and(|held| *held.get_or_init(|| volume_holds(char::from(*letter))))
}

#[expect(unsafe_code, reason = "std knows nothing of volumes")]
fn volume_holds(letter: char) -> bool {
    let volume = format!(r"{letter}:\");
    let mut flags = 0;
    // SAFETY: the name ends with a zero; what is not wanted is null, with a length of nothing.
    let done = unsafe {
        GetVolumeInformationW(
            wide(volume).as_ptr(),
            ptr::null_mut(),
            0,
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut flags,
            ptr::null_mut(),
            0,
        )
    };
    done != 0 && flags & FILE_NAMED_STREAMS != 0
}

/// The streams of `path`, whole, as attributes.
pub(crate) fn read(path: &Path) -> io::Result<Xattrs> {
    let mut streams = Xattrs::new();
    for name in names(path)? {
        let mut content = Vec::new();
        File::open(at(path, &name))?.read_to_end(&mut content)?;
        streams.insert([PREFIX, &name, KIND].concat().into(), content.into());
    }
    Ok(streams)
}

/// Gives `path` the streams among `attributes`, and no others.
pub(crate) fn write(path: &Path, attributes: &Xattrs) -> io::Result<()> {
    for name in names(path)? {
        if !attributes.contains_key(&*[PREFIX, &name, KIND].concat()) {
            std::fs::remove_file(at(path, &name))?;
        }
    }
    add(path, attributes)
}

/// Gives `path`, which has none, the streams among `attributes`.
pub(crate) fn add(path: &Path, attributes: &Xattrs) -> io::Result<()> {
    for (attribute, content) in attributes {
        if let Some(name) = name_of(attribute) {
            File::create(at(path, name))?.write_all(content)?;
        }
    }
    Ok(())
}

/// The path of a stream.
fn at(path: &Path, name: &[u8]) -> PathBuf {
    let mut full = path.as_os_str().to_owned();
    full.push(":");
    full.push(OsString::from_wide(&words_of(name)));
    full.into()
}

/// The names of the streams of `path`, but for the one without a name, which is its content.
#[expect(unsafe_code, reason = "std knows nothing of streams")]
fn names(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    let mut found = WIN32_FIND_STREAM_DATA::default();
    // SAFETY: the name ends with a zero, and the structure is the one this kind of question fills.
    let search = unsafe {
        FindFirstStreamW(wide(path).as_ptr(), FindStreamInfoStandard, (&raw mut found).cast(), 0)
    };
    if search == INVALID_HANDLE_VALUE {
        let error = io::Error::last_os_error();
        // A folder without streams has none at all.
        let is_end = error.raw_os_error() == Some(ERROR_HANDLE_EOF.cast_signed());
        return if is_end { Ok(names) } else { Err(error) };
    }
    loop {
        let length = found.cStreamName.iter().position(|&word| word == 0);
        let full = bytes_of(&found.cStreamName[..length.unwrap_or(found.cStreamName.len())]);
        // `:NAME:$DATA`; other kinds are the file system's own.
        let name = full.strip_prefix(b":").and_then(|rest| rest.strip_suffix(KIND));
        names.extend(name.filter(|name| !name.is_empty()).map(<[u8]>::to_vec));
        // SAFETY: the search is open, and the structure the same.
        if unsafe { FindNextStreamW(search, (&raw mut found).cast()) } == 0 {
            let error = io::Error::last_os_error();
            // SAFETY: the search is open, and used no more.
            unsafe { FindClose(search) };
            let is_end = error.raw_os_error() == Some(ERROR_HANDLE_EOF.cast_signed());
            return if is_end { Ok(names) } else { Err(error) };
        }
    }
}
