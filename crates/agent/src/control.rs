//! Where people and programs of this machine ask the agent: a socket in its own folder, one JSON object a line.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    time::Duration,
};

use running::RunId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whoever asks and then says nothing is not waited for longer than this.
const PATIENCE: Duration = Duration::from_millis(500);
/// An agent that does not answer by then is stuck.
const LATE: Duration = Duration::from_secs(30);
/// A request is no longer than this, in bytes.
const LONGEST: u64 = 64 << 10;

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "ask")]
pub enum Request {
    /// Everything about the agent.
    Status,
    /// Messages that wait to be delivered.
    Messages,
    /// To ask the site now.
    CheckIn,
    /// To try a run again.
    Again {
        /// Which.
        run: RunId,
    },
    /// To take a run for done.
    Accept {
        /// Which.
        run: RunId,
    },
    /// To give a run up.
    GiveUp {
        /// Which.
        run: RunId,
    },
    /// To stop a run, with all it started.
    Stop {
        /// Which.
        run: RunId,
    },
}

/// Somebody asked.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) answer: Answer,
}

/// Where the answer goes.
pub(crate) struct Answer(UnixStream);

impl Answer {
    /// Gives it. Whoever went away does not get it.
    pub(crate) fn give(mut self, value: &Value) {
        let _ = writeln!(self.0, "{value}");
    }
}

/// The socket.
#[derive(Debug)]
pub(crate) struct Control {
    listener: UnixListener,
}

impl Control {
    /// Listens. Only one agent does: whatever is there was left by one that is no more.
    pub(crate) fn listen(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    /// The next request. One that is none is answered here.
    pub(crate) fn next(&self) -> Option<Asked> {
        loop {
            let (stream, _) = self.listener.accept().ok()?;
            match read(&stream) {
                Ok(request) => return Some(Asked { request, answer: Answer(stream) }),
                Err(why) => Answer(stream).give(&serde_json::json!({ "refused": why })),
            }
        }
    }
}

fn read(stream: &UnixStream) -> Result<Request, String> {
    let text = |error: io::Error| error.to_string();
    stream.set_nonblocking(false).map_err(text)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(text)?;
    let mut line = String::new();
    let mut reader = BufReader::new(io::Read::take(stream, LONGEST));
    reader.read_line(&mut line).map_err(text)?;
    serde_json::from_str(&line).map_err(|error| format!("this is no request: {error}"))
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Asks the agent at a socket.
pub fn ask(path: &Path, request: &Request) -> io::Result<Value> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(LATE))?;
    stream.set_write_timeout(Some(LATE))?;
    writeln!(stream, "{}", serde_json::to_string(request).map_err(io::Error::other)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::other)
}
