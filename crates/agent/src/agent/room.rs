//! A disk without room. What would be decided could not be written down, so nothing is; who asks is told, and it goes on where
//! it was once there is room again.

use super::{Agent, AgentError, Proof, machine};
use crate::{clock, durable, platform::first};

/// Between two looks, in milliseconds: twice as long each time.
const PAUSE: (u64, u64) = (5_000, 300_000);
/// So much room is enough to go on, in bytes.
const ENOUGH: usize = 64 << 10;

/// The disk is full.
#[derive(Debug)]
pub(super) struct Full {
    /// What did not work.
    pub(super) why: String,
    /// Since when, on the steady clock.
    pub(super) since: u64,
    pause: u64,
    /// When to look again.
    again: u64,
}

impl Agent {
    /// What went wrong went wrong for want of room: from now on there is nothing but waiting for it. Anything else is an error.
    pub(super) fn wait_for_room(&mut self, error: AgentError) -> Result<(), AgentError> {
        if self.once || !error.is_full() {
            return Err(error);
        }
        let now = clock::steady();
        let (since, pause) = match self.full.take() {
            Some(full) => (full.since, (full.pause * 2).min(PAUSE.1)),
            None => (now, PAUSE.0),
        };
        let why = model::with_causes(&error);
        self.full = Some(Full { why, since, pause, again: now.saturating_add(pause) });
        Ok(())
    }

    /// Sleeps, answers, and looks for room; whether this is the end.
    pub(super) fn turn_without_room(&mut self) -> Result<bool, AgentError> {
        if self.is_ending {
            return Ok(true);
        }
        let left = self.full.as_ref().map_or(0, |full| full.again.saturating_sub(clock::steady()));
        if left == 0 {
            self.go_on()?;
            return Ok(false);
        }
        self.timer.set(Some(std::time::Duration::from_millis(left)));
        let watched = [self.timer.waited(), self.signals.waited(), self.control.waited()];
        let ready = first(&watched).map_err(machine("waiting"))?;
        let is_ready = |index: usize| ready.get(index).is_some_and(|ready| *ready);
        let [time, signals, control] = [0, 1, 2].map(is_ready);
        if time {
            self.timer.clear();
            self.manager.alive(&self.doing());
        }
        if signals {
            self.take_signals()?;
        }
        if control {
            self.take_control();
        }
        Ok(false)
    }

    /// Finds out what became of everything, as after a start.
    fn go_on(&mut self) -> Result<(), AgentError> {
        let probe = self.state.path().join("room");
        let written = durable::write(&probe, &vec![0x55; ENOUGH]);
        let _ = std::fs::remove_file(&probe);
        written.map_err(machine("looking for room on the disk"))?;
        self.events.clear();
        self.active = None;
        self.looking = None;
        self.wake()?;
        self.full = None;
        self.ask_at = clock::steady();
        self.prove_life(Proof::Local);
        Ok(())
    }

    /// The site is asked now, and room is looked for, if that is what is waited for.
    pub(super) fn ask_now(&mut self) {
        self.ask_at = clock::steady();
        // What is being answered may have been looked up before.
        self.is_asked_again = self.site.is_busy();
        if let Some(full) = &mut self.full {
            full.again = self.ask_at;
        }
    }
}
