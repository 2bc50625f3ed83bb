//! Who reads distribution points behind URLs: names are looked up, connections made, answers taken apart by a process without rights.
//! What it hands on is checked here.

use std::{
    collections::HashMap,
    io,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use store::{Listed, OpenPointError, Point, PointError, Reader, Trouble};

use super::{Caller, Stream, receive, send};
use crate::{
    nearest::{Distance, measured, ordered},
    platform::caller::enter,
};

/// So many of what is listed are told at once.
const LISTED: usize = 1000;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
enum Ask {
    /// How far these are.
    Measure(Vec<String>),
    /// Something of the point there.
    Read(String, What),
}

#[derive(Debug, Serialize, Deserialize)]
enum What {
    Small(String, Option<u64>),
    Part { path: String, range: Range<u64>, whole: bool },
    List(String),
    Length(String),
}

impl What {
    fn path(&self) -> &str {
        match self {
            Self::Small(path, _)
            | Self::Part { path, .. }
            | Self::List(path)
            | Self::Length(path) => path,
        }
    }
}

/// What is told; after some of it there is more.
#[derive(Debug, Serialize, Deserialize)]
enum Told {
    /// Its bytes, of which there are more.
    Piece,
    /// The path, the length, when it was written; there are more.
    Listed(Vec<(String, u64, i64)>),
    /// That was all.
    Done,
    /// Whether something small is there; it is the bytes.
    Small(bool),
    Length(Option<u64>),
    Measured(Vec<Distance>),
    Failed(Trouble),
}

/// Reads for who started this process, until that one goes.
pub(crate) fn read_for_others() -> io::Result<()> {
    let stream = enter(c"packhorse-fetch")?;
    let mut points = HashMap::new();
    while let Some((ask, _)) = receive(&stream)? {
        match ask {
            Ask::Measure(points) => send(&stream, &Told::Measured(measured(&points)), b"")?,
            Ask::Read(location, what) => {
                let told = match open(&mut points, location) {
                    Ok(point) => read(point, what, &stream)?,
                    Err(trouble) => (Told::Failed(trouble), Vec::new()),
                };
                send(&stream, &told.0, &told.1)?;
            }
        }
    }
    Ok(())
}

fn open(points: &mut HashMap<String, Point>, location: String) -> Result<&Point, Trouble> {
    if !points.contains_key(&location) {
        let silent = |error: OpenPointError| Trouble::Silent(model::with_causes(&error));
        let point = Point::open(&location, std::env::vars()).map_err(silent)?;
        points.insert(location.clone(), point);
    }
    points.get(&location).ok_or(Trouble::Missing)
}

/// The last word, after all others were said.
fn read(point: &Point, what: What, to: &Stream) -> io::Result<(Told, Vec<u8>)> {
    let alone = |told| (told, Vec::new());
    let answer = match what {
        What::Small(path, most) => {
            let read = match most {
                Some(most) => point.read_limited(&path, most),
                None => point.read_small(&path),
            };
            read.map(|read| (Told::Small(read.is_some()), read.unwrap_or_default()))
        }
        What::Part { path, range, whole } => {
            let mut broken = None;
            let read = point.read_part(&path, range, whole, &mut |piece| {
                let sent = send(to, &Told::Piece, piece);
                sent.map_err(|error| {
                    broken = Some(error);
                    PointError::Missing { path: path.clone() }
                })
            });
            if let Some(error) = broken {
                return Err(error);
            }
            read.map(|()| alone(Told::Done))
        }
        What::List(folder) => match point.list(&folder) {
            Ok(all) => {
                for some in all.chunks(LISTED) {
                    let some = some.iter().map(|one| (one.path.clone(), one.length, one.modified));
                    send(to, &Told::Listed(some.collect()), b"")?;
                }
                Ok(alone(Told::Done))
            }
            Err(error) => Err(error),
        },
        What::Length(path) => point.length(&path).map(|length| alone(Told::Length(length))),
    };
    Ok(answer.unwrap_or_else(|error| alone(Told::Failed(Trouble::of(&error)))))
}

/// Distribution points behind URLs, read by others; as many of them as read at once.
#[derive(Clone, Debug)]
pub(crate) struct Content(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    environment: Vec<(String, String)>,
    idle: Mutex<Vec<Caller>>,
}

impl Content {
    /// `environment` says how points are reached: accounts, proxies, authorities.
    pub(crate) fn new(environment: Vec<(String, String)>) -> Self {
        Self(Arc::new(Shared { environment, idle: Mutex::default() }))
    }

    /// The point at a URL.
    pub(crate) fn point(&self, location: &str) -> Result<Point, OpenPointError> {
        Point::read_by(Box::new(Remote { content: self.clone(), location: location.to_owned() }))
    }

    /// Points in the order in which they are to be asked, the nearest first.
    pub(crate) fn nearest(&self, points: &[String]) -> Vec<(String, Distance)> {
        let mut distances = vec![Distance::Unknown; points.len()];
        if points.len() > 1 {
            // Who cannot be measured keeps his place.
            let _ = self.ask(&Ask::Measure(points.to_vec()), &mut |told, _| {
                if let Told::Measured(all) = told
                    && all.len() == points.len()
                {
                    distances = all;
                }
                Ok(true)
            });
        }
        ordered(points, &distances)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Caller>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks; `take` says when nothing more is to come. Who is not heard to the end is not asked again.
    fn ask(
        &self,
        ask: &Ask,
        take: &mut dyn FnMut(Told, Vec<u8>) -> io::Result<bool>,
    ) -> io::Result<()> {
        let idle = self.idle().pop();
        let caller = match idle {
            Some(caller) => caller,
            None => Caller::start("__content", &self.0.environment)?,
        };
        send(&caller.stream, ask, b"")?;
        loop {
            let (told, bytes) = receive(&caller.stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if take(told, bytes)? {
                self.idle().push(caller);
                return Ok(());
            }
        }
    }
}

#[derive(Debug)]
struct Remote {
    content: Content,
    location: String,
}

impl Remote {
    /// Asks for something of this point; `take` gets all but the end and what went wrong.
    fn ask(
        &self,
        doing: &'static str,
        what: What,
        take: &mut dyn FnMut(Told, Vec<u8>) -> Result<bool, PointError>,
    ) -> Result<(), PointError> {
        let path = what.path().to_owned();
        let mut stopped = None;
        let ask = Ask::Read(self.location.clone(), what);
        let asked = self.content.ask(&ask, &mut |told, bytes| {
            let taken = match told {
                Told::Failed(trouble) => {
                    // It was heard to the end all the same.
                    stopped = Some(trouble.into_error(doing, &path));
                    return Ok(true);
                }
                told => take(told, bytes),
            };
            taken.map_err(|error| {
                stopped = Some(error);
                io::Error::other("stopped")
            })
        });
        match (stopped, asked) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => Ok(()),
            (None, Err(error)) => {
                let text = format!("the part of the agent that reads it: {error}");
                Err(Trouble::Silent(text).into_error(doing, &path))
            }
        }
    }

    fn unasked(&self, path: &str) -> PointError {
        let text = format!("what reads `{}` answers what nobody asked", self.location);
        Trouble::Silent(text).into_error("reading", path)
    }
}

impl Reader for Remote {
    fn read_small(&self, path: &str, most: Option<u64>) -> Result<Option<Vec<u8>>, PointError> {
        let mut read = None;
        let what = What::Small(path.to_owned(), most);
        self.ask("reading", what, &mut |told, mut bytes| {
            let Told::Small(is_there) = told else { return Err(self.unasked(path)) };
            let most = most.and_then(|most| usize::try_from(most).ok());
            bytes.truncate(most.map_or(usize::MAX, |most| most.saturating_add(1)));
            read = is_there.then_some(bytes);
            Ok(true)
        })?;
        Ok(read)
    }

    fn read_part(
        &self,
        path: &str,
        range: Range<u64>,
        whole: bool,
        take: &mut dyn FnMut(&[u8]) -> Result<(), PointError>,
    ) -> Result<(), PointError> {
        let what = What::Part { path: path.to_owned(), range, whole };
        self.ask("reading", what, &mut |told, bytes| match told {
            Told::Piece => take(&bytes).map(|()| false),
            Told::Done => Ok(true),
            _ => Err(self.unasked(path)),
        })
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, PointError> {
        let mut all = Vec::new();
        self.ask("listing", What::List(folder.to_owned()), &mut |told, _| match told {
            Told::Listed(some) => {
                let some = some.into_iter();
                all.extend(some.map(|(path, length, modified)| Listed { path, length, modified }));
                Ok(false)
            }
            Told::Done => Ok(true),
            _ => Err(self.unasked(folder)),
        })?;
        Ok(all)
    }

    fn length(&self, path: &str) -> Result<Option<u64>, PointError> {
        let mut length = None;
        self.ask("looking at", What::Length(path.to_owned()), &mut |told, _| {
            let Told::Length(told) = told else { return Err(self.unasked(path)) };
            length = told;
            Ok(true)
        })?;
        Ok(length)
    }
}
