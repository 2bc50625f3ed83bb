//! The machine we run on, or a root folder: Linux.

use std::{io, path::Path};

use change::Observe;
use model::MachinePath;

pub use machine_linux::{LinuxFacts as LocalFacts, LinuxMachine as LocalMachine};

pub(crate) fn open(root: &Path) -> io::Result<LocalMachine> {
    LocalMachine::new(root)
}

pub(crate) fn facts(machine: &LocalMachine) -> LocalFacts {
    LocalFacts::of(machine)
}

/// A mark others left that the machine should restart: theirs, and no word about this package.
pub(crate) fn foreign_restart(machine: &LocalMachine) -> Option<String> {
    const MARK: &str = "/run/reboot-required";
    let found = machine.look(&MachinePath::new(MARK).ok()?).ok()??;
    Some(format!("others asked for a restart before (`{MARK}`, a {})", found.node.word()))
}

/// Whether something that was in use gives way only when the machine restarts.
pub(crate) fn needs_restart(_: &LocalMachine) -> bool {
    false
}

pub(crate) fn is_administrator() -> bool {
    rustix::process::geteuid().is_root()
}
