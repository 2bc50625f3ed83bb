//! One operation on one machine, from its locks to its exit code: what the `packhorse` command and an
//! installer have in common.
//!
//! - a [`Target`] is a root folder whose locks are held and whose interrupted work has been ended;
//! - a [`Report`] is what came of an operation, for people, for scripts, and as an [`Exit`] code.

mod ahead;
mod exit;
mod in_use;
mod interrupt;
mod lock;
mod log;
mod operation;
mod report;
mod show;
mod target;

pub use exit::Exit;
pub use in_use::{InUse, in_use};
pub use lock::{Held, LockError, Waiting};
pub use log::Log;
pub use operation::{
    InstallSettings, install_package, list_packages, recover_machine, roll_back_package,
    uninstall_package, verify_package,
};
pub use report::{Listed, Report};
pub use show::Show;
pub use target::{OpenTargetError, Target};
