//! The word an attempt leaves of its end, whatever room there is.

use std::{io, time::Duration};

use crate::{
    attempt::{Attempt, Ending},
    durable,
    platform::{Timer, first},
};

/// Between two looks for room on a full disk: twice as long each time.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_mins(1));

/// Leaves word of the end. Where there is no room for it, it has what was kept for it, and what the program wrote goes; where
/// somebody else took that at once, room is waited for.
pub(crate) fn leave_word(attempt: &Attempt, mut ending: Ending) -> io::Result<()> {
    let mut pause = PATIENCE.0;
    let mut is_made = false;
    loop {
        match attempt.leave_word(&ending) {
            Err(error) if durable::is_full(&error) && !is_made => {
                is_made = true;
                ending.output = Vec::new();
                attempt.make_room()?;
            }
            Err(error) if durable::is_full(&error) => {
                let timer = Timer::steady()?;
                timer.set(Some(pause));
                let _ = first(&[timer.waited()]);
                pause = (pause * 2).min(PATIENCE.1);
            }
            left => return left,
        }
    }
}
