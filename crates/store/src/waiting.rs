//! Where what comes waits until it is whole: one fetch at a time has a folder, so that what came before a cut is gone on
//! from and nobody writes into what another reads. And where what is made on the way lies.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    PointError,
    at::{lock_of, until_removed},
};

/// How the folders of those that came second are named.
const OWN: &str = ".packhorse-";

/// A folder nobody else fetches into as long as this lives.
#[derive(Debug)]
pub(crate) struct Waiting {
    folder: PathBuf,
    // Locked until it is closed.
    _lock: File,
    own: Option<TempDir>,
}

impl Waiting {
    /// `folder`; or, while somebody else fetches into it, a folder of our own in it that goes when we go.
    pub(crate) fn claim(folder: &Path) -> Result<Self, PointError> {
        let lock = open(folder)?;
        if lock.try_lock().is_ok() {
            sweep(folder);
            return Ok(Self { folder: folder.to_owned(), _lock: lock, own: None });
        }
        Self::own(folder)
    }

    /// A folder of our own for what is made on the way; it goes when we go, or with the next that wants one.
    pub(crate) fn scratch() -> Result<Self, PointError> {
        let all = std::env::temp_dir();
        sweep(&all);
        Self::own(&all)
    }

    /// A folder of our own in `folder`.
    pub(crate) fn own(folder: &Path) -> Result<Self, PointError> {
        let cannot = |source| PointError::File { doing: "making", path: folder.to_owned(), source };
        loop {
            let own = tempfile::Builder::new().prefix(OWN).tempdir_in(folder).map_err(cannot)?;
            let lock = match lock_of(own.path()) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened.map_err(cannot)?,
            };
            // Where nothing can be locked nobody sweeps either.
            let _ = lock.lock();
            // Somebody who sweeps may have been quicker.
            if own.path().exists() {
                return Ok(Self { folder: own.path().to_owned(), _lock: lock, own: Some(own) });
            }
        }
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether what is left in it will be found again.
    pub(crate) fn lasts(&self) -> bool {
        self.own.is_none()
    }
}

fn open(folder: &Path) -> Result<File, PointError> {
    lock_of(folder).map_err(|source| PointError::File {
        doing: "opening",
        path: folder.to_owned(),
        source,
    })
}

/// Deletes folders of those that were killed.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_own = entry.file_name().to_str().is_some_and(|name| name.starts_with(OWN));
        if !is_own || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // Held until it is gone, so that whoever has just made it sees that it is.
        let left = lock_of(&entry.path()).ok().filter(|left| left.try_lock().is_ok());
        if let Some(left) = left {
            let _held = until_removed(left);
            // Whatever cannot be deleted is tried again the next time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn the_second_has_a_folder_of_its_own_and_what_the_killed_left_goes() {
        let place = tempfile::tempdir().unwrap();
        let left = place.path().join(format!("{OWN}killed"));
        fs::create_dir(&left).unwrap();
        let first = Waiting::claim(place.path()).unwrap();
        assert!(first.lasts() && !left.exists());
        let second = Waiting::claim(place.path()).unwrap();
        assert!(!second.lasts());
        fs::write(second.folder().join("coming"), "").unwrap();
        drop(first);
        let third = Waiting::claim(place.path()).unwrap();
        assert_eq!(third.folder(), place.path());
        assert!(second.folder().join("coming").exists());
        let was = second.folder().to_owned();
        drop(second);
        assert!(!was.exists());
    }

    #[test]
    fn whoever_sweeps_takes_nobody_s_folder() {
        let place = tempfile::tempdir().unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    sweep(place.path());
                }
            });
            let all: Result<Vec<_>, _> = (0..500).map(|_| Waiting::own(place.path())).collect();
            is_over.store(true, Ordering::Relaxed);
            assert!(all.unwrap().iter().all(|own| own.folder().exists()));
        });
    }
}
