//! One timer. It costs nothing until it is due.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Readable when its time has come.
#[derive(Debug)]
pub(crate) struct Timer(OwnedFd);

impl Timer {
    /// One that counts while the machine sleeps, too.
    pub(crate) fn sleepless() -> io::Result<Self> {
        Self::of(TimerfdClockId::Boottime)
    }

    /// One that counts only while the machine is awake.
    pub(crate) fn steady() -> io::Result<Self> {
        Self::of(TimerfdClockId::Monotonic)
    }

    /// Readable when somebody sets the machine's clock, `timerfd_create(2)`.
    pub(crate) fn clock_was_set() -> io::Result<Self> {
        /// Seconds since 1970: a time that does not come.
        const NEVER: i64 = 1 << 40;
        let timer = Self::of(TimerfdClockId::Realtime)?;
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        let value =
            Itimerspec { it_interval: zero, it_value: Timespec { tv_sec: NEVER, tv_nsec: 0 } };
        timerfd_settime(&timer.0, flags, &value)?;
        Ok(timer)
    }

    fn of(clock: TimerfdClockId) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(clock, flags)?))
    }

    /// Due once, after this; never, for `None`.
    pub(crate) fn set(&self, after: Option<Duration>) {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = after.map_or(zero, |after| Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            // Zero would mean never.
            tv_nsec: i64::from(after.subsec_nanos()).max(1),
        });
        let _ = timerfd_settime(
            &self.0,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: zero, it_value: value },
        );
    }

    /// Takes note that it was due.
    pub(crate) fn clear(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.0, &mut count);
    }
}

impl Timer {
    pub(crate) fn waited(&self) -> super::Waited<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
