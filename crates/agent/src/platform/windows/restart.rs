//! The machine restarted.

use std::path::Path;

use jiff::Timestamp;

/// Whether the machine of a root folder can be restarted from here: not yet.
pub(crate) fn is_possible(_: &Path) -> bool {
    false
}

/// Has the machine restart at a moment.
pub(crate) fn schedule(_: Timestamp, _: &str) -> Result<(), String> {
    Err("the agent restarts no machine with Windows: restart it by hand".to_owned())
}

/// Calls it off.
#[expect(clippy::unnecessary_wraps, reason = "as where somebody has to be asked")]
pub(crate) fn call_off() -> Result<(), String> {
    Ok(())
}
