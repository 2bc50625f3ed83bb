//! What one path holds: `statx`, attributes, link target and holes, relative to an open folder, so that
//! no path is too long.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io::{self, Read as _},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use capture::{Node, Stamp};
use model::{Content, Extent, Hash, Hasher, Kind, Time, Xattrs};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Statx, StatxFlags, StatxTimestamp},
    io::Errno,
};

/// Files with more holes than this, in bytes, are not hashed: reading zeros would take hours.
const MOST_ZEROS: u64 = 64 << 30;
const BLOCK: u64 = 4096;

/// Attributes that overlayfs keeps for itself, in both namespaces it uses.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Cleared once the kernel turns out not to know `listxattrat`.
static XATTR_AT: AtomicBool = AtomicBool::new(true);

/// Whose attributes are read: those overlayfs wrote for itself are no attributes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes {
    /// As they stand.
    Plain,
    /// Read behind a mounted overlay, in its upper folder.
    OfUpper,
}

/// `statx` of `name` in `folder`, links not followed; an empty name is the folder itself.
pub(crate) fn stat(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW
        | AtFlags::NO_AUTOMOUNT
        | AtFlags::STATX_DONT_SYNC
        | AtFlags::EMPTY_PATH;
    Ok(rustix::fs::statx(folder, name, flags, StatxFlags::BASIC_STATS)?)
}

/// What `name` in `folder` holds, its content unread; an empty name is the folder itself.
///
/// # Errors
/// The kernel's, for instance that it is gone.
pub fn read_node(
    folder: BorrowedFd<'_>,
    name: &CStr,
    attributes: Attributes,
) -> io::Result<(Node, Stamp)> {
    let status = stat(folder, name)?;
    let xattrs = read_xattrs(folder, name, attributes)?;
    node_of(folder, name, &status, xattrs)
}

pub(crate) fn node_of(
    folder: BorrowedFd<'_>,
    name: &CStr,
    status: &Statx,
    xattrs: Xattrs,
) -> io::Result<(Node, Stamp)> {
    let kind = match FileType::from_raw_mode(status.stx_mode.into()) {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => {
            let holes =
                if may_have_holes(status, &xattrs) { holes_at(folder, name)? } else { Vec::new() };
            Kind::File(Content { length: status.stx_size, hash: None, holes })
        }
        FileType::Symlink => {
            Kind::Symlink(rustix::fs::readlinkat(folder, name, Vec::new())?.into_bytes())
        }
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => {
            Kind::CharacterDevice { major: status.stx_rdev_major, minor: status.stx_rdev_minor }
        }
        FileType::BlockDevice => {
            Kind::BlockDevice { major: status.stx_rdev_major, minor: status.stx_rdev_minor }
        }
        _ => Kind::Socket,
    };
    let node = Node {
        kind,
        mode: status.stx_mode & 0o7777,
        uid: status.stx_uid,
        gid: status.stx_gid,
        modified: time(&status.stx_mtime),
        xattrs,
    };
    Ok((node, stamp_of(status)))
}

pub(crate) fn stamp_of(status: &Statx) -> Stamp {
    Stamp {
        device: u64::from(status.stx_dev_major) << 32 | u64::from(status.stx_dev_minor),
        inode: status.stx_ino,
        changed: time(&status.stx_ctime),
        links: status.stx_nlink,
    }
}

fn time(stamp: &StatxTimestamp) -> Time {
    Time { seconds: stamp.tv_sec, nanoseconds: stamp.tv_nsec }
}

/// A cheap question before an open: fewer blocks than the length needs. An attribute may take a block
/// of its own; a label is nearly always kept in the inode.
fn may_have_holes(status: &Statx, xattrs: &Xattrs) -> bool {
    let outside = xattrs.keys().any(|name| &**name != b"security.selinux");
    let extra = if outside { BLOCK } else { 0 };
    let allocated = status.stx_blocks.saturating_mul(512);
    status.stx_size > 0 && allocated < status.stx_size.next_multiple_of(BLOCK).saturating_add(extra)
}

/// Opens `name` in `folder` to read its content, and never what a link, pipe or device leads to.
pub(crate) fn open_file(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let open = |flags| rustix::fs::openat(folder, name, flags, Mode::empty());
    // Access times are left alone where we may.
    let file: OwnedFd = match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags)?,
        other => other?,
    };
    Ok(File::from(file))
}

fn holes_at(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<Extent>> {
    match open_file(folder, name) {
        Ok(file) => holes(&file),
        // A file one may not read shows no holes.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The holes of an open file, ascending.
pub fn holes(file: &File) -> io::Result<Vec<Extent>> {
    let length = file.metadata()?.len();
    let mut holes = Vec::new();
    let mut offset = 0;
    while offset < length {
        let hole = rustix::fs::seek(file, SeekFrom::Hole(offset))?;
        if hole >= length {
            break;
        }
        let data = match rustix::fs::seek(file, SeekFrom::Data(hole)) {
            Err(Errno::NXIO) => length,
            other => other?.min(length),
        };
        if data > hole {
            holes.push(Extent { offset: hole, length: data - hole });
        }
        offset = data;
    }
    Ok(holes)
}

/// The hash of an open file's whole content; `None` for one that is nearly all holes and huge.
pub fn hash(file: &File, content: &Content) -> io::Result<Option<Hash>> {
    use std::os::unix::fs::FileExt as _;

    let zeros: u64 = content.holes.iter().map(|hole| hole.length).sum();
    if zeros > MOST_ZEROS {
        return Ok(None);
    }
    let mut hasher = Hasher::new();
    let most = 256 << 10;
    let mut buffer = vec![0; usize::try_from(content.length.min(most)).unwrap_or(0).max(1)];
    if content.holes.is_empty() {
        let mut file = file;
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Some(hasher.finish())),
                read => hasher.update(&buffer[..read]),
            };
        }
    }
    let zero = vec![0; buffer.len()];
    let mut at = 0;
    for data in content.data().chain([Extent { offset: content.length, length: 0 }]) {
        feed_zeros(&mut hasher, &zero, data.offset - at);
        at = data.offset;
        let end = data.offset + data.length;
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read_at(&mut buffer[..want], at)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            hasher.update(&buffer[..read]);
            at += read as u64;
        }
    }
    Ok(Some(hasher.finish()))
}

fn feed_zeros(hasher: &mut Hasher, zero: &[u8], mut count: u64) {
    while count > 0 {
        let now = usize::try_from(count).unwrap_or(usize::MAX).min(zero.len());
        hasher.update(&zero[..now]);
        count -= now as u64;
    }
}

/// Every extended attribute of `name` in `folder`.
pub(crate) fn read_xattrs(
    folder: BorrowedFd<'_>,
    name: &CStr,
    attributes: Attributes,
) -> io::Result<Xattrs> {
    let mut xattrs = Xattrs::new();
    for (attribute, value) in read_raw_xattrs(folder, name)? {
        match attributes {
            Attributes::Plain => xattrs.insert(attribute, value),
            Attributes::OfUpper => match shown_by_overlay(&attribute) {
                Some(shown) => xattrs.insert(shown, value),
                None => None,
            },
        };
    }
    Ok(xattrs)
}

pub(crate) fn read_raw_xattrs(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Xattrs> {
    let list = list_names(folder, name)?;
    let mut xattrs = Xattrs::new();
    for attribute in list.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let Ok(attribute_c) = CString::new(attribute) else { continue };
        match read_value(folder, name, &attribute_c) {
            Ok(value) => {
                xattrs.insert(attribute.into(), value.into());
            }
            // Removed in between, or a name the file system lists and does not give.
            Err(error)
                if matches!(Errno::from_io_error(&error), Some(Errno::NODATA | Errno::NOTSUP)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(xattrs)
}

/// The name an attribute of an upper folder has in the merged view: `None` for overlayfs's own, and one
/// `overlay.` less for what a nested overlay escaped.
pub(crate) fn shown_by_overlay(attribute: &[u8]) -> Option<Box<[u8]>> {
    for prefix in OVERLAY {
        if let Some(rest) = attribute.strip_prefix(prefix) {
            let escaped = rest.strip_prefix(b"overlay.")?;
            return Some([prefix, escaped].concat().into());
        }
    }
    Some(attribute.into())
}

fn list_names(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 512];
    let mut length = match list_into(folder, name, &mut buffer) {
        Ok(length) => return Ok(buffer[..length].to_vec()),
        Err(error) if is(&error, Errno::RANGE) => list_into(folder, name, &mut [])?,
        Err(error) if is(&error, Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    loop {
        let mut list = vec![0; length];
        match list_into(folder, name, &mut list) {
            Err(error) if is(&error, Errno::RANGE) => length *= 2,
            other => {
                list.truncate(other?);
                return Ok(list);
            }
        }
    }
}

fn read_value(folder: BorrowedFd<'_>, name: &CStr, attribute: &CStr) -> io::Result<Vec<u8>> {
    let mut length = 256;
    loop {
        let mut value = vec![0; length];
        match value_into(folder, name, attribute, &mut value) {
            Err(error) if is(&error, Errno::RANGE) => length *= 8,
            other => {
                value.truncate(other?);
                return Ok(value);
            }
        }
    }
}

fn list_into(folder: BorrowedFd<'_>, name: &CStr, list: &mut [u8]) -> io::Result<usize> {
    if XATTR_AT.load(Ordering::Relaxed) {
        let at = if name.is_empty() { c"." } else { name };
        match crate::sys::list_xattr_at(folder, at, list) {
            Err(error) if unknown_call(&error) => XATTR_AT.store(false, Ordering::Relaxed),
            other => return other,
        }
    }
    Ok(rustix::fs::llistxattr(through_proc(folder, name)?, list)?)
}

fn value_into(
    folder: BorrowedFd<'_>,
    name: &CStr,
    attribute: &CStr,
    value: &mut [u8],
) -> io::Result<usize> {
    if XATTR_AT.load(Ordering::Relaxed) {
        let at = if name.is_empty() { c"." } else { name };
        match crate::sys::get_xattr_at(folder, at, attribute, value) {
            Err(error) if unknown_call(&error) => XATTR_AT.store(false, Ordering::Relaxed),
            other => return other,
        }
    }
    Ok(rustix::fs::lgetxattr(through_proc(folder, name)?, attribute, value)?)
}

/// Older kernels take only paths: one through `/proc` starts at the open folder.
fn through_proc(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<CString> {
    let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    path.extend_from_slice(if name.is_empty() { b"." } else { name.to_bytes() });
    CString::new(path).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn unknown_call(error: &io::Error) -> bool {
    // A seccomp filter that does not know the call may answer with EPERM, and lists need no rights.
    is(error, Errno::NOSYS) || is(error, Errno::PERM)
}

pub(crate) fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}
