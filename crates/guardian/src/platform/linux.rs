//! Linux: what is waited for is a descriptor; the agent is asked to end by a signal, and ends with us.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::{fs::symlink, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

use crate::watch::Woken;

/// Gives a file its name, in place of what had it.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Names of this folder are on disk when it returns.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The program of the version that is current: a link leads to it.
#[expect(clippy::unnecessary_wraps, reason = "as where it is read from a file")]
pub(crate) fn program(home: &Path) -> io::Result<PathBuf> {
    Ok(home.join("current/packhorse-agent"))
}

/// What becomes the current version when it is renamed.
pub(crate) fn make_current(beside: &Path, name: &str) -> io::Result<()> {
    symlink(Path::new("versions").join(name), beside)
}

/// Does the work of this program.
#[expect(clippy::unnecessary_wraps, reason = "as where the service manager may not answer")]
pub(crate) fn perform(_: &OsStr) -> io::Result<bool> {
    Ok(crate::work())
}

/// We are at work.
pub(crate) fn ready() {}

/// The agent, as a process.
pub(crate) struct Agent {
    child: Child,
    descriptor: OwnedFd,
}

impl Agent {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        die_with_us(command);
        let child = command.spawn()?;
        let pid = Pid::from_raw(child.id().cast_signed()).ok_or(io::ErrorKind::NotFound)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { child, descriptor })
    }

    /// Ends it: it is asked, and after that time ended.
    pub(crate) fn end(&mut self, grace: Duration) -> io::Result<()> {
        let _ = pidfd_send_signal(&self.descriptor, Signal::TERM);
        let mut watched = [PollFd::new(&self.descriptor, PollFlags::IN)];
        let seconds = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        let _ = poll(&mut watched, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 }));
        let _ = self.child.kill();
        self.ended()
    }

    /// It has ended.
    pub(crate) fn ended(&mut self) -> io::Result<()> {
        self.child.wait().map(drop)
    }
}

/// All that is waited for but the agent.
pub(crate) struct Waits {
    timer: OwnedFd,
    folder: OwnedFd,
    signals: File,
}

impl Waits {
    pub(crate) fn new(home: &Path) -> io::Result<Self> {
        let signals = signals()?;
        let folder = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        inotify::add_watch(&folder, home, inotify::WatchFlags::MOVED_TO)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Self { timer, folder, signals })
    }

    pub(crate) fn sleep(&mut self, agent: Option<&Agent>) -> io::Result<Woken> {
        loop {
            let mut watched = vec![
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::new(&self.timer, PollFlags::IN),
                PollFd::new(&self.folder, PollFlags::IN),
            ];
            watched.extend(agent.map(|agent| PollFd::new(&agent.descriptor, PollFlags::IN)));
            match poll(&mut watched, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let is_ready =
                |index: usize| watched.get(index).is_some_and(|one| !one.revents().is_empty());
            let (asked, time, folder, ended) = (is_ready(0), is_ready(1), is_ready(2), is_ready(3));
            let mut block = [0; 4096];
            if asked && self.signals.read(&mut block).is_ok() {
                return Ok(Woken::Asked);
            }
            // What it left counts before that it ended.
            if folder {
                let _ = rustix::io::read(&self.folder, &mut block);
                return Ok(Woken::Folder);
            }
            if ended {
                return Ok(Woken::Ended);
            }
            if time && rustix::io::read(&self.timer, &mut block).is_ok() {
                return Ok(Woken::Time);
            }
        }
    }

    /// When it is woken if nothing else happens; never, for `None`.
    pub(crate) fn set(&self, after: Option<Duration>) {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = after.map_or(zero, |after| Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(after.subsec_nanos()).max(1),
        });
        let value = Itimerspec { it_interval: zero, it_value: value };
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &value);
    }
}

/// An agent whose guardian was killed must not be in the way of the next one's.
#[expect(unsafe_code, reason = "what is done between fork and exec is unsafe in std")]
fn die_with_us(command: &mut Command) {
    // SAFETY: between fork and exec one system call is made, and nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into)
        });
    }
}

/// The signals that ask for an end, to be read: signalfd(2).
#[expect(unsafe_code, reason = "neither std nor rustix has signalfd")]
fn signals() -> io::Result<File> {
    // SAFETY: the set is plain data that lives on this stack; the descriptor is new, and ours alone.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGTERM, libc::SIGINT] {
            libc::sigaddset(&raw mut set, signal);
        }
        if libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let descriptor = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if descriptor < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(File::from_raw_fd(descriptor))
        }
    }
}
