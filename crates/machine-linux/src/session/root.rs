//! A Linux root as sessions see machines.

use std::{
    ffi::{CString, OsStr},
    fs::File,
    io::{self, Read},
    os::{fd::AsFd as _, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use ::session::{Reference, ScanError, Session, Sink, Skip};
use capture::{Facts, Names, Node};
use model::{Content, Hash, MachinePath, Time};

use super::overlay::skips;
use crate::{
    mounts::Mounts,
    node::{self, Attributes, read_node},
    owners::read_names,
    scan::{Place, Scan, open_file_below},
};

/// A folder that is a machine's `/`.
#[derive(Clone, Debug)]
pub struct Root(pub PathBuf);

impl Root {
    pub(super) fn of(session: &Session) -> Self {
        Self(session.beginning().root.clone())
    }
}

impl Reference for Root {
    fn root(&self) -> &Path {
        &self.0
    }

    fn host_name(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    fn passed_over(&self) -> io::Result<Vec<Skip>> {
        Ok(skips(&Mounts::below(&self.0)?))
    }

    fn scan(&self, own: &[PathBuf], sink: Sink<'_>) -> Result<Vec<Skip>, ScanError> {
        let scan =
            Scan::of(&self.0).map_err(|reason| ScanError::Root { root: self.0.clone(), reason })?;
        let scan = own.iter().fold(scan, |scan, folder| scan.without(folder));
        scan.run(&mut |record, place| sink(record, place))
    }

    fn look(&self, path: &MachinePath) -> io::Result<Node> {
        look(&self.0, path.relative())
    }

    fn open(&self, path: &MachinePath) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(open_file_below(&self.0, path)?))
    }

    fn hash(&self, path: &MachinePath, content: &Content) -> io::Result<Option<Hash>> {
        node::hash(&open_file_below(&self.0, path)?, content)
    }

    fn names(&self) -> io::Result<Names> {
        read_names(&self.0)
    }

    fn facts(&self, host_name: &str) -> Facts {
        crate::facts::read_facts(&self.0, host_name)
    }

    fn settings_folder(&self) -> Option<MachinePath> {
        MachinePath::new("/etc").ok()
    }

    fn clock(&self, folder: &Path) -> io::Result<Time> {
        use std::os::unix::fs::MetadataExt as _;
        let probe = folder.join("clock");
        std::fs::write(&probe, b"now")?;
        let found = probe.metadata()?;
        std::fs::remove_file(&probe)?;
        Ok(Time {
            seconds: found.ctime(),
            nanoseconds: u32::try_from(found.ctime_nsec()).unwrap_or(0),
        })
    }
}

impl ::session::Place for Place<'_> {
    fn open(&self) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(node::open_file(self.folder, self.name)?))
    }

    fn hash(&self, content: &Content) -> io::Result<Option<Hash>> {
        node::hash(&node::open_file(self.folder, self.name)?, content)
    }
}

/// What is at a path below a folder.
pub(super) fn look(folder: &Path, below: &[u8]) -> io::Result<Node> {
    let at =
        if below.is_empty() { folder.to_owned() } else { folder.join(OsStr::from_bytes(below)) };
    let (folder, name) = match (at.parent(), at.file_name()) {
        (Some(folder), Some(name)) => (folder, CString::new(name.as_bytes())?),
        _ => (at.as_path(), CString::default()),
    };
    Ok(read_node(File::open(folder)?.as_fd(), &name, Attributes::Plain)?.0)
}
