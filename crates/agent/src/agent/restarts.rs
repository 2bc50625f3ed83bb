//! Restarts of the machine that are owed, and that somebody let us do.

use std::thread;

use deployment::RestartOwed;
use jiff::Timestamp;

use super::{Agent, Answer};
use crate::{clock, restart};

/// What could not be had is asked for again after this, in milliseconds.
const AGAIN: u64 = 60_000;

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// That the machine restarts then.
    at: Option<Timestamp>,
    /// Nothing is asked for before, on the steady clock.
    pub(super) not_before: u64,
}

impl Agent {
    /// Has the machine restart when it is to, unless something runs; calls it off when nobody wants it any more.
    ///
    /// Nothing is written down: the run that wants it is done in the journal, and owes it as long as the machine has not restarted.
    pub(super) fn restart(&mut self) {
        let wanted = self.agenda.restart.as_ref().and_then(|owed| owed.at);
        let is_late = clock::steady() < self.restarts.not_before;
        if wanted == self.restarts.at
            || is_late
            || self.is_ending
            || self.book.under_way().is_some()
            || !restart::is_possible(&self.root)
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
        self.restarts.at = wanted;
        if let Err(error) = spawned {
            self.restart_was_asked(Err(error.to_string()));
        }
    }

    pub(super) fn restart_was_asked(&mut self, done: Result<(), String>) {
        if let Err(error) = done {
            self.note(format!("the machine cannot be restarted: {error}"));
            self.restarts =
                Restarts { at: None, not_before: clock::steady().saturating_add(AGAIN) };
        }
    }
}

/// Who wants it, and when it happens.
pub(super) fn sentence(owed: &RestartOwed) -> String {
    let of: Vec<&str> = owed.of.iter().map(deployment::DeploymentId::as_str).collect();
    let of = of.join(", ");
    match owed.at {
        Some(at) => format!("the machine restarts at {} for {of}", at.strftime("%F %H:%M:%SZ")),
        None => format!("the machine should restart, for {of}; nobody let the agent do it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_says_for_whom_and_when() {
        let of = ["kernel", "firmware"].map(|id| deployment::DeploymentId::new(id).unwrap());
        let since = Timestamp::UNIX_EPOCH;
        let mut owed = RestartOwed { of: of.to_vec(), since, at: None };
        let nobody = "the machine should restart, for kernel, firmware; nobody let the agent do it";
        assert_eq!(sentence(&owed), nobody);
        owed.at = Some(since);
        let then = "the machine restarts at 1970-01-01 00:00:00Z for kernel, firmware";
        assert_eq!(sentence(&owed), then);
    }
}
