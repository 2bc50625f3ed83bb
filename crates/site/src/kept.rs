//! What this machine keeps of a bucket: objects as files, within a limit, each locked by the kernel as long as it is used.
//!
//! **Invariant:** a file has its final name only after it was hashed whole; it is hashed again before each use as a whole.

#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use content::Object;
use model::Hasher;
use rustix::fs::FlockOperation;
use store::{Point, PointError};

/// The end of the name of what is not whole yet.
const PARTIAL: &str = ".partial";

/// Between two looks at whether somebody else has fetched it.
const BREATH: Duration = Duration::from_millis(50);

/// Objects of a bucket, as files.
#[derive(Debug)]
pub(crate) struct Kept {
    root: PathBuf,
    /// More bytes than this stay only as long as they are used.
    most: u64,
    /// How many objects were fetched.
    #[cfg(test)]
    fetched: AtomicU64,
}

/// An object as a file that stays as long as this does.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) path: PathBuf,
    _lock: File,
}

/// Whether a name still stands for an open file.
fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    let own = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((own.dev(), own.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn lock(file: &File, operation: FlockOperation) -> std::io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::fs::flock(file, operation)).map_err(Into::into)
}

impl Kept {
    /// In a folder, made if it is not there, with no more than `most` bytes while nothing is used.
    pub(crate) fn new(root: PathBuf, most: u64) -> Result<Self, PointError> {
        std::fs::create_dir_all(&root).map_err(PointError::file("making", &root))?;
        let kept = Self {
            root,
            most,
            #[cfg(test)]
            fetched: AtomicU64::new(0),
        };
        kept.make_room(0);
        Ok(kept)
    }

    /// Where an object is once it is whole.
    pub(crate) fn path(&self, object: &Object) -> PathBuf {
        self.root.join(object.hash.to_string())
    }

    /// Where it is while it comes.
    pub(crate) fn arriving(&self, object: &Object) -> PathBuf {
        self.root.join(format!("{}{PARTIAL}", object.hash))
    }

    /// How many objects were fetched since the start.
    #[cfg(test)]
    pub(crate) fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// The object, hashed just now; fetched if it is not here. `grew` is told of each piece that comes.
    pub(crate) fn sound(
        &self,
        point: &Point,
        object: &Object,
        grew: &mut dyn FnMut(),
    ) -> Result<Held, PointError> {
        loop {
            if let Some(held) =
                self.held(object).map_err(PointError::file("reading", &self.path(object)))?
            {
                return Ok(held);
            }
            self.fetch(point, object, grew)?;
        }
    }

    /// The object if it is here, hashed just now. What was damaged here is forgotten.
    fn held(&self, object: &Object) -> std::io::Result<Option<Held>> {
        let path = self.path(object);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        lock(&file, FlockOperation::LockShared)?;
        if !is_at(&file, &path)? {
            return Ok(None);
        }
        let mut hasher = Hasher::new();
        hasher.read_all(&mut file)?;
        if hasher.finish() != object.hash {
            std::fs::remove_file(&path)?;
            return Ok(None);
        }
        touch(&file);
        Ok(Some(Held { path, _lock: file }))
    }

    /// Fetches an object, on from what came before. Whoever comes second waits until the first has fetched it, and no longer: the
    /// first may use it for hours.
    pub(crate) fn fetch(
        &self,
        point: &Point,
        object: &Object,
        grew: &mut dyn FnMut(),
    ) -> Result<(), PointError> {
        let (path, whole) = (self.arriving(object), self.path(object));
        let opening = || PointError::file("opening", &path);
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .open(&path)
                .map_err(opening())?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    if whole.is_file() {
                        return Ok(());
                    }
                    std::thread::park_timeout(BREATH);
                    continue;
                }
                Err(error) => return Err(opening()(error.into())),
            }
            if !is_at(&file, &path).map_err(opening())? {
                // Whoever was first has ended.
                if whole.is_file() {
                    return Ok(());
                }
                continue;
            }
            if whole.is_file() {
                return std::fs::remove_file(&path).map_err(PointError::file("deleting", &path));
            }
            let began = file.metadata().map_err(opening())?.len();
            if began > object.length {
                file.set_len(0).map_err(opening())?;
            }
            self.make_room(object.length.saturating_sub(began));
            match point.read_into(object, &mut file, &path, &mut |_| grew()) {
                Ok(()) => {
                    file.sync_all().map_err(PointError::file("writing", &path))?;
                    std::fs::rename(&path, &whole).map_err(PointError::file("renaming", &path))?;
                    #[cfg(test)]
                    self.fetched.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                // What was there before may be at fault, and not what came now.
                Err(PointError::Damaged { .. }) if began > 0 => {
                    file.set_len(0).map_err(opening())?;
                }
                Err(error) => {
                    if matches!(error, PointError::Damaged { .. } | PointError::Missing { .. }) {
                        let _ = std::fs::remove_file(&path);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Keeps a file that is whole and sound, as one that is likely wanted soon. If it cannot be kept it goes.
    pub(crate) fn keep(&self, file: &Path, object: &Object) {
        let length = object.length;
        self.make_room(length);
        if length > self.most || std::fs::rename(file, self.path(object)).is_err() {
            let _ = std::fs::remove_file(file);
        }
    }

    /// Forgets an object that may be damaged here.
    pub(crate) fn forget(&self, object: &Object) {
        let _ = std::fs::remove_file(self.path(object));
    }

    /// Takes away what was not used for longest, until there is room for so many bytes more, or all of it is used.
    pub(crate) fn make_room(&self, bytes: u64) {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().filter_map(Result::ok);
        let mut all: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let data = entry.metadata().ok()?;
                Some((data.modified().ok()?, data.len(), entry.path()))
            })
            .collect();
        all.sort();
        let mut total: u64 = all.iter().map(|(_, length, _)| length).sum();
        for (_, length, path) in all {
            if total.saturating_add(bytes) <= self.most {
                return;
            }
            let Ok(file) = File::open(&path) else { continue };
            let is_unused = lock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
                && is_at(&file, &path).unwrap_or_default();
            if is_unused && std::fs::remove_file(&path).is_ok() {
                total = total.saturating_sub(length);
            }
        }
    }
}

/// Notes that it was used now; the order in which files go is all that depends on it.
fn touch(file: &File) {
    let now = std::fs::FileTimes::new().set_modified(SystemTime::now());
    let _ = file.set_times(now);
}
