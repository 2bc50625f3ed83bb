//! The process beside each program that is run: it takes the permit, starts the program, keeps what it writes, waits for all the
//! program started, stops them when it is asked to or time is over, and leaves word of the end. It outlives the agent.

use std::{
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use machine_linux::account::become_user;
use running::Began;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::{WaitOptions, WaitStatus, set_child_subreaper, wait},
};

use super::{cgroup::Group, process, signals, timer::Timer, tree::Tree};
use crate::{
    attempt::{Attempt, Claim, Ending, Exit, RunAccount, Stop, Work},
    clock,
    output::Output,
    word::leave_word,
};

/// Of how many later failures a word is left.
const LATER: usize = 8;
/// Between two looks at processes that were killed and are still there.
const BREATH: Duration = Duration::from_millis(20);

/// Runs what an attempt is for, from its permit to the word of its end.
pub(crate) fn run(attempt: &Attempt) -> io::Result<()> {
    // Whoever started us may go: we do not go with it.
    let _ = rustix::process::setsid();
    let work = attempt.work()?;
    // From here on these are heard and not obeyed.
    let signals = signals::listen(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP])?;
    set_child_subreaper(rustix::process::Pid::from_raw(process::own().pid.cast_signed()))?;
    let began = Began { boot: clock::boot(), process: process::own() };
    let Claim::Begun(alive) = attempt.claim(began)? else { return Ok(()) };
    let group = Group::make(&attempt.name());
    if let Some(group) = &group {
        // Without it the session is all there is to go by.
        let _ = attempt.put_group(group.folder());
    }
    let mut runner = Runner {
        attempt,
        output: Output::new(&attempt.output()),
        group,
        signals,
        since: clock::steady(),
        first: None,
        later: Vec::new(),
        stopped: None,
    };
    let ending = runner.run_to_end(&work)?;
    leave_word(attempt, ending)?;
    drop(alive);
    Ok(())
}

struct Runner<'a> {
    attempt: &'a Attempt,
    output: Output,
    group: Option<Group>,
    signals: File,
    since: u64,
    first: Option<Exit>,
    later: Vec<(String, Exit)>,
    stopped: Option<Stop>,
}

impl Runner<'_> {
    fn run_to_end(&mut self, work: &Work) -> io::Result<Ending> {
        let (reader, writer) = io::pipe()?;
        let mut pipe = Some(OwnedFd::from(reader));
        let child = match self.start(work, writer) {
            Ok(child) => child,
            Err(error) => {
                self.first = Some(Exit::NotStarted(error.raw_os_error().unwrap_or(0)));
                return Ok(self.ending());
            }
        };
        let limit = Timer::steady()?;
        limit.set(work.limit.map(|seconds| Duration::from_secs(seconds.into())));
        let mut harsh = false;
        loop {
            let events = self.wait_for(pipe.as_ref(), &limit)?;
            if events.output && !take(&mut self.output, pipe.as_ref())? {
                pipe = None;
            }
            for signal in events.signals {
                if signal != libc::SIGCHLD.cast_unsigned() && self.stopped.is_none() {
                    self.stopped = Some(match self.attempt.why() {
                        Some(why) => Stop::Asked(why),
                        None => Stop::GoingDown,
                    });
                    self.stop(false);
                    limit.set(Some(Duration::from_secs(work.grace.into())));
                }
            }
            if events.time {
                harsh |= self.stopped.is_some();
                if self.stopped.is_none() {
                    self.stopped = Some(Stop::Limit);
                    self.stop(false);
                    limit.set(Some(Duration::from_secs(work.grace.into())));
                }
            }
            if harsh {
                self.stop(true);
                limit.set(Some(BREATH));
            }
            if !self.reap(child) {
                break;
            }
        }
        // What is still in the pipe, now that nobody is left to write.
        take(&mut self.output, pipe.as_ref())?;
        Ok(self.ending())
    }

    fn start(&mut self, work: &Work, writer: io::PipeWriter) -> io::Result<u32> {
        let (program, arguments) = work
            .command
            .split_first()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(work.environment.iter().cloned());
        command.stdin(Stdio::null());
        command.stdout(writer.try_clone()?).stderr(writer).process_group(0);
        match &work.account {
            Some(RunAccount { number, group, groups }) => {
                let folder = Path::new(&work.folder);
                become_user(&mut command, *number, *group, groups, folder);
            }
            None => drop(command.current_dir(&work.folder)),
        }
        let inside = self.group.as_ref().map(Group::enter);
        let child = command.spawn();
        drop(inside);
        Ok(child?.id())
    }

    fn wait_for(&mut self, pipe: Option<&OwnedFd>, limit: &Timer) -> io::Result<Events> {
        let mut watched = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::from_borrowed_fd(limit.as_fd(), PollFlags::IN),
        ];
        watched.extend(pipe.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut watched, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready =
            |index: usize| watched.get(index).is_some_and(|one| !one.revents().is_empty());
        let (signalled, time, output) = (is_ready(0), is_ready(1), is_ready(2));
        if time {
            limit.clear();
        }
        let signals = if signalled { signals::take(&mut self.signals)? } else { Vec::new() };
        Ok(Events { signals, time, output })
    }

    /// Asks everything the program started to end, or ends it.
    fn stop(&mut self, harsh: bool) {
        match (&self.group, harsh) {
            (Some(group), true) => group.kill(),
            (Some(group), false) => group.ask_to_end(),
            (None, _) => Tree::below(process::own().pid).signal(harsh),
        }
        if harsh {
            // What left its group is still ours.
            Tree::below(process::own().pid).signal(true);
        }
    }

    /// Takes in who ended; whether anybody is left.
    fn reap(&mut self, child: u32) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let pid = pid.as_raw_pid().cast_unsigned();
                    self.ended(pid == child, pid, status);
                }
                Ok(None) => return true,
                // Nobody is left.
                Err(_) => return false,
            }
        }
    }

    fn ended(&mut self, is_first: bool, pid: u32, status: WaitStatus) {
        let status = ExitStatus::from_raw(status.as_raw());
        let exit = match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or(0)),
        };
        if is_first {
            self.first = Some(exit);
        } else if exit != Exit::Code(0) && self.first.is_some() && self.later.len() < LATER {
            self.later.push((format!("process {pid}"), exit));
        }
    }

    fn ending(&mut self) -> Ending {
        Ending {
            first: self.first.unwrap_or(Exit::NotStarted(0)),
            later: std::mem::take(&mut self.later),
            stopped: self.stopped.take(),
            output: self.output.whole(),
            out_of_memory: self.group.as_ref().map_or(0, Group::out_of_memory),
            took: clock::steady().saturating_sub(self.since),
        }
    }
}

struct Events {
    signals: Vec<u32>,
    time: bool,
    output: bool,
}

/// Takes what there is; whether more may come.
fn take(output: &mut Output, pipe: Option<&OwnedFd>) -> io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(false) };
    let flags = fcntl_getfl(pipe)?;
    fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
    let mut from = File::from(pipe.try_clone()?);
    let mut block = [0; 8 << 10];
    // Bounded, so that somebody who writes without end does not keep us from his time limit.
    for _ in 0..64 {
        match from.read(&mut block) {
            Ok(0) => return Ok(false),
            Ok(read) => output.keep(&block[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
