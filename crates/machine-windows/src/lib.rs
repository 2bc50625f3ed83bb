//! The Windows machine: looked at, changed. The only crate that knows the Win32 interface.
//!
//! - [`WindowsMachine`] is the machine we run on, as [`change`] sees machines: files by paths of any length, the
//!   registry by the one true place of each key, services by the service control manager;
//! - [`WindowsFacts`] is what only it knows;
//! - [`walk_registry`] sees every key and value of its registry once;
//! - an [`OwnService`] is a program of ours that is a service; a [`Job`] is what such a one runs, with all it starts; [`Event`]s,
//!   [`Timer`]s, [`Pipe`]s and [`Folder`]s are what it waits for.
//! - `session` captures it, by two looks at a drive and at the registry; that comes with the feature `observe`: an installer
//!   has no use for it.
//!
//! **Promise:** a rename is on disk when it answers (`MOVEFILE_WRITE_THROUGH`); what `sync` was asked for is on disk
//! when it answers, by flushing the volume, or, without the right to, each file that was written.

#![cfg(windows)]

mod announcing;
mod closing;
mod command;
mod disk;
mod facts;
mod failures;
mod file;
mod handles;
mod hives;
mod inventory;
mod jobs;
mod locks;
mod logons;
mod mutexes;
mod names;
mod pipes;
mod processes;
mod registry;
mod restarting;
mod rights;
#[cfg(feature = "observe")]
mod scan;
mod security;
mod services;
mod serving;
#[cfg(feature = "observe")]
pub mod session;
mod streams;
mod tasks;
mod times;
mod waiting;
mod walk;
mod watching;

pub use disk::WindowsMachine;
pub use facts::{WindowsFacts, is_wine, mend_environment};
pub use inventory::{all_services, installed_programs};
#[cfg(feature = "observe")]
pub use jobs::run_all;
pub use jobs::{Job, JobEvent, Member, end_job};
pub use locks::lock;
pub use logons::{Logon, logon, wait_for_logon};
pub use mutexes::{INSTALLER, is_held, wait_until_free};
pub use names::host;
pub use pipes::{Pipe, PipeServer};
pub use processes::{ask_to_end, began, detached, exactly, name, own_beginning, rest};
pub use restarting::{call_off_restart, restart_after};
pub use rights::give_up_rights;
pub use security::make_private;
pub use serving::{OwnService, Wanted, ready, say_into, serve, stopping};
pub use times::{random, since_start, this_start};
pub use waiting::{Event, Timer, first, is_there};
pub use walk::{Unread, WalkedKey, walk_registry};
pub use watching::{Folder, rename};
