//! The index of an overlay mounted with `index=on`: for every inode below with several names that was
//! copied up, the copy. Names the installer never used show the copy too, and only the index says so.

use std::{
    collections::HashMap,
    ffi::CString,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    rc::Rc,
};

use rustix::{fs::FileType, io::Errno};

use super::{Layer, OverlayDiffError};
use crate::{
    node::{is, stat},
    scan::{list, open_folder, open_root},
};

/// The copies by inode number below.
#[derive(Default)]
pub(super) struct Index {
    pub(super) folder: Option<Rc<OwnedFd>>,
    copies: HashMap<u64, Copy>,
}

pub(super) struct Copy {
    /// Its name in the index folder.
    pub(super) name: CString,
    /// How many names the inode had below.
    pub(super) lower_links: u32,
}

impl Index {
    pub(super) fn read(layer: &Layer, lower: BorrowedFd<'_>) -> Result<Self, OverlayDiffError> {
        let failed = |reason| OverlayDiffError::Layer { folder: layer.work.join("index"), reason };
        let folder =
            match open_root(&layer.work).and_then(|work| open_folder(work.as_fd(), c"index")) {
                Err(error) if is(&error, Errno::NOENT) => return Ok(Self::default()),
                other => other.map_err(failed)?,
            };
        let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
        let mut copies = HashMap::new();
        for (name, kind, _) in list(folder.as_fd(), &mut buffer).map_err(failed)? {
            if kind != FileType::RegularFile {
                continue;
            }
            let Some((kind, handle)) = parse_handle(name.to_bytes()) else { continue };
            let below = match crate::sys::open_by_handle(lower, kind, &handle) {
                // The inode below is gone: no name can lead to it.
                Err(error) if is(&error, Errno::STALE) => continue,
                other => other.map_err(failed)?,
            };
            let status = stat(below.as_fd(), c"").map_err(failed)?;
            copies.insert(status.stx_ino, Copy { name, lower_links: status.stx_nlink });
        }
        Ok(Self { folder: Some(Rc::new(folder)), copies })
    }

    /// The copy of an inode below.
    pub(super) fn copy_of(&self, inode: u64) -> Option<&Copy> {
        self.copies.get(&inode)
    }

    /// Every copied inode below, and how many names it had there.
    pub(super) fn inodes(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.copies.iter().map(|(inode, copy)| (*inode, copy.lower_links))
    }
}

/// The name of an index entry is, in hexadecimal: version, magic, length, flags, kind of handle, 16 bytes
/// of file system id, and the file handle.
fn parse_handle(name: &[u8]) -> Option<(i32, Vec<u8>)> {
    let bytes = name
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    let whole =
        bytes.get(1) == Some(&0xfb) && bytes.get(2).map(|&len| len.into()) == Some(bytes.len());
    (whole && bytes.len() > 21).then(|| (i32::from(bytes[4]), bytes[21..].to_vec()))
}

pub(super) fn io_failed(path: &model::MachinePath) -> impl Fn(io::Error) -> OverlayDiffError + '_ {
    move |reason| OverlayDiffError::Path { path: path.clone(), reason }
}

#[cfg(test)]
mod tests {
    use super::parse_handle;

    #[test]
    fn the_name_of_an_index_entry_holds_a_file_handle() {
        let name = b"00fb1d0001000000000000000000000000000000000c00000001020304";
        assert_eq!(parse_handle(name), Some((1, vec![0x0c, 0, 0, 0, 1, 2, 3, 4])));
        assert_eq!(parse_handle(b"#1f"), None);
        assert_eq!(parse_handle(b"00fb1d"), None);
    }
}
