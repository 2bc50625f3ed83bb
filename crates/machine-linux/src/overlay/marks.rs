//! What overlayfs writes beside a file in an upper folder.

use std::{ffi::CStr, io, os::fd::BorrowedFd};

use capture::{Node, Stamp};
use model::{Kind, Xattrs};
use rustix::io::Errno;

use crate::node::{Attributes, is, node_of, read_raw_xattrs, shown_by_overlay, stat};

/// One name in an upper folder.
pub(super) enum Upper {
    /// The name is gone, whatever lies below.
    Whiteout,
    /// Something is there.
    Present(Box<Present>),
}

pub(super) struct Present {
    pub(super) node: Node,
    pub(super) stamp: Stamp,
    /// A folder that hides the one below.
    pub(super) opaque: bool,
    /// Where below the origin is, when it is not at the same name: absolute, or a name in the same folder.
    pub(super) redirect: Option<Box<[u8]>>,
    /// Only the metadata was copied; the content is still below.
    pub(super) metacopy: bool,
}

/// Reads a name in an upper folder; `None` when the folder says nothing about it.
pub(super) fn read(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Upper>> {
    let status = match stat(folder, name) {
        Err(error) if is(&error, Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let raw = read_raw_xattrs(folder, name)?;
    let device = rustix::fs::FileType::from_raw_mode(status.stx_mode.into())
        == rustix::fs::FileType::CharacterDevice;
    let zero = status.stx_rdev_major == 0 && status.stx_rdev_minor == 0;
    // Three spellings: the device, and the attribute in either namespace (never by the kernel itself).
    if (device && zero) || mark(&raw, b"whiteout").is_some() {
        return Ok(Some(Upper::Whiteout));
    }
    let shown: Xattrs = raw
        .iter()
        .filter_map(|(name, value)| Some((shown_by_overlay(name)?, value.clone())))
        .collect();
    let (node, stamp) = node_of(folder, name, &status, shown)?;
    Ok(Some(Upper::Present(Box::new(Present {
        opaque: node.kind == Kind::Directory
            && mark(&raw, b"opaque").is_some_and(|value| value == b"y"),
        redirect: mark(&raw, b"redirect").map(Box::from),
        metacopy: matches!(node.kind, Kind::File(_)) && mark(&raw, b"metacopy").is_some(),
        node,
        stamp,
    }))))
}

/// What is there in a lower folder; `None` when nothing is.
pub(super) fn read_lower(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<(Node, Stamp)>> {
    match crate::node::read_node(folder, name, Attributes::Plain) {
        Err(error) if is(&error, Errno::NOENT) || is(&error, Errno::NOTDIR) => Ok(None),
        other => Ok(Some(other?)),
    }
}

fn mark<'a>(raw: &'a Xattrs, name: &[u8]) -> Option<&'a [u8]> {
    [&b"trusted.overlay."[..], b"user.overlay."]
        .iter()
        .find_map(|prefix| raw.get(&[prefix, name].concat()[..]).map(|value| &**value))
}
