//! The Linux machine: looked at, changed, observed. The only crate that knows Linux system calls.
//!
//! - [`LinuxMachine`] is a live system or a root folder, as [`change`] sees machines, [`LinuxFacts`]
//!   what only it knows;
//! - [`scan`] walks a root in path order and tells what every path holds;
//! - [`overlay`] gives an installer a root of its own, and reads what it did from the upper folder;
//! - [`session`] is a capture on disk, which survives being killed and a restart.
//!
//! The last three come with the feature `observe`: an installer has no use for them. Accounts come with `accounts`.

#[cfg(feature = "accounts")]
pub mod account;
mod command;
mod disk;
pub mod locks;
mod machine_facts;
mod meta;
mod resolve;

#[cfg(feature = "observe")]
pub mod facts;
#[cfg(feature = "observe")]
pub mod memory;
#[cfg(feature = "observe")]
pub mod mounts;
#[cfg(feature = "observe")]
pub mod namespaces;
#[cfg(feature = "observe")]
pub mod node;
#[cfg(feature = "observe")]
pub mod overlay;
#[cfg(feature = "observe")]
pub mod owners;
#[cfg(feature = "observe")]
pub mod scan;
#[cfg(feature = "observe")]
pub mod session;
#[cfg(feature = "observe")]
mod sys;
#[cfg(feature = "observe")]
pub mod watch;

pub use disk::LinuxMachine;
pub use machine_facts::LinuxFacts;
