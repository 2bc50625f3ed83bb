//! Windows: the agent is a service, beside each program is a process that holds its job, and everything that is waited for is a handle.
//!
//! The site is called and distribution points are read by processes of their own here too, over two pipes without a name; they are on
//! the account of the service, without its privileges and at low integrity, and end with it.

pub(crate) mod accounts;
pub(crate) mod caller;
pub(crate) mod clock;
pub(crate) mod door;
mod event;
pub(crate) mod files;
pub(crate) mod inventory;
pub(crate) mod launch;
pub(crate) mod locks;
pub(crate) mod machine;
mod notify;
pub(crate) mod orphans;
pub(crate) mod others;
pub(crate) mod process;
pub(crate) mod restart;
pub(crate) mod runner;
pub(crate) mod service;
pub(crate) mod sessions;
mod signals;
mod tighten;
mod timer;
mod waiting;
mod watch;

pub(crate) use event::Event;
pub(crate) use machine_windows::rest;
pub(crate) use notify::Manager;
pub(crate) use signals::Signals;
pub(crate) use tighten::{OURS_TO_WRITE, PRIVATE, tighten};
pub(crate) use timer::Timer;
pub(crate) use waiting::{Waited, first};
pub(crate) use watch::Watch;
