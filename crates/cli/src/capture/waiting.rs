//! Whether an installer waits for a person: its programs are there, and none of them does anything; and who still
//! runs in a prefix.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

/// Seconds of silence after which we say that somebody seems to be waited for.
const SAY: u32 = 20;
/// Processor time, in ticks of a hundredth, that programs waiting for a person use in a second.
const ASLEEP: u64 = 1;

/// What Wine runs of its own in a prefix, and ends by itself.
const WINES: [&str; 10] = [
    "conhost.exe",
    "explorer.exe",
    "plugplay.exe",
    "rpcss.exe",
    "services.exe",
    "start.exe",
    "svchost.exe",
    "winedevice.exe",
    "wineserver",
    "wineserver64",
];
/// Seconds after which we say whom we wait for.
const TELL: u32 = 3;

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

/// A program that runs in a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    process: u32,
    name: String,
}

impl std::fmt::Display for Running {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "`{}` (process {})", self.name, self.process)
    }
}

/// What [`ends`] waits for at most.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// So many seconds.
    Seconds(u32),
    /// So many seconds in which nothing is done there.
    Quiet(u32),
}

/// Waits until nothing runs in a prefix any more; what still does is answered, Wine's own programs only if there are no others.
pub(super) fn ends(prefix: &Path, patience: Patience) -> io::Result<Option<Vec<Running>>> {
    let mut server = Command::new("wineserver").arg("-w").env("WINEPREFIX", prefix).spawn()?;
    let (mut quiet, mut seconds) = (Quiet::default(), 0);
    while !second_passes(&server)? {
        let silent = quiet.after_a_second(&activity(prefix));
        seconds += 1;
        let ours = [server.id(), std::process::id()];
        let running = || {
            let all = of_prefix(prefix).into_iter().map(|(one, _)| one);
            foreign(all.filter(|one| !ours.contains(&one.process)).collect())
        };
        let is_enough = match patience {
            Patience::Seconds(limit) => seconds >= limit,
            Patience::Quiet(limit) => silent >= limit,
        };
        if is_enough {
            server.kill()?;
            server.wait()?;
            return Ok(Some(running()));
        }
        if seconds == TELL {
            for one in running().iter().filter(|one| !is_wines(one)) {
                eprintln!("waiting for {one}, which runs in `{}`", prefix.display());
            }
        }
    }
    server.wait()?;
    Ok(None)
}

/// Programs that are not Wine's own, or all if there are none.
fn foreign(all: Vec<Running>) -> Vec<Running> {
    let some: Vec<Running> = all.iter().filter(|one| !is_wines(one)).cloned().collect();
    if some.is_empty() { all } else { some }
}

fn is_wines(one: &Running) -> bool {
    WINES.contains(&one.name.as_str())
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

/// Adds up what the programs of the prefix did.
fn activity(prefix: &Path) -> Activity {
    let mut all = Activity::default();
    for (_, folder) in of_prefix(prefix) {
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

/// The programs of a prefix, known by their environment, and what the system says of each.
fn of_prefix(prefix: &Path) -> Vec<(Running, PathBuf)> {
    use std::os::unix::ffi::OsStrExt as _;
    let wanted = [b"WINEPREFIX=", prefix.as_os_str().as_bytes()].concat();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let of_prefix = processes.flatten().filter_map(|process| {
        let folder = process.path();
        let number = process.file_name().to_str()?.parse().ok()?;
        let words = fs::read(folder.join("environ")).ok()?;
        words.split(|&byte| byte == 0).find(|word| *word == wanted)?;
        let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        Some((Running { process: number, name: name.trim_end().to_owned() }, folder))
    });
    of_prefix.collect()
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

    use super::{Activity, Ended, Quiet, Running, foreign, used, wait};

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
    fn wines_own_programs_are_told_of_when_there_are_no_others() {
        let [own, other] =
            ["services.exe", "tray.exe"].map(|name| Running { process: 7, name: name.to_owned() });
        assert_eq!(foreign(vec![own.clone(), other.clone()]), std::slice::from_ref(&other));
        assert_eq!(foreign(vec![own.clone()]), [own]);
        assert_eq!(other.to_string(), "`tray.exe` (process 7)");
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
