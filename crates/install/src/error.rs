use change::{Damaged, MachineError, RecoverError, TransactionError};
use model::{MachinePath, Version};

use crate::{EvaluateError, PayloadError, ReadReceiptError, UnknownAccount};

/// A package could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The machine refused.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The transaction could not go on.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// Our own working file does not read back.
    #[error(transparent)]
    Journal(#[from] Damaged),
    /// A receipt could not be read.
    #[error(transparent)]
    Receipt(#[from] ReadReceiptError),
    /// The package could not be read.
    #[error(transparent)]
    Payload(PayloadError),
    /// A name stands for no account.
    #[error(transparent)]
    Account(#[from] UnknownAccount),
    /// A condition has no answer.
    #[error("the condition of step {step} has no answer")]
    Condition {
        /// Which step, from 1.
        step: usize,
        /// Why.
        #[source]
        reason: EvaluateError,
    },
    /// A variable has no value.
    #[error("variable `{name}` has no value: give it one with `--set {name}=VALUE`")]
    Variable {
        /// Its name.
        name: String,
    },
    /// A variable got a value its payload cannot follow.
    #[error("variable `{name}` must stay `{value}`: {why}")]
    Fixed {
        /// Its name.
        name: String,
        /// Its only value.
        value: String,
        /// Why.
        why: String,
    },
    /// A path made of variables is none.
    #[error("`{text}` makes no path: {reason}")]
    Path {
        /// What the script says.
        text: String,
        /// Why.
        reason: String,
    },
    /// A library of Windows did not register itself.
    #[error("{sentence}; `optional = true` lets an installation go on without it")]
    Library {
        /// Which, what it is, and why.
        sentence: String,
    },
    /// Something only Windows machines have, and the engine was built for others.
    #[error("{what} is for Windows machines alone")]
    OnlyOnWindows {
        /// What the package has.
        what: String,
    },
    /// Something of another kind is where the package wants something.
    #[error(
        "a {found} is at `{path}`, where the package has a {wanted}: move it away, or choose another place"
    )]
    InTheWay {
        /// Where.
        path: MachinePath,
        /// What is there.
        found: &'static str,
        /// What the package has.
        wanted: &'static str,
    },
    /// A file that a step edits is missing.
    #[error("there is no file `{path}` to edit: add `create = true` to the step if it may be made")]
    NoFileToEdit {
        /// Where.
        path: MachinePath,
    },
    /// What a step edits is not in the file.
    #[error("`{path}` does not hold what the step changes")]
    NothingToEdit {
        /// Where.
        path: MachinePath,
    },
    /// An edit means nothing.
    #[error("`{path}` cannot be edited so")]
    Edit {
        /// Where.
        path: MachinePath,
        /// Why.
        #[source]
        reason: change::edit::InvalidEdit,
    },
    /// What a package replaced is no longer kept.
    #[error("what was at `{path}` before is no longer kept, so it cannot come back")]
    KeptMissing {
        /// Where it was.
        path: MachinePath,
    },
    /// What a package replaced was damaged where it is kept.
    #[error(
        "what was at `{path}` before is damaged: `{kept}` does not have the content it was kept with"
    )]
    KeptDamaged {
        /// Where it was.
        path: MachinePath,
        /// Where it is kept.
        kept: MachinePath,
    },
    /// A trigger this version does not know.
    #[error("this version knows no trigger `{name}`")]
    Trigger {
        /// Its name.
        name: String,
    },
    /// A service step names a unit no folder of systemd has.
    #[error("there is no unit `{unit}` to enable")]
    NoUnit {
        /// The unit.
        unit: String,
    },
    /// Something that was there a moment ago is not.
    #[error("`{path}` changed while the package was being installed")]
    Vanished {
        /// Where.
        path: MachinePath,
    },
    /// The package is for other machines.
    #[error("the package is for {wanted}, this machine is {found}")]
    Architecture {
        /// What the package is for.
        wanted: String,
        /// What this is.
        found: String,
    },
    /// The machine is not what the program `install` requires.
    #[error("this machine does not meet the package's requirements")]
    Requirement,
    /// A newer version is installed.
    #[error(
        "{name} {installed} is installed, which is newer than {offered}: add `--downgrade` to go back to the older"
    )]
    Older {
        /// The package.
        name: String,
        /// What is installed.
        installed: Version,
        /// What is offered.
        offered: Version,
    },
    /// This version is installed.
    #[error("{name} {version} is installed already: add `--again` to install it once more")]
    Already {
        /// The package.
        name: String,
        /// Its version.
        version: Version,
    },
    /// There is not enough space.
    #[error(
        "`{path}` has {free} bytes free, and {needed} are needed ({payload} for the package, {kept} for what it replaces)"
    )]
    Space {
        /// A path on the file system.
        path: MachinePath,
        /// Bytes free.
        free: u64,
        /// Bytes needed.
        needed: u64,
        /// Of those, for new content.
        payload: u64,
        /// Of those, for kept copies and records.
        kept: u64,
    },
    /// Somebody wanted it to end before it was done.
    #[error("it was interrupted")]
    Interrupted,
    /// It failed, and was taken back.
    #[error("{reason}; everything was taken back")]
    RolledBack {
        /// Why it failed.
        #[source]
        reason: Box<InstallError>,
        /// What could not be taken back.
        notes: Vec<String>,
    },
    /// It failed, and could not be taken back yet.
    #[error("{reason}; taking it back failed too and goes on with `packhorse recover`: {why}")]
    Stuck {
        /// Why it failed.
        #[source]
        reason: Box<InstallError>,
        /// Why it was not taken back.
        why: RecoverError,
    },
}
