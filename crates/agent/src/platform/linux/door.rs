//! Where people and programs of this machine ask the agent: a socket in its own folder.

use std::{
    fs, io,
    os::{
        fd::AsFd as _,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use super::Waited;

/// Where the agent with that state folder is asked.
pub(crate) fn place(folder: &Path) -> PathBuf {
    folder.join("socket")
}

/// Who knocks, and whom he speaks with.
pub(crate) type Visitor = UnixStream;

/// The socket.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
}

impl Door {
    /// Listens. Only one agent does: whatever is there was left by one that is no more.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    /// Who knocked, if somebody did; he is waited for that long with every word.
    pub(crate) fn next(&mut self, patience: Duration) -> Option<Visitor> {
        let (stream, _) = self.listener.accept().ok()?;
        // One who cannot be waited for with bounds is not waited for.
        let is_bounded = stream.set_nonblocking(false).is_ok()
            && stream.set_read_timeout(Some(patience)).is_ok()
            && stream.set_write_timeout(Some(patience)).is_ok();
        if is_bounded { Some(stream) } else { self.next(patience) }
    }

    pub(crate) fn waited(&self) -> Waited<'_> {
        self.listener.as_fd()
    }
}

/// Knocks where an agent listens.
pub(crate) fn knock(path: &Path, patience: Duration) -> io::Result<Visitor> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

/// What to try who was not let in.
pub(crate) const REFUSED: &str = "; only root may ask it";
