//! Whether an installer waits for a person: its programs are there, and none of them does anything.

use std::{
    fs, io,
    path::Path,
    process::{Child, ExitStatus},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

/// Seconds of silence after which we say that somebody seems to be waited for.
const SAY: u32 = 20;
/// Processor time, in ticks of a hundredth, that programs waiting for a person use in a second.
const ASLEEP: u64 = 1;

/// How an installer ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    /// By itself.
    By(ExitStatus),
    /// It did nothing for so many seconds, and nobody was to be waited for.
    Idle(u32),
}

/// Waits for an installer in a Wine prefix; `say` is called once when it seems to wait for a person. With `limit`, it
/// is given up after so many seconds of doing nothing; it still runs then.
pub(super) fn wait(
    child: &mut Child,
    prefix: &Path,
    limit: Option<u32>,
    mut say: impl FnMut(u32),
) -> io::Result<Ended> {
    let mut quiet = Quiet::default();
    loop {
        if second_passes(child)? {
            return Ok(Ended::By(child.wait()?));
        }
        let seconds = quiet.after_a_second(&activity(prefix));
        if seconds == SAY {
            say(seconds);
        }
        if limit.is_some_and(|limit| seconds >= limit) {
            return Ok(Ended::Idle(seconds));
        }
    }
}

/// Waits a second, or until the program ends, and says whether it did.
fn second_passes(child: &Child) -> io::Result<bool> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    let mut ends = [PollFd::new(&process, PollFlags::IN)];
    match poll(&mut ends, Some(&second)) {
        Err(rustix::io::Errno::INTR) => Ok(false),
        ended => Ok(ended? > 0),
    }
}

/// What the programs of a prefix did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Activity {
    /// Processor time, in ticks.
    ticks: u64,
    /// Bytes they wrote.
    written: u64,
    /// Somebody stopped one of them from outside: their silence says nothing.
    is_stopped: bool,
}

/// For how many seconds nothing happened.
#[derive(Clone, Copy, Debug, Default)]
struct Quiet {
    last: Activity,
    seconds: u32,
}

impl Quiet {
    fn after_a_second(&mut self, now: &Activity) -> u32 {
        let is_quiet = now.ticks <= self.last.ticks + ASLEEP && now.written == self.last.written;
        if !now.is_stopped {
            self.seconds = if is_quiet { self.seconds + 1 } else { 0 };
        }
        self.last = *now;
        self.seconds
    }
}

/// Adds up what the programs of the prefix did; they are known by their environment.
fn activity(prefix: &Path) -> Activity {
    use std::os::unix::ffi::OsStrExt as _;
    let wanted = [b"WINEPREFIX=", prefix.as_os_str().as_bytes()].concat();
    let mut all = Activity::default();
    let Ok(processes) = fs::read_dir("/proc") else { return all };
    for process in processes.flatten() {
        let folder = process.path();
        let is_of_prefix = fs::read(folder.join("environ"))
            .is_ok_and(|words| words.split(|&byte| byte == 0).any(|word| word == wanted));
        if !is_of_prefix {
            continue;
        }
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let (ticks, is_stopped) = used(&read("stat")).unwrap_or_default();
        all.ticks += ticks;
        all.is_stopped |= is_stopped;
        let io = read("io");
        let written = io.lines().find_map(|line| line.strip_prefix("wchar: "));
        all.written += written.and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or(0);
    }
    all
}

/// The processor time of a line of `/proc/PID/stat`, and whether the process is stopped.
fn used(stat: &str) -> Option<(u64, bool)> {
    // The name before may hold anything, brackets too.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let state = words.next()?;
    let mut times = words.skip(10);
    let (user, system) = (times.next()?.parse::<u64>().ok()?, times.next()?.parse::<u64>().ok()?);
    Some((user + system, matches!(state, "T" | "t")))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Activity, Ended, Quiet, used, wait};

    #[test]
    fn seconds_without_work_add_up_and_work_ends_them() {
        let mut quiet = Quiet::default();
        let busy = |ticks, written| Activity { ticks, written, is_stopped: false };
        assert_eq!(quiet.after_a_second(&busy(50, 9)), 0);
        assert_eq!(quiet.after_a_second(&busy(50, 9)), 1);
        assert_eq!(quiet.after_a_second(&busy(51, 9)), 2);
        // Whoever is stopped from outside waits for nobody.
        assert_eq!(quiet.after_a_second(&Activity { is_stopped: true, ..busy(51, 9) }), 2);
        assert_eq!(quiet.after_a_second(&busy(51, 10)), 0);
        assert_eq!(quiet.after_a_second(&busy(99, 10)), 0);
    }

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a) b) T 1 7 7 0 -1 4194560 121 0 0 0 3 4 0 0 20 0 1 0 100 0 0";
        assert_eq!(used(stat), Some((7, true)));
        assert_eq!(used("7 (setup"), None);
    }

    #[test]
    fn a_program_that_reads_from_nobody_is_given_up() {
        let prefix = tempfile::tempdir().unwrap();
        let mut child = Command::new("cat")
            .env("WINEPREFIX", prefix.path())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let ended = wait(&mut child, prefix.path(), Some(2), |_| {}).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(ended, Ended::Idle(2)), "{ended:?}");
        let mut child = Command::new("true").spawn().unwrap();
        let ended = wait(&mut child, prefix.path(), Some(2), |_| {}).unwrap();
        assert!(matches!(ended, Ended::By(status) if status.success()), "{ended:?}");
    }
}
