//! What time it is, on the steady clock and on the wall; and dice.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use running::{BootId, Now};
use rustix::{
    rand::{GetRandomFlags, getrandom},
    time::{ClockId, clock_gettime},
};

/// Now: it goes on while the machine sleeps, and no one can set it.
pub(crate) fn now() -> Now {
    Now { boot: boot(), at: steady() }
}

/// Milliseconds since the machine started.
pub(crate) fn steady() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1000
        + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// This start of the machine: `random(4)`'s `boot_id`.
pub(crate) fn boot() -> BootId {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    BootId(u64::from_str_radix(&digits, 16).unwrap_or(0))
}

/// Seconds since 1970 by the machine's clock, which may lie.
pub(crate) fn wall() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Any even number.
pub(crate) fn dice() -> u64 {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => steady(),
    }
}
