//! Folders from which we read what we act on: nobody else writes there, whatever they were like before.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, lchown},
    path::Path,
};

/// What the state folder and what is in it allow nobody else.
pub(crate) const PRIVATE: u32 = 0o077;
/// What a program that everybody may read allows nobody else.
pub(crate) const OURS_TO_WRITE: u32 = 0o022;

/// Takes from others what they are not to have of a folder and of what lies in it, down to `depth` folders below. What was taken is
/// told. Links are left alone: what they lead to is somebody's own; so are sockets.
pub(crate) fn tighten(path: &Path, others: u32, depth: u32) -> io::Result<Vec<String>> {
    let mut told = Vec::new();
    let data = match fs::symlink_metadata(path) {
        Ok(data) => data,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(told),
        Err(error) => return Err(error),
    };
    // A socket an agent left behind is made anew; until then nobody listens.
    if data.is_symlink() || data.file_type().is_socket() {
        return Ok(told);
    }
    let (own, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if data.uid() != own {
        lchown(path, Some(own), Some(group))?;
        told.push(format!("`{}` belonged to user {}: it is ours now", path.display(), data.uid()));
    }
    let mode = data.mode() & 0o7777;
    if mode & others != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode & !others))?;
        let now = mode & !others;
        told.push(format!("`{}` was open to others, {mode:o}: it is {now:o} now", path.display()));
    }
    if data.is_dir() && depth > 0 {
        for entry in fs::read_dir(path)? {
            told.extend(tighten(&entry?.path(), others, depth - 1)?);
        }
    }
    Ok(told)
}
