//! One timer. It costs nothing until it is due.

use std::{io, os::windows::io::AsHandle as _, time::Duration};

use machine_windows::Wanted;

use super::Waited;

/// There when its time has come.
#[derive(Debug)]
pub(crate) enum Timer {
    /// After a while.
    Own(machine_windows::Timer),
    /// When somebody sets the machine's clock, as the service manager says.
    Clock(&'static Wanted),
}

impl Timer {
    /// One that counts while the machine sleeps, too.
    pub(crate) fn sleepless() -> io::Result<Self> {
        machine_windows::Timer::new().map(Self::Own)
    }

    /// One for short waits.
    pub(crate) fn steady() -> io::Result<Self> {
        Self::sleepless()
    }

    /// There when somebody sets the machine's clock.
    pub(crate) fn clock_was_set() -> io::Result<Self> {
        Wanted::of_process().map(Self::Clock)
    }

    /// Due once, after this; never, for `None`.
    pub(crate) fn set(&self, after: Option<Duration>) {
        if let Self::Own(timer) = self {
            timer.set(after);
        }
    }

    /// Takes note that it was due.
    pub(crate) fn clear(&self) {
        match self {
            Self::Own(timer) => timer.set(None),
            Self::Clock(wanted) => wanted.clear_clock(),
        }
    }

    pub(crate) fn waited(&self) -> Waited<'_> {
        match self {
            Self::Own(timer) => timer.as_handle(),
            Self::Clock(wanted) => wanted.clock(),
        }
    }
}
