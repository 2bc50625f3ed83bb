//! Processes, by a number that may be given out again and a time that may not.

use std::{
    fs,
    os::fd::{AsFd as _, OwnedFd},
};

use running::Process;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Waited;

/// A process whose end is waited for.
pub(crate) type Watched = OwnedFd;

/// Its end.
pub(crate) fn waited(process: &Watched) -> Waited<'_> {
    process.as_fd()
}

/// This process.
pub(crate) fn own() -> Process {
    let pid = std::process::id();
    Process { pid, began: began(pid).unwrap_or(0) }
}

/// When a process began, in ticks since the machine started: `proc_pid_stat(5)`, field 22.
pub(crate) fn began(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// The session of a process that has not ended: `proc_pid_stat(5)`, fields 3 and 6.
pub(crate) fn session(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    let has_ended = matches!(words.next()?, "Z" | "X");
    words.nth(2)?.parse().ok().filter(|_| !has_ended)
}

/// For how many seconds a process has been there.
pub(crate) fn age(pid: u32) -> Option<u64> {
    let ticks = rustix::param::clock_ticks_per_second();
    let began = began(pid)? * 1000 / ticks.max(1);
    Some(crate::clock::steady().saturating_sub(began) / 1000)
}

/// A descriptor of exactly this process, readable once it ended; `None` if it is there no more.
pub(crate) fn open(process: Process) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
    let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // Opened first and compared then: it cannot have become another one in between.
    (began(process.pid) == Some(process.began)).then_some(descriptor)
}

/// Asks exactly this process to end.
pub(crate) fn ask_to_end(process: Process) -> bool {
    open(process).is_some_and(|descriptor| pidfd_send_signal(&descriptor, Signal::TERM).is_ok())
}
