//! What one attempt has on disk (docs/formats/run-journal.md, 4): a folder with what is to be run, the permit to begin, the word that
//! it began, and the word how it ended.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use minicbor::{Decode, Encode};
use model::Hash;
use running::{Began, RunId};

use crate::{
    durable,
    platform::{files, locks},
};

/// Room kept from the start for the word of the end, in bytes: the word without output, and what a folder grows by.
const ROOM: usize = 8 << 10;

/// The folder of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    folder: PathBuf,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Work {
    /// The program and its arguments, exactly.
    #[n(0)]
    pub command: Vec<String>,
    /// Variables of its environment; it has no others.
    #[n(1)]
    pub environment: Vec<(String, String)>,
    /// It is stopped after so many seconds, with all it started.
    #[n(2)]
    pub limit: Option<u32>,
    /// Seconds it has to end by itself when it is to be stopped.
    #[n(3)]
    pub grace: u32,
    /// Where it runs.
    #[n(4)]
    pub folder: String,
    /// Who it is; who we are, where unsaid.
    #[n(5)]
    pub account: Option<RunAccount>,
}

/// An account a program runs on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct RunAccount {
    /// Its number.
    #[n(0)]
    pub number: u32,
    /// Its first group.
    #[n(1)]
    pub group: u32,
    /// All its groups.
    #[n(2)]
    pub groups: Vec<u32>,
}

/// The word an attempt leaves of its end.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Ending {
    /// How the first process ended.
    #[n(0)]
    pub first: Exit,
    /// Those of its descendants, ended after it, that failed: their command names and ends, at most eight.
    #[n(1)]
    pub later: Vec<(String, Exit)>,
    /// Why it was stopped, if it was.
    #[n(2)]
    pub stopped: Option<Stop>,
    /// What it wrote: the beginning and the end.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub output: Vec<u8>,
    /// How many processes the kernel killed because memory had run out.
    #[n(4)]
    pub out_of_memory: u64,
    /// How long it took, in milliseconds.
    #[n(5)]
    pub took: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Exit {
    /// With this code.
    #[n(0)]
    Code(#[n(0)] i32),
    /// By this signal.
    #[n(1)]
    Signal(#[n(0)] i32),
    /// It never was one: the program could not be started.
    #[n(2)]
    NotStarted(#[n(0)] i32),
}

/// Why a program was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Stop {
    /// Its time was over.
    #[n(0)]
    Limit,
    /// Somebody asked the agent, who left word.
    #[n(1)]
    Asked(#[n(0)] String),
    /// Somebody else asked its runner: the machine goes down, most likely.
    #[n(2)]
    GoingDown,
}

/// What became of a permit.
#[derive(Debug)]
pub enum Claim {
    /// It is ours; the lock says that we live.
    Begun(File),
    /// It was taken back, or there never was one.
    Refused,
}

impl Attempt {
    /// The folder of attempt `number` of `run` below `runs`.
    pub fn new(runs: &Path, run: &RunId, number: u32) -> Self {
        // A name of a user may hold anything; a hash of it does not.
        let user = run.user.as_ref().map(|user| Hash::of(user.as_bytes()).to_string());
        let user = user.map(|user| format!(".u{}", &user[..12])).unwrap_or_default();
        let removal = if run.removal { ".away" } else { "" };
        let name = format!("{}{removal}{user}.{}.{number}", run.deployment, run.occurrence);
        Self { folder: runs.join(name) }
    }

    /// The folder at a path.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A short name no other attempt of this machine has.
    pub fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes the folder, with what is to be run, room for the word of its end, and the permit. All are durable before this
    /// returns.
    pub fn permit(&self, work: &Work) -> io::Result<()> {
        fs::create_dir(&self.folder)?;
        let bytes = minicbor::to_vec(work).unwrap_or_default();
        durable::write(&self.path("work"), &bytes)?;
        durable::write(&self.path("room"), &[0x55; ROOM])?;
        durable::write(&self.path("permit"), b"")?;
        durable::sync_folder(self.folder.parent().unwrap_or(Path::new("/")))
    }

    /// What is to be run.
    pub fn work(&self) -> io::Result<Work> {
        let bytes = fs::read(self.path("work"))?;
        minicbor::decode(&bytes).map_err(io::Error::other)
    }

    /// Takes the permit, which only one can, and leaves word that it began. The word is durable before this returns.
    pub fn claim(&self, began: Began) -> io::Result<Claim> {
        use io::Write as _;
        let permit = self.path("permit");
        let mut file = match files::private().write(true).open(&permit) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Claim::Refused),
            Err(error) => return Err(error),
        };
        if !locks::take(&file) {
            return Ok(Claim::Refused);
        }
        file.write_all(&minicbor::to_vec(began).unwrap_or_default())?;
        file.sync_all()?;
        match files::rename(&permit, &self.path("began")) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Claim::Refused),
            Err(error) => return Err(error),
        }
        durable::sync_folder(&self.folder)?;
        Ok(Claim::Begun(file))
    }

    /// Takes the permit back. Afterwards it has begun, or never will.
    pub fn take_back(&self) -> io::Result<()> {
        match files::rename(&self.path("permit"), &self.path("taken-back")) {
            Ok(()) => durable::sync_folder(&self.folder),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Leaves word of the end.
    pub fn leave_word(&self, ending: &Ending) -> io::Result<()> {
        durable::write(&self.path("ending"), &minicbor::to_vec(ending).unwrap_or_default())
    }

    /// When and as which process it began.
    pub fn began(&self) -> io::Result<Option<Began>> {
        let bytes = durable::read(&self.path("began"))?;
        bytes.map(|bytes| minicbor::decode(&bytes).map_err(io::Error::other)).transpose()
    }

    /// How it ended.
    pub fn ending(&self) -> io::Result<Option<Ending>> {
        let bytes = durable::read(&self.path("ending"))?;
        bytes.map(|bytes| minicbor::decode(&bytes).map_err(io::Error::other)).transpose()
    }

    /// Whether the process that began lives: it holds the lock on the word that it did.
    pub fn is_alive(&self) -> bool {
        let Ok(file) = File::open(self.path("began")) else { return false };
        locks::is_taken(&file)
    }

    /// Notes the control group of what is run: should its runner be killed, the rest is found there.
    pub fn put_group(&self, folder: &Path) -> io::Result<()> {
        fs::write(self.path("group"), files::bytes(folder))
    }

    /// The control group of what is run.
    pub fn group(&self) -> Option<PathBuf> {
        let bytes = fs::read(self.path("group")).ok().filter(|bytes| !bytes.is_empty())?;
        Some(files::path(bytes))
    }

    /// Says why it is about to be stopped.
    pub fn say_why(&self, why: &str) -> io::Result<()> {
        durable::write(&self.path("stop"), why.as_bytes())
    }

    /// Why it is to be stopped, if the agent left word.
    pub fn why(&self) -> Option<String> {
        fs::read_to_string(self.path("stop")).ok()
    }

    /// Where what it writes goes at once: the beginning only.
    pub fn output(&self) -> PathBuf {
        self.path("output")
    }

    /// There is no room for the word of its end with what it wrote: that is forgotten, and the room kept for it is given back.
    pub fn make_room(&self) -> io::Result<()> {
        // Cut, and not removed: it may be open, and would keep its room.
        for path in [self.output(), self.path("room")] {
            match OpenOptions::new().write(true).open(path) {
                Ok(file) => file.set_len(0)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes the folder: first out of sight, then what is in it.
    pub fn remove(&self) -> io::Result<()> {
        let mut name = self.folder.file_name().unwrap_or_default().to_owned();
        name.push(".gone");
        let gone = self.folder.with_file_name(name);
        match fs::rename(&self.folder, &gone) {
            Ok(()) => fs::remove_dir_all(&gone),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}
