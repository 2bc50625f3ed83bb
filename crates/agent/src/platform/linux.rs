//! Linux: one process beside each program, in a unit of its own where systemd runs; everything that is waited for is a descriptor.

pub(crate) mod accounts;
pub(crate) mod caller;
mod cgroup;
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
mod package_kit;
pub(crate) mod process;
mod rest;
pub(crate) mod restart;
pub(crate) mod runner;
mod services;
pub(crate) mod sessions;
mod signals;
mod tighten;
mod timer;
mod tree;
mod waiting;
mod watch;

pub(crate) use event::Event;
pub(crate) use notify::Manager;
pub(crate) use rest::rest;
pub(crate) use signals::Signals;
pub(crate) use tighten::{OURS_TO_WRITE, PRIVATE, tighten};
pub(crate) use timer::Timer;
pub(crate) use waiting::{Waited, first};
pub(crate) use watch::Watch;
