//! Being asked to end: Ctrl-C, `kill`, a terminal that closes. What is under way is taken back.

#[cfg_attr(windows, path = "interrupt/windows.rs")]
#[cfg_attr(unix, path = "interrupt/linux.rs")]
mod signals;

use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use signals::listen;

static ASKED: AtomicBool = AtomicBool::new(false);

fn ask() {
    ASKED.store(true, Ordering::Relaxed);
}

/// Whether somebody asked for an end.
pub(crate) fn is_asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
