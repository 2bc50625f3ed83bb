//! The kernel's clock, this start of the machine, and chance.

use std::fs;

use running::BootId;
use rustix::{
    rand::{GetRandomFlags, getrandom},
    time::{ClockId, clock_gettime},
};

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

/// Any number; nothing, where the kernel has none.
pub(crate) fn random() -> Option<u64> {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(8) => Some(u64::from_ne_bytes(bytes)),
        _ => None,
    }
}
