//! The machine we run on: Windows.

use std::{io, path::Path};

pub use machine_windows::{WindowsFacts as LocalFacts, WindowsMachine as LocalMachine};

pub(crate) fn open(root: &Path) -> io::Result<LocalMachine> {
    if root != Path::new("/") {
        let what = "on Windows only the machine itself is a root: leave `--root` out";
        return Err(io::Error::new(io::ErrorKind::Unsupported, what));
    }
    Ok(LocalMachine::new())
}

pub(crate) fn facts(_: &LocalMachine) -> LocalFacts {
    LocalFacts
}

/// Others leave no mark here.
pub(crate) fn foreign_restart(_: &LocalMachine) -> Option<String> {
    None
}

/// Whether something that was in use gives way only when the machine restarts.
pub(crate) fn needs_restart(machine: &LocalMachine) -> bool {
    machine.needs_restart()
}

/// Refused rights are always worth that word.
pub(crate) fn is_administrator() -> bool {
    false
}
