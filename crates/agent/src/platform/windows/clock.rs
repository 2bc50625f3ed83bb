//! The machine's clock, this start of it, and chance.

use running::BootId;

pub(crate) use machine_windows::{random, since_start as steady};

/// This start of the machine. Where it cannot be known it is none, and the same all the time.
pub(crate) fn boot() -> BootId {
    BootId(machine_windows::this_start().unwrap_or(0))
}
