//! The Linux machine: looked at, changed, observed. The only crate that knows Linux system calls.
//!
//! - [`LinuxMachine`] is a live system or a root folder, as [`change`] sees machines.

mod command;
mod disk;
mod facts;
mod meta;
mod resolve;

pub use disk::LinuxMachine;
pub use facts::LinuxFacts;
