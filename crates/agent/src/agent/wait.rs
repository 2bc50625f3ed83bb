//! Sleeping until something happens: one call, no ticks.

use std::time::Duration;

use running::{Event, Seen};

use super::{Agent, AgentError, Answer, BEGINNING, LOOKING, machine};
use crate::{
    clock,
    platform::{first, process, rest},
};

/// Who has nothing to do for so long lets go of memory it can have back.
const REST: Duration = Duration::from_secs(10);

/// What woke us.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each thing that is waited for")]
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
        let next = self.next();
        self.timer.set(next);
        let is_idle = self.active.is_none() && self.looking.is_none() && !self.site.is_busy();
        if is_idle && next.is_none_or(|next| next >= REST) {
            rest();
        }
        let woken = self.first()?;
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

    fn first(&self) -> Result<Woken, AgentError> {
        let mut watched = vec![
            self.timer.waited(),
            self.answers.waited(),
            self.signals.waited(),
            self.control.waited(),
            self.clock_set.waited(),
        ];
        let process = self.active.as_ref().and_then(|active| active.process.as_ref());
        watched.extend(process.map(process::waited));
        let folders = watched.len();
        watched.extend(self.watch.waited());
        let ready = first(&watched).map_err(machine("waiting"))?;
        let is_ready = |index: usize| ready.get(index).is_some_and(|ready| *ready);
        Ok(Woken {
            time: is_ready(0),
            answers: is_ready(1),
            signals: is_ready(2),
            control: is_ready(3),
            clock_set: is_ready(4),
            process: process.is_some() && is_ready(5),
            folders: ready.get(folders..).is_some_and(|folders| folders.contains(&true)),
        })
    }

    pub(super) fn take_signals(&mut self) -> Result<(), AgentError> {
        let wishes = self.signals.take().map_err(machine("reading signals"))?;
        self.is_ending |= wishes.end;
        if wishes.ask {
            self.ask_now();
        }
        Ok(())
    }

    /// A policy that may be newer; an attempt that began or ended.
    fn take_folders(&mut self) {
        if self.watch.take() {
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
