//! The Windows machine: looked at, changed. The only crate that knows the Win32 interface.
//!
//! - [`WindowsMachine`] is the machine we run on, as [`change`] sees machines: files by paths of any length, the
//!   registry by the one true place of each key, services by the service control manager;
//! - [`WindowsFacts`] is what only it knows;
//! - [`walk_registry`] sees every key and value of its registry once;
//! - `session` captures it, by two looks at a drive and at the registry; that comes with the feature `observe`: an installer
//!   has no use for it.
//!
//! **Promise:** a rename is on disk when it answers (`MOVEFILE_WRITE_THROUGH`); what `sync` was asked for is on disk
//! when it answers, by flushing the volume, or, without the right to, each file that was written.

#![cfg(windows)]

mod command;
mod disk;
mod facts;
mod failures;
mod file;
mod hives;
#[cfg(feature = "observe")]
pub mod job;
mod names;
#[cfg(feature = "observe")]
mod private;
mod registry;
#[cfg(feature = "observe")]
mod scan;
mod services;
#[cfg(feature = "observe")]
pub mod session;
mod streams;
mod tasks;
mod walk;

pub use disk::WindowsMachine;
pub use facts::{WindowsFacts, is_wine};
pub use walk::{Unread, WalkedKey, walk_registry};
