//! Processes, by a number that may be given out again and a time that may not.

use std::{
    os::windows::io::{AsHandle as _, OwnedHandle},
    time::{SystemTime, UNIX_EPOCH},
};

use running::Process;

use super::{Waited, runner};

/// From 1601 to 1970, in hundreds of nanoseconds.
const EPOCH: u64 = 116_444_736_000_000_000;

/// A process whose end is waited for.
pub(crate) type Watched = OwnedHandle;

/// Its end.
pub(crate) fn waited(process: &Watched) -> Waited<'_> {
    process.as_handle()
}

/// This process.
pub(crate) fn own() -> Process {
    Process { pid: std::process::id(), began: machine_windows::own_beginning() }
}

/// For how many seconds a process has been there, by the machine's clock.
pub(crate) fn age(pid: u32) -> Option<u64> {
    let began = machine_windows::began(pid)?.checked_sub(EPOCH)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos() / 100;
    Some(u64::try_from(now).ok()?.saturating_sub(began) / 10_000_000)
}

/// Exactly this process; `None` if it is there no more.
pub(crate) fn open(process: Process) -> Option<Watched> {
    machine_windows::exactly(process.pid, process.began)
}

/// Asks exactly this runner to end what it runs.
pub(crate) fn ask_to_end(runner: Process) -> bool {
    let event = machine_windows::Event::open(&runner::stop_name(runner));
    event.map(|event| event.ring()).is_ok()
}
