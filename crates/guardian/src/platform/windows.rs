//! Windows: what is waited for is a handle. The agent has a pipe of ours and reads what never comes: it ends when that is closed,
//! and so with us.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    os::windows::{io::AsHandle as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use machine_windows::{Folder, Timer, Wanted, first, is_there};

use crate::watch::Woken;

/// `CREATE_NO_WINDOW`: its console is seen by nobody.
const NO_WINDOW: u32 = 0x0800_0000;
/// The first argument where the service manager starts us.
const AS_SERVICE: &str = "--as-service";
/// By what name it knows us.
const SERVICE: &str = "packhorse-agent";

pub(crate) use machine_windows::{ready, rename};

/// Names are on disk once they are given.
#[expect(clippy::unnecessary_wraps, reason = "as where a folder is written like a file")]
pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The program of the version that is current: a file has its name.
pub(crate) fn program(home: &Path) -> io::Result<PathBuf> {
    let current = fs::read_to_string(home.join("current"))?;
    Ok(home.join("versions").join(current.trim()).join("packhorse-agent.exe"))
}

/// What becomes the current version when it is renamed.
pub(crate) fn make_current(beside: &Path, name: &str) -> io::Result<()> {
    let mut file = fs::File::create(beside)?;
    file.write_all(name.as_bytes())?;
    file.sync_all()
}

/// Does the work of this program, as a service if the service manager asks.
pub(crate) fn perform(first: &OsStr) -> io::Result<bool> {
    machine_windows::mend_environment();
    if first != AS_SERVICE {
        Wanted::of_process()?.listen_to_console();
        return Ok(crate::work());
    }
    machine_windows::serve(SERVICE, || u32::from(!crate::work()))?;
    Ok(true)
}

/// The agent, as a process.
pub(crate) struct Agent(Child);

impl Agent {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::null()).creation_flags(NO_WINDOW);
        command.spawn().map(Self)
    }

    /// Ends it: it is asked, and after that time ended.
    pub(crate) fn end(&mut self, grace: Duration) -> io::Result<()> {
        drop(self.0.stdin.take());
        let _ = is_there(self.0.as_handle(), grace);
        let _ = self.0.kill();
        self.ended()
    }

    /// It has ended.
    pub(crate) fn ended(&mut self) -> io::Result<()> {
        self.0.wait().map(drop)
    }
}

/// All that is waited for but the agent.
pub(crate) struct Waits {
    timer: Timer,
    folder: Folder,
    wanted: &'static Wanted,
}

impl Waits {
    pub(crate) fn new(home: &Path) -> io::Result<Self> {
        let wanted = Wanted::of_process()?;
        Ok(Self { timer: Timer::new()?, folder: Folder::watch(home)?, wanted })
    }

    pub(crate) fn sleep(&mut self, agent: Option<&Agent>) -> io::Result<Woken> {
        loop {
            let mut watched =
                vec![self.wanted.end(), self.timer.as_handle(), self.folder.as_handle()];
            watched.extend(agent.map(|agent| agent.0.as_handle()));
            let ready = first(&watched)?;
            let is_ready = |index: usize| ready.get(index).is_some_and(|ready| *ready);
            if is_ready(0) {
                machine_windows::stopping();
                return Ok(Woken::Asked);
            }
            // What it left counts before that it ended.
            if is_ready(2) {
                self.folder.clear();
                return Ok(Woken::Folder);
            }
            if is_ready(3) {
                return Ok(Woken::Ended);
            }
            if is_ready(1) {
                self.timer.set(None);
                return Ok(Woken::Time);
            }
        }
    }

    /// When it is woken if nothing else happens; never, for `None`.
    pub(crate) fn set(&self, after: Option<Duration>) {
        self.timer.set(after);
    }
}
