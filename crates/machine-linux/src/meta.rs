//! Metadata by system calls: read whole, set whole, links never followed.

use std::{ffi::CString, fs::File, io, os::unix::ffi::OsStrExt, path::Path, sync::OnceLock};

use change::{Found, Node, RawMeta};
use model::{Time, Xattrs};
use rustix::{
    fs::{AtFlags, CWD, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

/// What `path` holds, or `None`.
pub(crate) fn look(path: &Path) -> io::Result<Option<Found>> {
    let stat = match rustix::fs::lstat(path) {
        Ok(stat) => stat,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let node = node(path, &stat)?;
    let meta = RawMeta {
        mode: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0),
        user: stat.st_uid,
        group: stat.st_gid,
        modified: Time {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
        xattrs: read_xattrs(path)?,
    };
    Ok(Some(Found { node, meta, identity: (stat.st_dev, stat.st_ino), links: stat.st_nlink }))
}

fn node(path: &Path, stat: &Stat) -> io::Result<Node> {
    let numbers = || (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Node::Directory,
        FileType::Symlink => Node::Symlink(rustix::fs::readlink(path, Vec::new())?.into_bytes()),
        FileType::Fifo => Node::Fifo,
        FileType::Socket => Node::Socket,
        FileType::CharacterDevice => {
            let (major, minor) = numbers();
            Node::CharacterDevice { major, minor }
        }
        FileType::BlockDevice => {
            let (major, minor) = numbers();
            Node::BlockDevice { major, minor }
        }
        _ => Node::File { length: u64::try_from(stat.st_size).unwrap_or(0) },
    })
}

/// Whether an attribute belongs to a file, and not to the machine's policy or an overlay's book-keeping.
fn is_kept(name: &[u8]) -> bool {
    let own = name.starts_with(b"user.") || name.starts_with(b"trusted.");
    let overlay = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    let named =
        [&b"security.capability"[..], b"system.posix_acl_access", b"system.posix_acl_default"];
    (own && !overlay) || named.contains(&name)
}

fn read_xattrs(path: &Path) -> io::Result<Xattrs> {
    let mut names = vec![0; 1024];
    let length = loop {
        match rustix::fs::llistxattr(path, names.as_mut_slice()) {
            Ok(length) => break length,
            Err(Errno::RANGE) => names.resize(names.len() * 4, 0),
            Err(Errno::OPNOTSUPP) => return Ok(Xattrs::new()),
            Err(error) => return Err(error.into()),
        }
    };
    names.truncate(length);
    let kept = names.split(|&byte| byte == 0).filter(|name| is_kept(name));
    kept.map(|name| Ok((name.into(), read_xattr(path, name)?.into()))).collect()
}

fn read_xattr(path: &Path, name: &[u8]) -> io::Result<Vec<u8>> {
    let name = CString::new(name)?;
    let mut value = vec![0; 256];
    loop {
        match rustix::fs::lgetxattr(path, &name, value.as_mut_slice()) {
            Ok(length) => {
                value.truncate(length);
                return Ok(value);
            }
            Err(Errno::RANGE) => value.resize(value.len() * 8, 0),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whom new things belong to: this process's user and group, which never change.
fn ourselves() -> (u32, u32) {
    static OURSELVES: OnceLock<(u32, u32)> = OnceLock::new();
    *OURSELVES
        .get_or_init(|| (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()))
}

/// Gives a regular file just made and still open, ours and without attributes, its metadata.
pub(crate) fn set_new_file(file: &File, path: &Path, meta: &RawMeta) -> io::Result<()> {
    if (meta.user, meta.group) != ourselves() {
        let (user, group) = (Uid::from_raw(meta.user), Gid::from_raw(meta.group));
        rustix::fs::fchown(file, Some(user), Some(group))?;
    }
    for (name, value) in &meta.xattrs {
        set_xattr(path, name, value)?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(meta.mode.into()))?;
    Ok(rustix::fs::futimens(file, &both(meta.modified))?)
}

/// Gives something just made, ours and without attributes, its metadata.
pub(crate) fn set_new(path: &Path, node: &Node, meta: &RawMeta) -> io::Result<()> {
    if (meta.user, meta.group) != ourselves() {
        chown(path, meta)?;
    }
    for (name, value) in &meta.xattrs {
        set_xattr(path, name, value)?;
    }
    if !matches!(node, Node::Symlink(_)) {
        rustix::fs::chmod(path, Mode::from_raw_mode(meta.mode.into()))?;
    }
    set_time(path, meta.modified)
}

/// Sets all metadata of what is there; what is right already is left alone.
pub(crate) fn set(path: &Path, meta: &RawMeta) -> io::Result<()> {
    let found = look(path)?.ok_or(Errno::NOENT)?;
    let owned = (found.meta.user, found.meta.group) == (meta.user, meta.group);
    if !owned {
        chown(path, meta)?;
    }
    // Changing the owner takes capabilities and set-user-id bits away.
    for name in found.meta.xattrs.keys().filter(|name| !meta.xattrs.contains_key(*name)) {
        let name = CString::new(&**name)?;
        match rustix::fs::lremovexattr(path, &name) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for (name, value) in &meta.xattrs {
        if !owned || found.meta.xattrs.get(name) != Some(value) {
            set_xattr(path, name, value)?;
        }
    }
    if !matches!(found.node, Node::Symlink(_)) {
        rustix::fs::chmod(path, Mode::from_raw_mode(meta.mode.into()))?;
    }
    set_time(path, meta.modified)
}

fn chown(path: &Path, meta: &RawMeta) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(meta.user), Gid::from_raw(meta.group));
    Ok(rustix::fs::chownat(CWD, path, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn set_xattr(path: &Path, name: &[u8], value: &[u8]) -> io::Result<()> {
    let c_name = CString::new(name)?;
    rustix::fs::lsetxattr(path, &c_name, value, XattrFlags::empty()).map_err(|error| {
        let name = model::escape(name);
        let path = model::escape(path.as_os_str().as_bytes());
        match error {
            Errno::OPNOTSUPP => io::Error::new(
                io::ErrorKind::Unsupported,
                format!("the file system of `{path}` holds no attribute `{name}`"),
            ),
            other => io::Error::from(other),
        }
    })
}

fn set_time(path: &Path, time: Time) -> io::Result<()> {
    Ok(rustix::fs::utimensat(CWD, path, &both(time), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn both(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
