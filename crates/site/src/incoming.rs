//! What arrives and is not whole yet: in the spool, by package and release, named by hash.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use content::{Index, Object};
use model::{Hash, PackageName};
use store::PointError;
use tokio::sync::watch;

use crate::{SiteError, folder::write_durably, master::Master};

/// The site's unfinished objects.
#[derive(Debug)]
pub(crate) struct Incoming {
    root: PathBuf,
    grown: watch::Sender<u64>,
}

/// An object on its way, written from front to back.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    pub(crate) length: u64,
}

impl Incoming {
    /// Below a folder.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, grown: watch::Sender::new(0) }
    }

    /// Where what belongs to a release on its way is.
    pub(crate) fn folder(&self, name: &PackageName, identity: Hash) -> PathBuf {
        self.root.join(name.as_str()).join(identity.to_string())
    }

    /// Where an object is as long as it is not whole.
    pub(crate) fn path(&self, name: &PackageName, identity: Hash, object: Hash) -> PathBuf {
        self.folder(name, identity).join(object.to_string())
    }

    /// Says that there is more than before, to whoever passes it on.
    pub(crate) fn grew(&self) {
        self.grown.send_modify(|count| *count += 1);
    }

    /// Says the same for what comes from elsewhere.
    pub(crate) fn grown(&self) -> watch::Sender<u64> {
        self.grown.clone()
    }

    /// Sees whenever there is more.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    /// Keeps what a release consists of.
    pub(crate) fn put_release(
        &self,
        name: &PackageName,
        identity: Hash,
        index: &Index,
    ) -> Result<(), SiteError> {
        let folder = self.folder(name, identity);
        std::fs::create_dir_all(&folder).map_err(SiteError::file("making", &folder))?;
        write_durably(&folder.join("release"), &index.to_bytes(), 0o644)?;
        self.grew();
        Ok(())
    }

    /// What a release on its way consists of.
    pub(crate) fn release(&self, name: &PackageName, identity: Hash) -> Option<Index> {
        let bytes = std::fs::read(self.folder(name, identity).join("release")).ok()?;
        Index::parse(&bytes).ok()
    }

    /// An object's file, with room for all of it.
    pub(crate) fn open(
        &self,
        name: &PackageName,
        identity: Hash,
        object: &Object,
    ) -> std::io::Result<Partial> {
        let path = self.path(name, identity, object.hash);
        let file =
            OpenOptions::new().create(true).truncate(false).append(true).read(true).open(&path)?;
        // One worker at a time: one that lost its lease and does not know it yet must not write any more.
        if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(std::io::ErrorKind::ResourceBusy.into());
        }
        let length = file.metadata()?.len();
        let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&file, flags, 0, object.length.max(1)) {
            // Not every file system can promise room.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        let mut partial = Partial { file, path, length };
        if length > object.length {
            partial.start_over()?;
        }
        Ok(partial)
    }

    /// Nothing of the package is on its way any more.
    pub(crate) fn forget(&self, name: &PackageName) {
        // What cannot be taken away now is with the next start.
        let _ = std::fs::remove_dir_all(self.root.join(name.as_str()));
    }

    /// Takes away what `is_needed` does not name.
    pub(crate) fn sweep(&self, is_needed: impl Fn(&PackageName, Hash) -> bool) {
        for (path, name) in entries(&self.root) {
            let Ok(name) = PackageName::new(&name) else { continue };
            for (path, identity) in entries(&path) {
                if !identity.parse().is_ok_and(|identity| is_needed(&name, identity)) {
                    let _ = std::fs::remove_dir_all(path);
                }
            }
            // Only an empty one goes.
            let _ = std::fs::remove_dir(path);
        }
    }
}

fn entries(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned())).collect()
}

impl Partial {
    /// Takes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// What came so far survives a power cut.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    /// What came was not it.
    pub(crate) fn start_over(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.length = 0;
        Ok(())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// It is whole and sound: it becomes part of the store, in one step.
    pub(crate) fn adopt(&self, master: &Master, object: &Object) -> Result<(), PointError> {
        self.file.sync_all().map_err(|source| PointError::File {
            doing: "writing",
            path: self.path.clone(),
            source,
        })?;
        master.adopt(&self.path, object)
    }
}
