//! Which processes of a site are running: a file each, locked as long as its process lives.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    path::PathBuf,
};

use rustix::fs::FlockOperation;

use crate::{Folder, SiteError, chance};

/// One process, until it ends.
#[derive(Debug)]
pub(crate) struct Process {
    path: PathBuf,
    _lock: File,
}

impl Process {
    /// Says that this process listens at `address`.
    pub(crate) fn register(folder: &Folder, address: &str) -> Result<Self, SiteError> {
        let all = folder.processes();
        std::fs::create_dir_all(&all).map_err(SiteError::file("making", &all))?;
        let path = all.join(chance::hex(&chance::random::<8>()?));
        let write = || -> std::io::Result<File> {
            let mut file = OpenOptions::new().create_new(true).write(true).open(&path)?;
            // Whoever looks whether its process lives holds it for a moment: waited for.
            rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
            file.write_all(address.as_bytes())?;
            Ok(file)
        };
        let lock = write().map_err(SiteError::file("writing", &path))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where those that live listen. What the dead left behind is taken away.
    pub(crate) fn addresses(folder: &Folder) -> Vec<String> {
        let entries = std::fs::read_dir(folder.processes()).into_iter().flatten();
        entries.filter_map(Result::ok).filter_map(|entry| living(&entry.path())).collect()
    }
}

fn living(path: &std::path::Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut address = String::new();
            file.read_to_string(&mut address).ok()?;
            (!address.is_empty()).then_some(address)
        }
        Ok(()) => {
            // One that is about to be locked is empty still; it stays.
            if file.metadata().is_ok_and(|data| data.len() > 0) {
                let _ = std::fs::remove_file(path);
            }
            None
        }
        Err(_) => None,
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn those_that_look_who_is_there_are_in_nobody_s_way() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path());
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    Process::addresses(&folder);
                }
            });
            let all: Result<Vec<_>, _> =
                (0..500).map(|_| Process::register(&folder, "127.0.0.1:1")).collect();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(all.unwrap().len(), 500);
        });
        assert!(Process::addresses(&folder).is_empty());
    }
}
