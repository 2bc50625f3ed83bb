//! Where people and programs of this machine ask the agent: one JSON object a line.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
    time::Duration,
};

use running::RunId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::platform::{
    Waited,
    door::{Door, Visitor, knock},
};

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
pub(crate) struct Answer(Visitor);

impl Answer {
    /// Gives it. Whoever went away does not get it.
    pub(crate) fn give(mut self, value: &Value) {
        let _ = writeln!(self.0, "{value}");
    }
}

/// Who listens.
#[derive(Debug)]
pub(crate) struct Control {
    door: Door,
}

impl Control {
    /// Listens there.
    pub(crate) fn listen(path: &Path) -> io::Result<Self> {
        Ok(Self { door: Door::open(path)? })
    }

    /// The next request. One that is none is answered here.
    pub(crate) fn next(&mut self) -> Option<Asked> {
        loop {
            let visitor = self.door.next(PATIENCE)?;
            match read(&visitor) {
                Ok(request) => return Some(Asked { request, answer: Answer(visitor) }),
                Err(why) => Answer(visitor).give(&serde_json::json!({ "refused": why })),
            }
        }
    }

    pub(crate) fn waited(&self) -> Waited<'_> {
        self.door.waited()
    }
}

fn read(visitor: &Visitor) -> Result<Request, String> {
    let mut line = String::new();
    let mut reader = BufReader::new(io::Read::take(visitor, LONGEST));
    reader.read_line(&mut line).map_err(|error| error.to_string())?;
    serde_json::from_str(&line).map_err(|error| format!("this is no request: {error}"))
}

/// Asks the agent that listens there.
pub fn ask(path: &Path, request: &Request) -> io::Result<Value> {
    let mut agent = knock(path, LATE)?;
    writeln!(agent, "{}", serde_json::to_string(request).map_err(io::Error::other)?)?;
    let mut line = String::new();
    BufReader::new(agent).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::other)
}
