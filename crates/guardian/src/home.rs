use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use model::Hash;
use running::{Edition, Proof, Upgrade, Verdict};

use crate::platform::{make_current, program, rename, sync_folder};

/// Where the versions of the agent are.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    folder: PathBuf,
}

impl Home {
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The program that is started.
    pub(crate) fn program(&self) -> io::Result<PathBuf> {
        program(&self.folder)
    }

    /// How far an upgrade has come. What cannot be read is none: what is current is whole, and runs.
    pub(crate) fn upgrade(&self) -> Option<Upgrade> {
        minicbor::decode(&fs::read(self.folder.join("upgrade")).ok()?).ok()
    }

    pub(crate) fn keep(&self, upgrade: Option<&Upgrade>) -> io::Result<()> {
        let path = self.folder.join("upgrade");
        match upgrade {
            Some(upgrade) => write(&path, &minicbor::to_vec(upgrade).unwrap_or_default()),
            None => remove(&path),
        }
    }

    /// What is started from now on: what says so is renamed into its place, so that there always is one.
    pub(crate) fn flip(&self, edition: &Edition) -> io::Result<()> {
        let beside = self.folder.join("current.new");
        remove(&beside)?;
        make_current(&beside, &edition.name)?;
        rename(&beside, &self.folder.join("current"))?;
        sync_folder(&self.folder)
    }

    /// A program of this digest is not taken again.
    pub(crate) fn condemn(&self, digest: &Hash) -> io::Result<()> {
        let folder = self.folder.join("condemned");
        fs::create_dir_all(&folder)?;
        write(&folder.join(digest.to_string()), b"")
    }

    /// A word for the agent, which tells the site and removes it.
    pub(crate) fn tell(&self, verdict: &Verdict) -> io::Result<()> {
        write(&self.folder.join("verdict"), &minicbor::to_vec(verdict).unwrap_or_default())
    }

    /// What the agent that runs has shown of itself; nothing of an earlier one counts.
    pub(crate) fn proof(&self) -> Option<Proof> {
        minicbor::decode(&fs::read(self.folder.join("alive")).ok()?).ok()
    }

    /// Before a start: what the one before showed is not taken for its.
    pub(crate) fn forget_proof(&self) -> io::Result<()> {
        remove(&self.folder.join("alive"))
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // What is still open may have no other name.
    drop(file);
    rename(&beside, path)?;
    sync(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync(path: &Path) -> io::Result<()> {
    sync_folder(path.parent().unwrap_or(Path::new("/")))
}
