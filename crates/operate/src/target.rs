use std::{
    io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use change::{
    Action, Machine, MachineError, Observe, Paths, RecoverError, Recovered, TransactionHeader,
};
use install::Facts;
use model::{PackageName, Time};

use crate::{
    Exit, Held, LocalFacts, LocalMachine, LockError, Waiting, interrupt, lock::lock_all, platform,
};

/// A machine to work on: its locks held, what a crash interrupted ended.
#[derive(Debug)]
pub struct Target {
    /// The machine.
    pub machine: LocalMachine,
    /// Where our state is.
    pub paths: Paths,
    /// What only the machine knows.
    pub facts: LocalFacts,
    /// What had been interrupted, and how it ended.
    pub recovered: Vec<Recovered>,
    _held: Held,
}

/// A machine cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum OpenTargetError {
    /// The root folder cannot be used.
    #[error("{0}")]
    Root(io::Error),
    /// A lock could not be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The machine refused to be looked at.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// What a crash interrupted could not be ended.
    #[error("work that was interrupted could not be ended")]
    Recover(#[from] RecoverError),
}

impl Target {
    /// Opens the machine whose root folder is `root`.
    pub fn open(
        root: &Path,
        wait: bool,
        tell: &mut dyn FnMut(&Waiting),
    ) -> Result<Self, OpenTargetError> {
        interrupt::listen();
        let mut machine = platform::open(root).map_err(OpenTargetError::Root)?;
        let held = lock_all(root, wait, tell)?;
        let paths = install::state_paths(&machine)?;
        let recovered = install::recover(&mut machine as &mut dyn Machine, &paths)?;
        let facts = platform::facts(&machine);
        Ok(Self { machine, paths, facts, recovered, _held: held })
    }

    /// The interrupted roll-back of package `name` that opening the machine brought to its end.
    pub(crate) fn taken_back(&self, name: &PackageName) -> Option<TransactionHeader> {
        self.recovered.iter().find_map(|recovered| match recovered {
            Recovered::TakenBack(header, _) if header.package == *name => Some((**header).clone()),
            _ => None,
        })
    }

    /// Whether anything of ours is on the machine.
    pub fn has_state(&self) -> bool {
        self.machine.look(&self.paths.state).is_ok_and(|found| found.is_some())
    }

    /// What only the machine knows, as the engine asks for it.
    pub fn facts(&self) -> &dyn Facts {
        &self.facts
    }
}

impl OpenTargetError {
    /// The exit code that says why.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Lock(LockError::Taken(_)) => Exit::InUse,
            // What cannot even be looked at was not touched; without rights nothing was begun.
            Self::Recover(RecoverError::Machine(error))
                if !error.is_unsupported()
                    && !matches!(error.action, Action::Look | Action::List | Action::Read) =>
            {
                Exit::Decision
            }
            Self::Recover(_) | Self::Root(_) | Self::Lock(_) | Self::Machine(_) => Exit::Failed,
        }
    }
}

/// Now, by the machine's clock.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}
