//! The agent as a service.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use clap::{Args, Subcommand};
use machine_windows::{OwnService, Wanted};
use operate::Exit;

use super::{machine, tighten};
use crate::{
    command::{complain, print, run_as_said},
    state::StateFolder,
};

/// By what name it is started: `net start packhorse-agent`.
const NAME: &str = "packhorse-agent";
/// Who watches over it, in its home.
const GUARDIAN: &str = "packhorse-guardian.exe";
/// What it says goes there, below its state folder; a long one is begun anew.
const LOG: &str = "log";
const LONG: u64 = 1 << 20;

/// What becomes of the service.
#[derive(Subcommand)]
pub(crate) enum Service {
    /// Set it up: it starts with the machine. This program is the one that is started; by the guardian, where this is a version in
    /// its home, `HOME\versions\NAME\packhorse-agent.exe` beside `HOME\packhorse-guardian.exe`.
    Install(Install),
    /// End it and take it away. What it knows stays in its state folder.
    Remove,
}

/// How it is set up.
#[derive(Args)]
pub(crate) struct Install {
    /// Where the agent keeps what it must not lose.
    #[arg(long, value_name = "DIR", default_value = StateFolder::PLACE, value_parser = machine::place)]
    state: std::path::PathBuf,
}

impl Service {
    /// Does it.
    pub(crate) fn perform(&self) -> ExitCode {
        let (done, text) = match self {
            Self::Install(install) => {
                (install.perform(), "the service is set up: `net start packhorse-agent` starts it")
            }
            Self::Remove => (service("").remove(), "the service is no more"),
        };
        match done {
            Ok(()) => {
                print(&format!("{text}\n"));
                Exit::Done.into()
            }
            Err(error) => {
                complain(&error);
                Exit::Failed.into()
            }
        }
    }
}

impl Install {
    fn perform(&self) -> io::Result<()> {
        let program = std::env::current_exe()?;
        let mut line = match guarded(&program) {
            Some((home, name)) => {
                let current = home.join("current");
                if !current.exists() {
                    fs::write(&current, name)?;
                }
                let guardian = home.join(GUARDIAN);
                format!("\"{}\" --as-service \"{}\" run", guardian.display(), home.display())
            }
            None => format!("\"{}\" run --as-service", program.display()),
        };
        if self.state != machine::usual_state() {
            let state = std::path::absolute(&self.state)?;
            line += &format!(" --state \"{}\"", state.display());
        }
        service(&line).install()
    }
}

/// The guardian's home in which a program is a version, and the version's name; nothing, where none is at home.
fn guarded(program: &Path) -> Option<(PathBuf, String)> {
    let version = program.parent()?;
    let versions = version.parent().filter(|folder| folder.ends_with("versions"))?;
    let home = versions.parent()?.to_owned();
    let name = version.file_name()?.to_string_lossy().into_owned();
    home.join(GUARDIAN).exists().then_some((home, name))
}

fn service(command_line: &str) -> OwnService<'_> {
    OwnService {
        name: NAME,
        display: "Packhorse agent",
        description: "Runs on this machine what is deployed to it, once, and says what happened.",
        command_line,
    }
}

/// Is the service, until the service manager says otherwise.
pub(crate) fn serve(state: &Path) -> ExitCode {
    // Where nobody reads, it is written down.
    if let Err(error) = log(state) {
        complain(&error);
    }
    match machine_windows::serve(NAME, || run_as_said().into()) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            complain(&error);
            Exit::Usage.into()
        }
    }
}

/// Somebody watches over this process: it ends when the pipe is closed that he holds, and so with him; what it says is written
/// down.
pub(crate) fn be_watched(state: &Path) {
    if let Err(error) = log(state) {
        complain(&error);
    }
    thread::spawn(|| {
        let mut block = [0; 16];
        while io::stdin().read(&mut block).is_ok_and(|read| read > 0) {}
        if let Ok(wanted) = Wanted::of_process() {
            wanted.wish_end();
        }
    });
}

fn log(state: &Path) -> io::Result<()> {
    std::fs::create_dir_all(state)?;
    tighten(state, super::PRIVATE, 0)?;
    let path = state.join(LOG);
    let is_long = std::fs::metadata(&path).is_ok_and(|data| data.len() > LONG);
    let mut options = OpenOptions::new();
    options.create(true).write(true).append(!is_long).truncate(is_long);
    machine_windows::say_into(options.open(path)?)
}
