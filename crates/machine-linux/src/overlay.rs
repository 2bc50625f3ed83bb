//! What an installer did to an overlay, read from its upper folders: the cost is the changes, never the
//! size of the machine (except for hard links, whose other names must be looked for).
//!
//! The upper folder is not mounted while it is read, and need not ever be again. So everything
//! overlayfs writes down there is followed here: whiteouts and opaque folders, redirected renames,
//! metadata-only copies, and the index that keeps hard links together.

mod index;
mod links;
mod marks;
mod walk;

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs, io,
    os::{fd::AsFd as _, unix::fs::chown},
    path::{Path, PathBuf},
};

use capture::{BothNames, ChangeSet, Verdict, judge};
use model::MachinePath;
use rustix::{
    fs::{AtFlags, CWD, Mode, Timespec, Timestamps, XattrFlags},
    io::Errno,
};

use crate::{
    node::{Attributes, read_node},
    scan::Skip,
};

pub use ::session::Layer;

/// What was found in upper folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayChanges {
    /// What differs, and what was touched without a change.
    pub changes: ChangeSet,
    /// What was left out.
    pub skips: BTreeSet<Skip>,
}

/// An upper folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum OverlayDiffError {
    /// A layer's folder cannot be opened.
    #[error("cannot open the layer's folder `{}`", folder.display())]
    Layer {
        /// The folder.
        folder: PathBuf,
        /// The kernel's answer.
        #[source]
        reason: io::Error,
    },
    /// A path cannot be read in the upper or the lower folder.
    #[error("cannot read `{path}` in the overlay's folders")]
    Path {
        /// Where, as the installer saw it.
        path: MachinePath,
        /// The kernel's answer.
        #[source]
        reason: io::Error,
    },
    /// Overlayfs points at a path that makes no sense.
    #[error("`{path}` is redirected to a place that is no path: `{to}`")]
    Redirect {
        /// Where, as the installer saw it.
        path: MachinePath,
        /// What stands there, escaped.
        to: String,
    },
}

/// Makes a layer's folders for changes. The upper one stands for the root of what is below, and so it has
/// to look like it.
///
/// # Errors
/// A folder cannot be made, or the one below not be looked at.
pub fn make(layer: &Layer) -> io::Result<()> {
    fs::create_dir_all(&layer.upper)?;
    fs::create_dir_all(&layer.work)?;
    let lower = crate::scan::open_root(&layer.lower)?;
    let (node, _) = read_node(lower.as_fd(), c"", Attributes::Plain)?;
    chown(&layer.upper, Some(node.uid), Some(node.gid))?;
    rustix::fs::chmod(&layer.upper, Mode::from_raw_mode(node.mode.into()))?;
    for (name, value) in &node.xattrs {
        let name = CString::new(&name[..]).map_err(|_| io::ErrorKind::InvalidData)?;
        match rustix::fs::lsetxattr(&layer.upper, &name, value, XattrFlags::empty()) {
            Err(Errno::NOTSUP | Errno::PERM) => {}
            other => other?,
        }
    }
    let time =
        Timespec { tv_sec: node.modified.seconds, tv_nsec: node.modified.nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, &layer.upper, &times, AtFlags::empty())?)
}

/// Reads what changed in `layers`. `made` are paths the capture itself made to mount on.
///
/// # Errors
/// A folder or a path that cannot be read: what is unknown is never taken for unchanged.
pub fn differences(
    layers: &[Layer],
    names: &BothNames,
    made: &BTreeSet<MachinePath>,
) -> Result<OverlayChanges, OverlayDiffError> {
    let mut found = OverlayChanges::default();
    for layer in layers {
        let (pairs, skips) = walk::pairs(layer, made)?;
        for (path, before, after) in links::grouped(pairs) {
            match judge(before.as_ref(), after.as_ref(), names) {
                Verdict::Untouched => {}
                Verdict::Touched(touch) => {
                    found.changes.touched.insert(path, touch);
                }
                Verdict::Changed(change) => {
                    found.changes.changes.insert(path, change);
                }
            }
        }
        found.skips.extend(skips);
    }
    Ok(found)
}

/// Where the content of a regular file lies after the run: the upper folder, or the lower one for a
/// copy of metadata alone, a file below a renamed folder, or a name whose inode was changed through
/// another.
///
/// # Errors
/// The path holds no file, or a folder on the way cannot be read.
pub fn open_content(
    layers: &[Layer],
    path: &MachinePath,
) -> Result<std::fs::File, OverlayDiffError> {
    let layer = layer_of(layers, path);
    let failed = |reason| OverlayDiffError::Path { path: path.clone(), reason };
    let layer = layer.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    walk::open_after(layer, path)
}

/// Opens a regular file as it was before the run.
///
/// # Errors
/// The path held no file.
pub fn open_before(
    layers: &[Layer],
    path: &MachinePath,
) -> Result<std::fs::File, OverlayDiffError> {
    let failed = |reason| OverlayDiffError::Path { path: path.clone(), reason };
    let layer = layer_of(layers, path).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    walk::open_before(layer, path)
}

/// The layer a path lies in: the one mounted nearest above it.
fn layer_of<'a>(layers: &'a [Layer], path: &MachinePath) -> Option<&'a Layer> {
    layers
        .iter()
        .filter(|layer| path.is_within(&layer.path))
        .max_by_key(|layer| layer.path.parts().count())
}

pub(crate) fn open_layer_folder(folder: &Path) -> Result<std::os::fd::OwnedFd, OverlayDiffError> {
    crate::scan::open_root(folder)
        .map_err(|reason| OverlayDiffError::Layer { folder: folder.to_owned(), reason })
}
