//! Where an agent keeps what it must not lose.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::platform::{PRIVATE, door, files, machine, tighten};

/// The state folder of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFolder {
    folder: PathBuf,
}

impl StateFolder {
    /// Where it is, unless somebody says otherwise.
    pub const PLACE: &str = machine::STATE;

    /// The folder at a path.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Makes it where it is missing. Nobody else reads it or writes there; what had been otherwise is told.
    pub fn make(&self) -> io::Result<Vec<String>> {
        let second = self.folder.join("second");
        for folder in [self.folder.clone(), self.runs(), self.line(), second] {
            files::make_private(&folder)?;
        }
        // Attempts, and what is in them.
        tighten(&self.folder, PRIVATE, 3)
    }

    /// Itself.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Both copies of the history of runs.
    pub fn history(&self) -> [PathBuf; 2] {
        [self.folder.join("history"), self.folder.join("second/history")]
    }

    /// Both copies of who this client is.
    pub fn identity(&self) -> [PathBuf; 2] {
        [self.folder.join("identity"), self.folder.join("second/identity")]
    }

    /// The policy document in force.
    pub fn policy(&self) -> PathBuf {
        self.folder.join("policy")
    }

    /// Deployments as documents named them.
    pub fn memory(&self) -> PathBuf {
        self.folder.join("memory")
    }

    /// What attempts have on disk.
    pub fn runs(&self) -> PathBuf {
        self.folder.join("runs")
    }

    /// What the site is called with.
    pub fn line(&self) -> PathBuf {
        self.folder.join("line")
    }

    /// This client's certificate and its key, in PEM.
    pub fn credentials(&self) -> PathBuf {
        self.line().join("own.pem")
    }

    /// A file that is replaced when there is news.
    pub fn news(&self) -> PathBuf {
        self.line().join("news")
    }

    /// The inventory as the site knows it.
    pub fn inventory(&self) -> PathBuf {
        self.folder.join("inventory")
    }

    /// Where people and programs ask the agent.
    pub fn socket(&self) -> PathBuf {
        door::place(&self.folder)
    }
}
