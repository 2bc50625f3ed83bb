use change::MachineError;
use install::{InstallError, PayloadError, RollBackError};

/// The exit codes, documented in docs/exit-codes.md and never given another meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It failed, and nothing was changed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// It failed, and what was changed was taken back.
    RolledBack = 3,
    /// Somebody must decide; the message says what.
    Decision = 4,
    /// The package is damaged; nothing was changed.
    Damaged = 5,
    /// Something is in use or locked.
    InUse = 6,
    /// There is no space; what was changed was taken back.
    NoSpace = 7,
    /// Done, and something stays, which is listed.
    Leftovers = 8,
    /// There was nothing to do.
    Nothing = 9,
    /// Done, and programs that run must restart to see it.
    Restart = 10,
}

impl Exit {
    /// The code that says why installing failed.
    pub fn of_install(error: &InstallError) -> Self {
        match error {
            // Neither done nor taken back: somebody must see to what is in the way.
            InstallError::Stuck { .. } => Self::Decision,
            InstallError::RolledBack { reason, .. } => {
                match Self::of_reason(reason) {
                    // Found while deciding, before anything of the machine was changed.
                    early @ (Self::Decision | Self::Usage | Self::Damaged | Self::NoSpace) => early,
                    _ if is_early(reason) => Self::Failed,
                    _ => Self::RolledBack,
                }
            }
            other => Self::of_reason(other),
        }
    }

    fn of_reason(error: &InstallError) -> Self {
        match error {
            InstallError::Space { .. } => Self::NoSpace,
            InstallError::Machine(error) => Self::of_machine(error),
            InstallError::Transaction(change::TransactionError::Machine(error)) => {
                Self::of_machine(error)
            }
            InstallError::Payload(PayloadError::Read(error)) if error.is_damage() => Self::Damaged,
            InstallError::Variable { .. }
            | InstallError::Fixed { .. }
            | InstallError::Path { .. } => Self::Usage,
            InstallError::InTheWay { .. } | InstallError::Older { .. } => Self::Decision,
            InstallError::Already { .. } => Self::Nothing,
            InstallError::Interrupted => Self::RolledBack,
            _ => Self::Failed,
        }
    }

    fn of_machine(error: &MachineError) -> Self {
        if error.is_no_space() { Self::NoSpace } else { Self::Failed }
    }

    /// The code that says why rolling back failed.
    pub fn of_roll_back(error: &RollBackError) -> Self {
        match error {
            RollBackError::Changed { .. }
            | RollBackError::Later { .. }
            | RollBackError::Inherited { .. }
            | RollBackError::Stuck { .. } => Self::Decision,
            RollBackError::Machine(error) => Self::of_machine(error),
            _ => Self::Failed,
        }
    }
}

/// Whether this is found before the machine is touched.
fn is_early(error: &InstallError) -> bool {
    matches!(
        error,
        InstallError::Account(_)
            | InstallError::Condition { .. }
            | InstallError::NoFileToEdit { .. }
            | InstallError::Edit { .. }
            | InstallError::Receipt(_)
            | InstallError::KeptMissing { .. }
            | InstallError::KeptDamaged { .. }
    )
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
