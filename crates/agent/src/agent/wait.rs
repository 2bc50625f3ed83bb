//! Sleeping until something happens: one call, no ticks.

use std::time::Duration;

use running::{Event, Seen};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify,
};

use super::{Agent, AgentError, Answer, BEGINNING, LOOKING, machine};
use crate::{clock, signals};

/// What woke us.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each descriptor")]
struct Woken {
    time: bool,
    folders: bool,
    answers: bool,
    signals: bool,
    control: bool,
    clock_set: bool,
    process: bool,
}

impl Agent {
    /// Sleeps until something happens, and takes it in.
    pub(super) fn sleep(&mut self) -> Result<(), AgentError> {
        self.timer.set(self.next());
        let woken = self.poll()?;
        if woken.time {
            self.timer.clear();
            self.manager.alive(&self.doing());
        }
        if woken.clock_set {
            self.clock_set.clear();
        }
        if woken.folders {
            self.take_folders();
        }
        if woken.signals {
            self.take_signals()?;
        }
        if woken.answers {
            self.came.extend(self.answers.take());
        }
        while let Some(answer) = self.came.pop_front() {
            self.take_answer(answer)?;
        }
        if woken.control {
            self.take_control();
        }
        let is_late = self.active.as_ref().is_some_and(|active| active.process.is_none());
        if woken.process || woken.folders || is_late {
            self.take_active()?;
        }
        self.take_lateness();
        Ok(())
    }

    /// When something is due next; never, if nothing is.
    fn next(&self) -> Option<Duration> {
        let now = clock::now();
        let mut next = vec![self.ask_at.saturating_sub(now.at)];
        // An answer that is awaited rings; asking again before is of no use.
        if self.site.is_busy() {
            next.clear();
        } else {
            next.extend(self.inventory_in());
        }
        next.extend(Some(self.not_before.saturating_sub(now.at)).filter(|left| *left > 0));
        next.extend(self.restarts.next(now.at).map(|at| at.saturating_sub(now.at)));
        // What is past and did not begin a moment ago does not begin at once: nobody spins.
        let later = |left: u64, later: u64| if left == 0 { later } else { left };
        next.extend(self.agenda.next.map(|next| later(next.saturating_sub(now.at), 1000)));
        next.extend(
            self.looking.as_ref().map(|looking| (looking.since + LOOKING).saturating_sub(now.at)),
        );
        if let Some(active) = self.active.as_ref().filter(|active| active.process.is_none()) {
            let left = (active.since + BEGINNING + 1).saturating_sub(now.at);
            // One whose process cannot be watched is looked at.
            next.push(later(left, LOOKING));
        }
        next.extend(self.manager.every().and_then(|every| u64::try_from(every.as_millis()).ok()));
        next.into_iter().min().map(Duration::from_millis)
    }

    fn poll(&self) -> Result<Woken, AgentError> {
        let mut watched = vec![
            PollFd::new(&self.timer, PollFlags::IN),
            PollFd::new(&self.watch, PollFlags::IN),
            PollFd::new(&self.answers, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.control, PollFlags::IN),
            PollFd::new(&self.clock_set, PollFlags::IN),
        ];
        let process = self.active.as_ref().and_then(|active| active.process.as_ref());
        watched.extend(process.map(|process| PollFd::new(process, PollFlags::IN)));
        match poll(&mut watched, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Woken::default()),
            Err(error) => return Err(machine("waiting")(error.into())),
        }
        let is_ready =
            |index: usize| watched.get(index).is_some_and(|one| !one.revents().is_empty());
        Ok(Woken {
            time: is_ready(0),
            folders: is_ready(1),
            answers: is_ready(2),
            signals: is_ready(3),
            control: is_ready(4),
            clock_set: is_ready(5),
            process: is_ready(6),
        })
    }

    pub(super) fn take_signals(&mut self) -> Result<(), AgentError> {
        let came = signals::take(&mut self.signals).map_err(machine("reading signals"))?;
        self.is_ending |=
            came.iter().any(|signal| [libc::SIGTERM, libc::SIGINT].contains(&signal.cast_signed()));
        if came.contains(&libc::SIGHUP.cast_unsigned()) {
            self.ask_now();
        }
        Ok(())
    }

    /// A policy that may be newer; an attempt that began or ended.
    fn take_folders(&mut self) {
        let mut block = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.watch, &mut block);
        let mut is_news = false;
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(std::ffi::CStr::to_bytes);
            is_news |= self.policy_watch.as_ref().is_some_and(|(watch, file)| {
                *watch == event.wd() && name == Some(file.as_encoded_bytes())
            });
        }
        if is_news {
            self.ask_now();
        }
    }

    fn take_answer(&mut self, answer: Answer) -> Result<(), AgentError> {
        match answer {
            Answer::Seen(id, number, seen) => {
                // One that came too late was answered for.
                if self.looking.as_ref().is_some_and(|looking| looking.number == number) {
                    self.looking = None;
                    let output =
                        self.book.run(&id).map(|run| self.output_of(run)).unwrap_or_default();
                    self.events.push_back((id, Event::Seen(seen), output));
                }
            }
            Answer::Truth(question, truth) => self.take_truth(question, truth),
            Answer::Free(result) => {
                self.blocked = None;
                if let Err(error) = result {
                    self.note(format!("waiting for another installer stopped: {error}"));
                    // What cannot be waited for is looked at again later, and not at once for ever.
                    self.not_before = clock::steady() + LOOKING;
                }
            }
            Answer::Restart(done) => self.restart_was_asked(done),
            Answer::Site(answer) => self.answered(answer)?,
        }
        Ok(())
    }

    /// What has had its time without an answer.
    fn take_lateness(&mut self) {
        let late = |since: u64| clock::steady().saturating_sub(since) >= LOOKING;
        if let Some(looking) = self.looking.take_if(|looking| late(looking.since)) {
            let why = format!("it did not answer within {} s", LOOKING / 1000);
            self.events.push_back((looking.id, Event::Seen(Seen::Unclear(why.into())), Vec::new()));
        }
    }
}
