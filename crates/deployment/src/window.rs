use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Cadence, InvalidRecurrence, Recurrence, When};

/// Hours in which a client may be changed, by the wall clock of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Window {
    /// What people call it.
    #[n(0)]
    pub name: Box<str>,
    /// When it opens.
    #[n(1)]
    pub opens: Recurrence,
    /// It closes when the wall clock shows so many minutes more than when it opened: 01:00 and 240 is *until 05:00*,
    /// also on the day the clock is changed.
    #[n(2)]
    pub minutes: u32,
    /// It does not open any more from then on.
    #[n(3)]
    pub until: Option<When>,
}

/// A window nobody can have meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWindow {
    /// When it opens.
    #[error("when it opens: {0}")]
    Opens(#[from] InvalidRecurrence),
    /// Open for no time, or for longer than any calendar.
    #[error("it is open for {0} minutes: give 1 to {MOST_MINUTES}")]
    Minutes(u32),
    /// By a stop-watch instead of a wall clock.
    #[error("it opens every so many seconds: give days, weeks or months, which wall clocks show")]
    Interval,
}

/// A window is open for at most a year.
const MOST_MINUTES: u32 = 366 * 24 * 60;

impl Window {
    /// Whether it can have been meant.
    pub fn check(&self) -> Result<(), InvalidWindow> {
        self.opens.check()?;
        match (&self.opens.cadence, self.minutes) {
            (Cadence::Seconds(_), _) => Err(InvalidWindow::Interval),
            (_, minutes) if minutes == 0 || minutes > MOST_MINUTES => {
                Err(InvalidWindow::Minutes(minutes))
            }
            _ => Ok(()),
        }
    }
}
