//! The agent on a real machine: processes, locks, kills, disks that lie.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod alone;
mod enrolled;
mod history;
mod kills;
mod ledger;
mod others;
mod programs;
mod restarts;
mod room;
mod support;
mod users;
mod work;
