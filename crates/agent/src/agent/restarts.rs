//! Restarts of the machine that are owed, and that somebody let us do.

use std::thread;

use deployment::RestartOwed;
use jiff::Timestamp;

use super::{Agent, Answer};
use crate::{clock, platform::restart};

/// What could not be had is asked for again after this, in milliseconds.
const AGAIN: u64 = 60_000;
/// A machine that did not restart by then does not: somebody called it off, in milliseconds.
const LATE: u64 = 300_000;

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// That the machine restarts then.
    at: Option<Timestamp>,
    /// When it must have happened, on the steady clock.
    by: Option<u64>,
    /// Nothing is asked for before, on the steady clock.
    not_before: u64,
}

impl Restarts {
    /// When something is due, on the steady clock.
    pub(super) fn next(&self, now: u64) -> Option<u64> {
        self.by.into_iter().chain(Some(self.not_before)).filter(|at| *at > now).min()
    }

    /// What was to have happened did not.
    fn was_called_off(&self, now: u64) -> bool {
        self.by.is_some_and(|by| by <= now)
    }

    fn ask(&mut self, wanted: Option<Timestamp>, now: u64, wall: Timestamp) {
        let left = |at: Timestamp| u64::try_from(at.duration_since(wall).as_millis()).unwrap_or(0);
        self.at = wanted;
        self.by = wanted.map(|at| now.saturating_add(left(at)).saturating_add(LATE));
    }
}

impl Agent {
    /// Whether the machine can be restarted, as far as is known.
    pub(super) fn can_restart(&self) -> bool {
        restart::is_possible(&self.root) && !self.restarts.was_called_off(clock::steady())
    }

    /// Has the machine restart when it is to, unless something runs; calls it off when nobody wants it any more.
    ///
    /// Nothing is written down: the run that wants it is done in the journal, and owes it as long as the machine has not restarted.
    pub(super) fn restart(&mut self) {
        let now = clock::steady();
        let wanted = self.agenda.restart.as_ref().and_then(|owed| owed.asked);
        if wanted == self.restarts.at
            || now < self.restarts.not_before
            || self.is_ending
            || self.book.under_way().is_some()
            || !self.can_restart()
        {
            return;
        }
        let why = self.agenda.restart.as_ref().map(sentence).unwrap_or_default();
        let bell = self.bell.clone();
        let thread = thread::Builder::new().name("restart".to_owned());
        let spawned = thread.spawn(move || {
            let done = match wanted {
                Some(at) => restart::schedule(at, &why),
                None => restart::call_off(),
            };
            bell.ring(Answer::Restart(done));
        });
        self.restarts.ask(wanted, now, Timestamp::now());
        if let Err(error) = spawned {
            self.restart_was_asked(Err(error.to_string()));
        }
    }

    pub(super) fn restart_was_asked(&mut self, done: Result<(), String>) {
        if let Err(error) = done {
            self.note(format!("the machine cannot be restarted: {error}"));
            let not_before = clock::steady().saturating_add(AGAIN);
            self.restarts = Restarts { not_before, ..Restarts::default() };
        }
    }
}

/// Who wants it, and when it happens.
pub(super) fn sentence(owed: &RestartOwed) -> String {
    let of: Vec<&str> = owed.of.iter().map(deployment::DeploymentId::as_str).collect();
    let of = of.join(", ");
    match owed.at {
        Some(at) => format!("the machine restarts at {} for {of}", at.strftime("%F %H:%M:%SZ")),
        None => format!("the machine should restart, for {of}: somebody has to do it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_says_for_whom_and_when() {
        let of = ["kernel", "firmware"].map(|id| deployment::DeploymentId::new(id).unwrap());
        let since = Timestamp::UNIX_EPOCH;
        let mut owed = RestartOwed { of: of.to_vec(), since, at: None, asked: None };
        let nobody = "the machine should restart, for kernel, firmware: somebody has to do it";
        assert_eq!(sentence(&owed), nobody);
        owed.at = Some(since);
        let then = "the machine restarts at 1970-01-01 00:00:00Z for kernel, firmware";
        assert_eq!(sentence(&owed), then);
    }

    #[test]
    fn what_did_not_happen_was_called_off() {
        let wall = Timestamp::from_second(1_000).unwrap();
        let mut restarts = Restarts::default();
        assert_eq!((restarts.next(5_000), restarts.was_called_off(5_000)), (None, false));
        restarts.ask(Some(Timestamp::from_second(1_060).unwrap()), 5_000, wall);
        let by = 5_000 + 60_000 + LATE;
        assert_eq!((restarts.next(5_000), restarts.was_called_off(by - 1)), (Some(by), false));
        assert_eq!((restarts.next(by), restarts.was_called_off(by)), (None, true));
        // What was to have been long ago happens at once.
        restarts.ask(Some(Timestamp::from_second(10).unwrap()), 5_000, wall);
        assert_eq!(restarts.next(5_000), Some(5_000 + LATE));
        restarts.ask(None, 6_000, wall);
        assert!(!restarts.was_called_off(u64::MAX));
    }
}
