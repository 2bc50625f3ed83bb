//! The machine restarted: Windows does it, tells whoever is logged on, and lets an administrator call it off (`shutdown /a`).

use std::path::Path;

use jiff::Timestamp;

/// Whether the machine of a root folder can be restarted from here: it is the one we are on.
pub(crate) fn is_possible(_: &Path) -> bool {
    true
}

/// Has the machine restart at a moment, or at once where that is past.
pub(crate) fn schedule(at: Timestamp, why: &str) -> Result<(), String> {
    let left = at.duration_since(Timestamp::now()).as_secs();
    let left = u32::try_from(left.max(0)).unwrap_or(u32::MAX);
    machine_windows::restart_after(left, why).map_err(|error| error.to_string())
}

/// Calls it off.
pub(crate) fn call_off() -> Result<(), String> {
    machine_windows::call_off_restart().map_err(|error| error.to_string())
}
