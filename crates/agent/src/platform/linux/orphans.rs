//! What a program left running whose runner was killed: nobody waits for it, limits it or tells its end, so it goes too. A service
//! manager does the same.

use std::fs;

use running::Process;
use rustix::process::{Pid, Signal, kill_process};

use super::process;
use crate::attempt::Attempt;

/// Who is killed is gone after so many looks, or hangs in the kernel and cannot go.
const LOOKS: u32 = 500;
/// Between two looks.
const BREATH: std::time::Duration = std::time::Duration::from_millis(10);

/// Ends everything that is left of an attempt whose runner is no more.
pub(crate) fn end(attempt: &Attempt, runner: Process) {
    for _ in 0..LOOKS {
        let left = left(attempt, runner);
        if left.is_empty() {
            break;
        }
        for pid in left.into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::park_timeout(BREATH);
    }
    if let Some(group) = attempt.group() {
        let _ = fs::remove_dir(group);
    }
}

/// Processes in the attempt's control group, and those of the session its runner began.
fn left(attempt: &Attempt, runner: Process) -> Vec<u32> {
    let group = attempt.group().map(|group| group.join("cgroup.procs"));
    let inside = group.and_then(|members| fs::read_to_string(members).ok()).unwrap_or_default();
    let mut left: Vec<u32> = inside.lines().filter_map(|line| line.parse().ok()).collect();
    // A number is not given out again as long as a session has it; a process that has it now and began later is another.
    if process::began(runner.pid).is_none_or(|began| began == runner.began) {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let all = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        left.extend(all.filter(|pid| process::session(*pid) == Some(runner.pid)));
    }
    left
}
