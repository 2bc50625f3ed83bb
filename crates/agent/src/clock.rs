//! What time it is, on the steady clock and on the wall; and dice.

use std::time::{SystemTime, UNIX_EPOCH};

use running::Now;

use crate::platform::clock::random;
pub(crate) use crate::platform::clock::{boot, steady};

/// Now: it goes on while the machine sleeps, and no one can set it.
pub(crate) fn now() -> Now {
    Now { boot: boot(), at: steady() }
}

/// Seconds since 1970 by the machine's clock, which may lie.
pub(crate) fn wall() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Any number.
pub(crate) fn dice() -> u64 {
    random().unwrap_or_else(steady)
}
