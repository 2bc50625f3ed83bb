//! How a runner is started so that it outlives us: Windows ends nobody with who started him, and the runner is in no job of ours.

use std::{ffi::OsStr, io, path::PathBuf};

use crate::attempt::Attempt;

/// What a process is run from where it cannot be found out.
pub(crate) const OWN: &str = "packhorse-agent.exe";

/// Who looks after runners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// Nobody: each looks after itself.
    Nobody,
}

impl Keeper {
    /// Who does on this machine.
    pub fn here() -> Self {
        Self::Nobody
    }

    /// Has the runner of an attempt started. That it began shows in its folder, not here.
    pub fn launch(self, attempt: &Attempt) -> io::Result<()> {
        detach(attempt)
    }
}

/// The file we run from.
pub(crate) fn own_name() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// Starts the runner of an attempt.
pub(crate) fn detach(attempt: &Attempt) -> io::Result<()> {
    let program = std::env::current_exe()?;
    machine_windows::detached(&program, [OsStr::new("__runner"), attempt.folder().as_os_str()])
}
