//! Walks a root in path order: every path once, each folder right before what it holds.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::{CStr, CString},
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use capture::{Node, Record, Stamp};
use model::{Kind, MachinePath};
use rustix::{
    fs::{FileType, Mode, OFlags, RawDir},
    io::Errno,
};

use crate::{
    mounts::Mounts,
    node::{Attributes, is, read_node},
};

pub use ::session::{ScanError, Skip, SkipReason};

/// So many folders on the way down stay open; those above are opened again on the way back, so that no
/// tree is too deep for the limit of open files.
const OPEN_FOLDERS: usize = 200;

/// What to scan.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The folder that is the machine's `/`.
    pub root: PathBuf,
    /// Folders that are our own.
    pub own_folders: Vec<MachinePath>,
    /// What is mounted below the root.
    pub mounts: Mounts,
}

impl Scan {
    /// A scan of all that belongs to `root`.
    ///
    /// # Errors
    /// The table of mounts cannot be read.
    pub fn of(root: &Path) -> io::Result<Self> {
        let mounts = Mounts::below(root)?;
        Ok(Self { root: root.to_owned(), own_folders: Vec::new(), mounts })
    }

    /// Leaves out a folder of our own, if it lies below the root.
    #[must_use]
    pub fn without(mut self, folder: &Path) -> Self {
        let inside = folder.canonicalize().ok().zip(self.root.canonicalize().ok());
        if let Some((folder, root)) = inside
            && let Ok(below) = folder.strip_prefix(root)
            && let Ok(path) = MachinePath::new([b"/", below.as_os_str().as_bytes()].concat())
        {
            self.own_folders.push(path);
        }
        self
    }

    /// Walks the root and hands every record to `sink` in path order. Names of one inode after the
    /// first are hard links to the first. Returns what was left out.
    ///
    /// # Errors
    /// The root or a path in it cannot be read at all, or `sink` failed.
    pub fn run(
        &self,
        sink: &mut dyn FnMut(Record, &Place<'_>) -> io::Result<()>,
    ) -> Result<Vec<Skip>, ScanError> {
        let root_error = |reason| ScanError::Root { root: self.root.clone(), reason };
        let root = open_root(&self.root).map_err(root_error)?;
        let (node, stamp) = read_node(root.as_fd(), c"", Attributes::Plain).map_err(root_error)?;
        let mut walk = Walk {
            scan: self,
            root,
            groups: HashMap::new(),
            skips: BTreeSet::new(),
            buffer: vec![MaybeUninit::uninit(); 64 << 10],
        };
        let record = Record { path: MachinePath::root(), node, stamp };
        let place = Place { folder: walk.root.as_fd(), name: c"" };
        sink(record, &place).map_err(ScanError::Sink)?;
        walk.descend(sink)?;
        Ok(walk.skips.into_iter().collect())
    }
}

/// Where a record can be opened again, however long its path.
pub struct Place<'a> {
    /// The folder it is in.
    pub folder: BorrowedFd<'a>,
    /// Its name there.
    pub name: &'a CStr,
}

/// Opens a root folder.
pub(crate) fn open_root(root: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(root, flags, Mode::empty())?)
}

pub(crate) fn open_folder(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let name = if name.is_empty() { c"." } else { name };
    let open = |flags| rustix::fs::openat(folder, name, flags, Mode::empty());
    Ok(match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags)?,
        other => other?,
    })
}

/// The names in an open folder, in order, with what the folder says of their kind and inode.
pub(crate) fn list(
    folder: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<u8>],
) -> io::Result<Vec<(CString, FileType, u64)>> {
    let mut names = Vec::new();
    let mut entries = RawDir::new(folder, buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push((name.to_owned(), entry.file_type(), entry.ino()));
        }
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}

struct Walk<'a> {
    scan: &'a Scan,
    root: OwnedFd,
    /// The first name of each inode with several.
    groups: HashMap<(u64, u64), MachinePath>,
    skips: BTreeSet<Skip>,
    buffer: Vec<MaybeUninit<u8>>,
}

/// A folder whose entries are being handed out.
struct Frame {
    path: MachinePath,
    /// Closed while the walk is far below.
    folder: Option<OwnedFd>,
    entries: std::vec::IntoIter<(CString, Node, Stamp)>,
}

impl Walk<'_> {
    fn descend(
        &mut self,
        sink: &mut dyn FnMut(Record, &Place<'_>) -> io::Result<()>,
    ) -> Result<(), ScanError> {
        let root = self
            .root
            .try_clone()
            .map_err(|reason| ScanError::Root { root: self.scan.root.clone(), reason })?;
        let mut frames: Vec<Frame> = Vec::new();
        frames.extend(self.enter(MachinePath::root(), root)?);
        while let Some(frame) = frames.last_mut() {
            let Some((name, node, stamp)) = frame.entries.next() else {
                frames.pop();
                continue;
            };
            let Ok(path) = frame.path.join(name.to_bytes()) else { continue };
            if frame.folder.is_none() {
                match self.open_again(&frame.path) {
                    Ok(folder) => frame.folder = Some(folder),
                    Err(reason) => {
                        self.unreadable(frame.path.clone(), reason)?;
                        frames.pop();
                        continue;
                    }
                }
            }
            let Some(folder) = &frame.folder else { continue };
            let place = Place { folder: folder.as_fd(), name: &name };
            let is_folder = node.kind == Kind::Directory;
            let record = self.linked(Record { path: path.clone(), node, stamp });
            sink(record, &place).map_err(ScanError::Sink)?;
            if is_folder {
                match open_folder(folder.as_fd(), &name) {
                    Ok(opened) => {
                        let next = self.enter(path, opened)?;
                        frames.extend(next);
                    }
                    Err(reason) => self.unreadable(path, reason)?,
                }
                if let Some(far) = frames.len().checked_sub(OPEN_FOLDERS) {
                    frames[far].folder = None;
                }
            }
        }
        Ok(())
    }

    /// Reads a folder's entries; `None` when it cannot be read, which is noted.
    fn enter(&mut self, path: MachinePath, folder: OwnedFd) -> Result<Option<Frame>, ScanError> {
        let names = match list(folder.as_fd(), &mut self.buffer) {
            Ok(names) => names,
            Err(reason) => {
                self.unreadable(path, reason)?;
                return Ok(None);
            }
        };
        // Only few folders hold a mount point; asking for each name would cost a path each.
        let watched = self.watched(&path);
        let mut entries = Vec::with_capacity(names.len());
        for (name, kind, _) in names {
            if watched && self.skipped(&path, &name) {
                continue;
            }
            if kind == FileType::Socket {
                self.skip(&path, &name, SkipReason::Socket);
                continue;
            }
            match read_node(folder.as_fd(), &name, Attributes::Plain) {
                Ok((node, _)) if node.kind == Kind::Socket => {
                    self.skip(&path, &name, SkipReason::Socket);
                }
                Ok((node, stamp)) => entries.push((name, node, stamp)),
                // Gone between listing and looking.
                Err(error) if is(&error, Errno::NOENT) => {}
                Err(error) => {
                    if let Ok(path) = path.join(name.to_bytes()) {
                        self.unreadable(path, error)?;
                    }
                }
            }
        }
        Ok(Some(Frame { path, folder: Some(folder), entries: entries.into_iter() }))
    }

    fn watched(&self, folder: &MachinePath) -> bool {
        let inside = |path: &MachinePath| path.parent().as_ref() == Some(folder);
        self.scan.own_folders.iter().any(inside) || self.scan.mounts.points.keys().any(inside)
    }

    fn skipped(&mut self, folder: &MachinePath, name: &CStr) -> bool {
        let Ok(path) = folder.join(name.to_bytes()) else { return false };
        let reason = if self.scan.own_folders.contains(&path) {
            SkipReason::OwnFolder
        } else if let Some(mount) = self.scan.mounts.points.get(&path)
            && !self.scan.mounts.own.contains(&path)
        {
            SkipReason::Mounted(mount.file_system.clone())
        } else {
            return false;
        };
        self.skips.insert(Skip { path, reason });
        true
    }

    fn skip(&mut self, folder: &MachinePath, name: &CStr, reason: SkipReason) {
        if let Ok(path) = folder.join(name.to_bytes()) {
            self.skips.insert(Skip { path, reason });
        }
    }

    /// What we may not read, and what is damaged, is listed and the rest goes on; out of memory or
    /// open files is a failure of the scan.
    fn unreadable(&mut self, path: MachinePath, reason: io::Error) -> Result<(), ScanError> {
        match Errno::from_io_error(&reason) {
            Some(Errno::NOENT) => Ok(()),
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => {
                Err(ScanError::Path { path, reason })
            }
            _ => {
                self.skips
                    .insert(Skip { path, reason: SkipReason::Unreadable(reason.to_string()) });
                Ok(())
            }
        }
    }

    /// Makes every name of an inode after its first a hard link.
    fn linked(&mut self, mut record: Record) -> Record {
        if record.stamp.links > 1 && record.node.kind != Kind::Directory {
            let inode = (record.stamp.device, record.stamp.inode);
            match self.groups.get(&inode) {
                Some(first) => record.node.kind = Kind::HardLink(first.clone()),
                None => {
                    self.groups.insert(inode, record.path.clone());
                }
            }
        }
        record
    }

    fn open_again(&self, path: &MachinePath) -> io::Result<OwnedFd> {
        open_parts(self.root.as_fd(), path)
    }
}

/// Opens a folder below `root` part by part, so that neither length nor a link in the way matters.
pub(crate) fn open_parts(root: BorrowedFd<'_>, path: &MachinePath) -> io::Result<OwnedFd> {
    let mut folder = root.try_clone_to_owned()?;
    for part in path.parts() {
        let name = CString::new(part).map_err(|_| io::ErrorKind::InvalidInput)?;
        folder = open_folder(folder.as_fd(), &name)?;
    }
    Ok(folder)
}

/// Opens the content of a regular file below `root`, following no link on the way.
pub(crate) fn open_file_below(root: &Path, path: &MachinePath) -> io::Result<std::fs::File> {
    let root = open_root(root)?;
    let folder = open_parts(root.as_fd(), &path.parent().unwrap_or_else(MachinePath::root))?;
    let name =
        CString::new(path.name().unwrap_or_default()).map_err(|_| io::ErrorKind::InvalidInput)?;
    crate::node::open_file(folder.as_fd(), &name)
}
