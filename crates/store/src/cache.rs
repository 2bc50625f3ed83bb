//! A client's own folder: parts of manifests it goes back to, and what has come so far of what it fetches.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use content::Object;

use crate::PointError;

/// A client's cache: nothing in it is believed, all of it may go at any time.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    limit: u64,
}

impl Cache {
    /// The folder a machine's cache is in, below its root.
    pub const FOLDER: &str = "var/cache/packhorse";
    /// What it holds at most between fetches, in bytes, unless somebody says otherwise.
    pub const LIMIT: u64 = 256 << 20;

    /// A cache in `folder`, made if it is not there, of at most `limit` bytes when nobody is fetching.
    pub fn open(folder: &Path, limit: u64) -> Result<Self, PointError> {
        let cannot = |source| PointError::File { doing: "making", path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(cannot)?;
        Ok(Self { folder: folder.to_owned(), limit })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a part of a manifest is kept.
    pub(crate) fn part(&self, object: &Object) -> PathBuf {
        self.folder.join(format!("{}.manifest", object.hash))
    }

    /// Writes a file whole or not at all.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let beside = tempfile::NamedTempFile::new_in(&self.folder)?;
        fs::write(beside.path(), bytes)?;
        beside.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Takes the oldest away until the limit is kept; says how many bytes went.
    pub fn trim(&self) -> io::Result<u64> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push((modified, entry.path(), metadata.len()));
            }
        }
        files.sort();
        let mut held: u64 = files.iter().map(|(.., length)| length).sum();
        let mut gone = 0;
        for (_, path, length) in files {
            if held <= self.limit {
                break;
            }
            fs::remove_file(path)?;
            held -= length;
            gone += length;
        }
        Ok(gone)
    }
}
