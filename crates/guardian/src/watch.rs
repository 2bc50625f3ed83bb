use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command},
    time::Duration,
};

use running::{Act, Proof, Upgrade, UpgradeEvent};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

use crate::home::Home;

/// An agent that ends is started again after this, in seconds, twice as long each time, and at most so long.
const PAUSE: (u64, u64) = (1, 300);
/// An agent that is to end has so many seconds for it.
const GRACE: u64 = 20;

struct Guardian<'a> {
    home: &'a Home,
    arguments: &'a [OsString],
    agent: Option<(Child, OwnedFd)>,
    timer: OwnedFd,
    folder: OwnedFd,
    signals: File,
    /// What the agent that runs has shown so far.
    seen: Option<Proof>,
    ends: u32,
    is_ending: bool,
}

enum Woken {
    Ended,
    Time,
    Folder,
    Asked,
}

/// Watches over the agent until asked to end.
pub(crate) fn watch(home: &Home, arguments: &[OsString]) -> io::Result<()> {
    let signals = signals()?;
    let folder = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&folder, home.folder(), inotify::WatchFlags::MOVED_TO)?;
    let timer =
        timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let mut guardian = Guardian {
        home,
        arguments,
        agent: None,
        timer,
        folder,
        signals,
        seen: None,
        ends: 0,
        is_ending: false,
    };
    guardian.happened(UpgradeEvent::Began)?;
    while !guardian.is_ending {
        match guardian.sleep()? {
            Woken::Ended => guardian.ended()?,
            Woken::Time if guardian.agent.is_none() => guardian.happened(UpgradeEvent::Ended)?,
            Woken::Time => guardian.happened(UpgradeEvent::Overdue)?,
            Woken::Folder => guardian.look()?,
            Woken::Asked => guardian.is_ending = true,
        }
    }
    guardian.end()
}

impl Guardian<'_> {
    fn happened(&mut self, event: UpgradeEvent) -> io::Result<()> {
        for act in Upgrade::next(self.home.upgrade(), event) {
            match act {
                Act::Keep(upgrade) => self.home.keep(upgrade.as_ref())?,
                Act::Flip(edition) => self.home.flip(&edition)?,
                Act::Condemn(digest) => self.home.condemn(&digest)?,
                Act::Tell(verdict) => self.home.tell(&verdict)?,
                Act::End => self.end()?,
                Act::Start(limit) => self.start(limit)?,
            }
        }
        Ok(())
    }

    /// The agent ended. Where no upgrade is under way it is started again, after a pause that grows.
    fn ended(&mut self) -> io::Result<()> {
        if let Some((mut agent, _)) = self.agent.take() {
            agent.wait()?;
        }
        if self.home.upgrade().is_some() {
            return self.happened(UpgradeEvent::Ended);
        }
        let pause = (PAUSE.0 << self.ends.min(16)).min(PAUSE.1);
        self.ends = self.ends.saturating_add(1);
        self.set(Some(Duration::from_secs(pause)));
        Ok(())
    }

    fn start(&mut self, limit: Option<u64>) -> io::Result<()> {
        self.home.forget_proof()?;
        self.seen = None;
        let mut command = Command::new(self.home.program());
        command.args(self.arguments).env("PACKHORSE_GUARDIAN", self.home.folder());
        die_with_us(&mut command);
        match command.spawn() {
            Ok(child) => {
                let pid = Pid::from_raw(child.id().cast_signed()).ok_or(io::ErrorKind::NotFound)?;
                let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
                self.agent = Some((child, descriptor));
                self.set(limit.map(Duration::from_millis));
            }
            Err(error) => {
                eprintln!("packhorse-guardian: `{}`: {error}", self.home.program().display());
                // As one that ended at once.
                self.agent = None;
                self.set(Some(Duration::from_secs(PAUSE.0)));
            }
        }
        Ok(())
    }

    /// Ends the agent: it is asked, and then ended.
    fn end(&mut self) -> io::Result<()> {
        let Some((mut agent, descriptor)) = self.agent.take() else { return Ok(()) };
        let _ = pidfd_send_signal(&descriptor, Signal::TERM);
        let mut watched = [PollFd::new(&descriptor, PollFlags::IN)];
        let grace = Timespec { tv_sec: GRACE.cast_signed(), tv_nsec: 0 };
        let _ = poll(&mut watched, Some(&grace));
        let _ = agent.kill();
        agent.wait().map(drop)
    }

    /// Whether the agent has shown more than before.
    fn look(&mut self) -> io::Result<()> {
        let proof = self.home.proof();
        if proof <= self.seen {
            return Ok(());
        }
        self.seen = proof;
        self.ends = 0;
        // It lives: it has no limit any more.
        self.set(None);
        proof.map_or(Ok(()), |proof| self.happened(UpgradeEvent::Proved(proof)))
    }

    fn sleep(&mut self) -> io::Result<Woken> {
        loop {
            let mut watched = vec![
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::new(&self.timer, PollFlags::IN),
                PollFd::new(&self.folder, PollFlags::IN),
            ];
            watched.extend(self.agent.as_ref().map(|(_, agent)| PollFd::new(agent, PollFlags::IN)));
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

    fn set(&self, after: Option<Duration>) {
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
