//! The half of extracting that writes.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, SystemTime},
};

use model::{MachinePath, Meta, escape};
use package::Origin;

use super::ExtractError;
use crate::sys;

/// What is to be written, in order.
pub(super) enum Job {
    Folder {
        tree: u32,
        path: Vec<u8>,
    },
    /// A file, whose data follows.
    File {
        tree: u32,
        path: Vec<u8>,
        meta: Meta,
        length: u64,
    },
    Data {
        offset: u64,
        bytes: Vec<u8>,
    },
    HardLink {
        tree: u32,
        path: Vec<u8>,
        first: (u32, Vec<u8>),
    },
    Symlink {
        tree: u32,
        path: Vec<u8>,
        target: Vec<u8>,
    },
    /// So many bytes of what was written are wanted back.
    Recall {
        origin: Origin,
        length: usize,
    },
}

/// Bytes read back, or none if they cannot be.
pub(super) type Recalled = Option<Vec<u8>>;

/// Writes below a folder.
pub(super) struct Writer {
    root: PathBuf,
    places: Vec<MachinePath>,
    /// The folder made last, which most often is the next one wanted.
    last: Option<PathBuf>,
    open: Option<Open>,
}

/// The file that is being written.
struct Open {
    path: PathBuf,
    file: File,
    modified: SystemTime,
    length: u64,
    end: u64,
}

impl Writer {
    /// A writer that puts the tree of each number at its place below `root`.
    pub(super) fn new(root: PathBuf, places: Vec<MachinePath>) -> Self {
        Self { root, places, last: None, open: None }
    }

    /// Does all jobs that come.
    pub(super) fn run(
        mut self,
        jobs: &mpsc::Receiver<Vec<Job>>,
        replies: &mpsc::SyncSender<Recalled>,
    ) -> Result<(), ExtractError> {
        for job in jobs.iter().flatten() {
            if let Job::Data { offset, bytes } = &job {
                self.data(*offset, bytes)?;
                continue;
            }
            if let Job::Recall { origin, length } = &job {
                // Who asked may have given up meanwhile.
                let _ = replies.send(self.recall(origin, *length));
                continue;
            }
            self.complete()?;
            self.perform(job)?;
        }
        self.complete()
    }

    fn perform(&mut self, job: Job) -> Result<(), ExtractError> {
        match job {
            Job::Folder { tree, path } => self.folder(&self.path(tree, &path)),
            Job::File { tree, path, meta, length } => {
                self.file(self.path(tree, &path), &meta, length)
            }
            Job::HardLink { tree, path, first: (first_tree, first) } => {
                let path = self.path(tree, &path);
                self.parent(&path)?;
                fs::hard_link(self.path(first_tree, &first), &path).map_err(wrong(&path))
            }
            Job::Symlink { tree, path, target } => {
                let path = self.path(tree, &path);
                self.parent(&path)?;
                sys::symlink(&target, &path).map_err(wrong(&path))
            }
            Job::Data { .. } | Job::Recall { .. } => Ok(()),
        }
    }

    fn path(&self, tree: u32, path: &[u8]) -> PathBuf {
        let place = self.places.get(tree as usize).map_or(&b""[..], MachinePath::relative);
        let mut full = self.root.clone();
        for part in [place, path] {
            for part in part.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
                // A drive becomes a plain folder.
                let part = match part {
                    [letter, b':'] => std::slice::from_ref(letter),
                    part => part,
                };
                full.push(sys::name(part));
            }
        }
        full
    }

    fn file(&mut self, path: PathBuf, meta: &Meta, length: u64) -> Result<(), ExtractError> {
        self.parent(&path)?;
        let file = sys::make_file(&path, meta.mode).map_err(wrong(&path))?;
        self.open = Some(Open { path, file, modified: time(meta), length, end: 0 });
        Ok(())
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), ExtractError> {
        let Some(Open { path, file, end, .. }) = &mut self.open else { return Ok(()) };
        *end = offset + bytes.len() as u64;
        sys::write_all_at(file, bytes, offset).map_err(wrong(path))
    }

    /// Ends the file that is being written.
    fn complete(&mut self) -> Result<(), ExtractError> {
        let Some(Open { path, file, modified, length, end }) = self.open.take() else {
            return Ok(());
        };
        if end < length {
            file.set_len(length).map_err(wrong(&path))?;
        }
        file.set_modified(modified).map_err(wrong(&path))
    }

    fn recall(&self, origin: &Origin, length: usize) -> Recalled {
        let file = File::open(self.path(origin.tree, &origin.path)).ok()?;
        let mut bytes = vec![0; length];
        sys::read_exact_at(&file, &mut bytes, origin.offset).ok()?;
        Some(bytes)
    }

    fn parent(&mut self, path: &Path) -> Result<(), ExtractError> {
        match path.parent() {
            Some(parent) if self.last.as_deref() != Some(parent) => {
                self.folder(parent)?;
                self.last = Some(parent.to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn folder(&mut self, path: &Path) -> Result<(), ExtractError> {
        match sys::make_folder(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.parent(path)?;
                self.folder(path)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
                    Ok(())
                } else {
                    Err(wrong(path)(error))
                }
            }
            other => other.map_err(wrong(path)),
        }
    }
}

fn wrong(path: &Path) -> impl FnOnce(io::Error) -> ExtractError {
    move |source| {
        let path = escape(&sys::bytes(path.as_os_str().to_owned()));
        match source.kind() {
            io::ErrorKind::AlreadyExists => ExtractError::Collision { path },
            _ => ExtractError::Write { path, source },
        }
    }
}

fn time(meta: &Meta) -> SystemTime {
    let nanoseconds = Duration::from_nanos(meta.modified.nanoseconds.into());
    let seconds = Duration::from_secs(meta.modified.seconds.unsigned_abs());
    let whole = if meta.modified.seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    whole.and_then(|time| time.checked_add(nanoseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}
