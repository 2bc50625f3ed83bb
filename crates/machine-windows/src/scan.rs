//! A drive walked in path order, each folder right before what it holds; what leads elsewhere is seen and not followed.
//!
//! Names come from `FindFirstFileExW`, all else from each file itself: what a folder says of a file may be late on NTFS
//! (Microsoft, `FindFirstFileW`, remarks).

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    ptr,
};

use ::session::{Place, ScanError, Sink, Skip, SkipReason};
use capture::{Node, Record, Stamp};
use change::Found;
use model::{Content, Hash, Hasher, Kind, MachinePath};
use windows_sys::Win32::{
    Foundation::{
        ERROR_FILE_NOT_FOUND, ERROR_NO_MORE_FILES, ERROR_NO_SYSTEM_RESOURCES,
        ERROR_NOT_ENOUGH_MEMORY, ERROR_OUTOFMEMORY, INVALID_HANDLE_VALUE,
    },
    Storage::FileSystem::{
        FIND_FIRST_EX_LARGE_FETCH, FindClose, FindExInfoBasic, FindExSearchNameMatch,
        FindFirstFileExW, FindNextFileW, WIN32_FIND_DATAW,
    },
};

use crate::{
    file,
    names::{bytes_of, host, wide},
};

/// Permissions as a capture has them: a folder, a link, a file that may be written, or not.
const MODES: [u16; 4] = [0o755, 0o777, 0o644, 0o444];

/// Walks what is below `drive`, `/C:`, and hands every record to `sink`, its path below that. Names of a file after the
/// first are hard links to the first. What lies in `own` is passed over. Returns what was left out.
///
/// # Errors
/// The drive cannot be looked at, or `sink` failed.
pub(crate) fn scan(
    root: &Path,
    drive: &MachinePath,
    own: &[PathBuf],
    sink: Sink<'_>,
) -> Result<Vec<Skip>, ScanError> {
    let root_error = |reason| ScanError::Root { root: root.to_owned(), reason };
    let mut walk = Walk {
        drive,
        own: own.iter().filter_map(|folder| folded(folder)).collect(),
        groups: HashMap::new(),
        skips: BTreeSet::new(),
    };
    let top = MachinePath::root();
    let at = walk.at(&top).map_err(root_error)?;
    let (node, stamp) = look(&at).map_err(root_error)?;
    let names = list(&at).map_err(root_error)?;
    sink(Record { path: top.clone(), node, stamp }, &At(at)).map_err(ScanError::Sink)?;
    let identity = (stamp.device, stamp.inode);
    walk.descend(Frame { path: top, identity, names: names.into_iter() }, sink)?;
    Ok(walk.skips.into_iter().collect())
}

/// What a path holds, and what betrays a touch.
pub(crate) fn look(path: &Path) -> io::Result<(Node, Stamp)> {
    let (found, changed) = file::look_closely(path)?;
    let Found { node, meta, identity, links } = found;
    let (kind, mode) = match node {
        change::Node::Directory => (Kind::Directory, MODES[0]),
        change::Node::Symlink(target) => (Kind::Symlink(target), MODES[1]),
        change::Node::File { length } => {
            let mode = MODES[if meta.mode == file::READ_ONLY { 3 } else { 2 }];
            (Kind::File(Content { length, hash: None, holes: Vec::new() }), mode)
        }
        other => {
            let what = format!("Windows has no {}", other.word());
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
    };
    let node = Node { kind, mode, uid: 0, gid: 0, modified: meta.modified, xattrs: meta.xattrs };
    let links = u32::try_from(links).unwrap_or(u32::MAX);
    Ok((node, Stamp { device: identity.0, inode: identity.1, changed, links }))
}

/// The hash of a file's content. What others hold so that nobody may read it is like what we have no right to.
pub(crate) fn hash(path: &Path) -> io::Result<Option<Hash>> {
    let read = || -> io::Result<Hash> {
        let mut file = File::open(path)?;
        let mut hasher = Hasher::new();
        hasher.read_all(&mut file)?;
        Ok(hasher.finish())
    };
    match read() {
        Ok(hash) => Ok(Some(hash)),
        Err(error) if is_exhausted(&error) || error.kind() == io::ErrorKind::NotFound => Err(error),
        Err(error) => Err(io::Error::new(io::ErrorKind::PermissionDenied, error)),
    }
}

/// Where a record is read.
struct At(PathBuf);

impl Place for At {
    fn open(&self) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(File::open(&self.0)?))
    }

    fn hash(&self, _: &Content) -> io::Result<Option<Hash>> {
        hash(&self.0)
    }
}

struct Walk<'a> {
    drive: &'a MachinePath,
    /// Folders of ours, in the one case comparisons are made in.
    own: Vec<String>,
    /// The first name of each file with several.
    groups: HashMap<(u64, u64), MachinePath>,
    skips: BTreeSet<Skip>,
}

/// A folder whose entries are being handed out.
struct Frame {
    path: MachinePath,
    /// The volume and the folder's number on it.
    identity: (u64, u64),
    names: std::vec::IntoIter<Vec<u8>>,
}

impl Walk<'_> {
    fn descend(&mut self, top: Frame, sink: Sink<'_>) -> Result<(), ScanError> {
        let mut frames = vec![top];
        while let Some(frame) = frames.last_mut() {
            let Some(name) = frame.names.next() else {
                frames.pop();
                continue;
            };
            let Ok(path) = frame.path.join(&name) else { continue };
            let at =
                self.at(&path).map_err(|reason| ScanError::Path { path: path.clone(), reason })?;
            if self.is_own(&at) {
                self.skips.insert(Skip { path, reason: SkipReason::OwnFolder });
                continue;
            }
            let (node, stamp) = match look(&at) {
                Ok(found) => found,
                Err(reason) => {
                    self.unreadable(path, reason)?;
                    continue;
                }
            };
            let is_folder = node.kind == Kind::Directory;
            let identity = (stamp.device, stamp.inode);
            // Wine follows the links of the system below it, and hides that it does.
            if is_folder && frames.iter().any(|above| above.identity == identity) {
                let reason = SkipReason::Unreadable("it leads to a folder it lies in".to_owned());
                self.skips.insert(Skip { path, reason });
                continue;
            }
            let record = self.linked(Record { path: path.clone(), node, stamp });
            let at = At(at);
            sink(record, &at).map_err(ScanError::Sink)?;
            if is_folder {
                match list(&at.0) {
                    Ok(names) => {
                        frames.push(Frame { path, identity, names: names.into_iter() });
                    }
                    Err(reason) => self.unreadable(path, reason)?,
                }
            }
        }
        Ok(())
    }

    /// Where a path of the walk is on this machine.
    fn at(&self, path: &MachinePath) -> io::Result<PathBuf> {
        place(self.drive, path)
    }

    fn is_own(&self, at: &Path) -> bool {
        !self.own.is_empty() && folded(at).is_some_and(|at| self.own.contains(&at))
    }

    /// What we may not read, and what is damaged, is listed and the rest goes on; what is gone since its name was read is
    /// gone; out of memory is a failure of the scan.
    fn unreadable(&mut self, path: MachinePath, reason: io::Error) -> Result<(), ScanError> {
        if file::is_absent(&reason) {
            return Ok(());
        }
        if is_exhausted(&reason) {
            return Err(ScanError::Path { path, reason });
        }
        self.skips.insert(Skip { path, reason: SkipReason::Unreadable(reason.to_string()) });
        Ok(())
    }

    /// Makes every name of a file after its first a hard link.
    fn linked(&mut self, mut record: Record) -> Record {
        if record.stamp.links > 1 && record.node.kind != Kind::Directory {
            let identity = (record.stamp.device, record.stamp.inode);
            match self.groups.get(&identity) {
                Some(first) => record.node.kind = Kind::HardLink(first.clone()),
                None => {
                    self.groups.insert(identity, record.path.clone());
                }
            }
        }
        record
    }
}

/// Where a path below a drive is on this machine, in the form without a limit of length.
pub(crate) fn place(drive: &MachinePath, path: &MachinePath) -> io::Result<PathBuf> {
    let full = if path.is_root() {
        drive.clone()
    } else {
        MachinePath::new([drive.as_bytes(), path.as_bytes()].concat()).map_err(io::Error::other)?
    };
    host(&full).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidFilename, format!("`{full}` is on no drive"))
    })
}

/// A folder by its one name, for comparisons; `None` where there is none.
fn folded(folder: &Path) -> Option<String> {
    let text = folder.to_str()?;
    Some(text.strip_prefix(r"\\?\").unwrap_or(text).to_lowercase())
}

fn is_exhausted(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(i32::cast_unsigned);
    [ERROR_NOT_ENOUGH_MEMORY, ERROR_OUTOFMEMORY, ERROR_NO_SYSTEM_RESOURCES]
        .iter()
        .any(|&one| code == Some(one))
}

/// The names in a folder, in the order of paths.
#[expect(unsafe_code, reason = "std neither fetches much at a time nor leaves the short names out")]
fn list(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let pattern = wide(folder.join("*"));
    let mut found = WIN32_FIND_DATAW::default();
    // SAFETY: the pattern ends with a zero, the structure is the one this level of information fills, and no filter is given.
    let search = unsafe {
        FindFirstFileExW(
            pattern.as_ptr(),
            FindExInfoBasic,
            (&raw mut found).cast(),
            FindExSearchNameMatch,
            ptr::null(),
            FIND_FIRST_EX_LARGE_FETCH,
        )
    };
    let is = |error: &io::Error, code: u32| error.raw_os_error() == Some(code.cast_signed());
    if search == INVALID_HANDLE_VALUE {
        let error = io::Error::last_os_error();
        // The root of a drive has no `.`, and so, if empty, nothing at all.
        return if is(&error, ERROR_FILE_NOT_FOUND) { Ok(Vec::new()) } else { Err(error) };
    }
    let mut names = Vec::new();
    loop {
        let end = found.cFileName.iter().position(|&word| word == 0);
        let name = bytes_of(&found.cFileName[..end.unwrap_or(found.cFileName.len())]);
        if name != b"." && name != b".." {
            names.push(name);
        }
        // SAFETY: the search is open, and the structure the same.
        if unsafe { FindNextFileW(search, &raw mut found) } == 0 {
            let error = io::Error::last_os_error();
            // SAFETY: the search is open, and used no more.
            unsafe { FindClose(search) };
            if !is(&error, ERROR_NO_MORE_FILES) {
                return Err(error);
            }
            names.sort_unstable();
            return Ok(names);
        }
    }
}
