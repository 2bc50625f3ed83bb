//! Where people and programs of this machine ask the agent: a named pipe, for administrators and the machine itself.

use std::{
    io,
    os::windows::io::AsHandle as _,
    path::{Path, PathBuf},
    time::Duration,
};

use machine_windows::{Pipe, PipeServer};
use model::Hash;

use super::{Waited, machine};

/// The pipe of the agent of this machine.
const PIPE: &str = r"\\.\pipe\packhorse-agent";

/// Where the agent with that state folder is asked: agents with other folders than the usual have other pipes.
pub(crate) fn place(folder: &Path) -> PathBuf {
    if folder == machine::usual_state() {
        return PIPE.into();
    }
    let name = folder.to_string_lossy().to_lowercase();
    let name = Hash::of(name.as_bytes()).to_string();
    format!("{PIPE}-{}", &name[..12]).into()
}

/// Who knocks, and whom he speaks with.
pub(crate) type Visitor = Pipe;

/// The pipe.
#[derive(Debug)]
pub(crate) struct Door(PipeServer);

impl Door {
    /// Listens.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        PipeServer::listen(path).map(Self)
    }

    /// Who knocked, if somebody did; he is waited for that long with every word.
    pub(crate) fn next(&mut self, patience: Duration) -> Option<Visitor> {
        self.0.next(patience).ok().flatten()
    }

    pub(crate) fn waited(&self) -> Waited<'_> {
        self.0.as_handle()
    }
}

/// Knocks where an agent listens.
pub(crate) fn knock(path: &Path, patience: Duration) -> io::Result<Visitor> {
    Pipe::open(path, patience)
}

/// What to try who was not let in.
pub(crate) const REFUSED: &str = "; only an administrator may ask it: start the console as one";
