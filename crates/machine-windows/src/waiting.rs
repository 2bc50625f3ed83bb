//! Waiting without looking: events, timers, the first of several things.

use std::{
    io,
    os::windows::io::{AsHandle, AsRawHandle as _, BorrowedHandle, OwnedHandle},
    ptr,
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::{WAIT_FAILED, WAIT_OBJECT_0},
    System::Threading::{
        CREATE_WAITABLE_TIMER_MANUAL_RESET, CreateEventW, CreateWaitableTimerExW,
        EVENT_MODIFY_STATE, INFINITE, OpenEventW, ResetEvent, SetEvent, SetWaitableTimer,
        TIMER_ALL_ACCESS, WaitForMultipleObjects, WaitForSingleObject,
    },
};

use crate::{handles::owned, names::wide, security::Descriptor};

/// A time that does not come, in the interface's hundreds of nanoseconds from now.
const NEVER: i64 = -(1 << 60);
/// The interface waits for no more things at once.
const MOST: usize = 64;

/// Something that is rung by one and heard by another; rung until somebody clears it.
#[derive(Debug)]
pub struct Event(OwnedHandle);

impl Event {
    /// One without a name.
    ///
    /// # Errors
    /// The machine has no room for it.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn new() -> io::Result<Self> {
        // SAFETY: nothing is passed but numbers.
        owned(unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) }).map(Self)
    }

    /// One that others find by its name, if they are administrators or the machine itself.
    ///
    /// # Errors
    /// Somebody else has the name, or we may not make one.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn named(name: &str) -> io::Result<Self> {
        let descriptor = Descriptor::private()?;
        let attributes = descriptor.attributes();
        // SAFETY: the name ends with a zero; the attributes and what they lead to outlive the call.
        let event = unsafe { CreateEventW(&raw const attributes, 1, 0, wide(name).as_ptr()) };
        owned(event).map(Self)
    }

    /// One that somebody made with that name.
    ///
    /// # Errors
    /// Nobody did, or we may not ring it.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn open(name: &str) -> io::Result<Self> {
        // SAFETY: the name ends with a zero.
        owned(unsafe { OpenEventW(EVENT_MODIFY_STATE, 0, wide(name).as_ptr()) }).map(Self)
    }

    /// Rings.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn ring(&self) {
        // SAFETY: the handle is open.
        unsafe { SetEvent(self.0.as_raw_handle()) };
    }

    /// Takes note of it.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn clear(&self) {
        // SAFETY: the handle is open.
        unsafe { ResetEvent(self.0.as_raw_handle()) };
    }
}

impl AsHandle for Event {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// One timer. It costs nothing until it is due.
#[derive(Debug)]
pub struct Timer(OwnedHandle);

impl Timer {
    /// One that is not set.
    ///
    /// # Errors
    /// The machine has no room for it.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn new() -> io::Result<Self> {
        let flags = CREATE_WAITABLE_TIMER_MANUAL_RESET;
        // SAFETY: nothing is passed but numbers.
        let timer =
            unsafe { CreateWaitableTimerExW(ptr::null(), ptr::null(), flags, TIMER_ALL_ACCESS) };
        owned(timer).map(Self)
    }

    /// Due once, after this; never, for `None`. It is not due any more until then.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn set(&self, after: Option<Duration>) {
        let hundreds = |after: Duration| i64::try_from(after.as_nanos() / 100).unwrap_or(-NEVER);
        // From now on, and not at a time of the day: those are numbers below zero.
        let due = after.map_or(NEVER, |after| -hundreds(after).clamp(1, -NEVER));
        // SAFETY: the handle is open, and the number is on this stack.
        unsafe {
            SetWaitableTimer(self.0.as_raw_handle(), &raw const due, 0, None, ptr::null(), 0)
        };
    }
}

impl AsHandle for Timer {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// Waits until something happens, and answers of each whether it did.
///
/// # Errors
/// One of them cannot be waited for, or they are more than 64.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn first(all: &[BorrowedHandle<'_>]) -> io::Result<Vec<bool>> {
    if all.len() > MOST {
        return Err(io::Error::other(format!("{} things to wait for, {MOST} at most", all.len())));
    }
    let handles: Vec<_> = all.iter().map(BorrowedHandle::as_raw_handle).collect();
    let count = u32::try_from(handles.len()).unwrap_or(0);
    // SAFETY: there are so many handles, and all are open.
    let woken = unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, INFINITE) };
    if woken == WAIT_FAILED {
        return Err(io::Error::last_os_error());
    }
    all.iter().map(|one| is_there(*one, Duration::ZERO)).collect()
}

/// Whether something happens within that time.
///
/// # Errors
/// It cannot be waited for.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn is_there(one: BorrowedHandle<'_>, within: Duration) -> io::Result<bool> {
    // What is longer than the interface knows is cut, and not for ever.
    let limit = u32::try_from(within.as_millis()).unwrap_or(INFINITE).min(INFINITE - 1);
    // SAFETY: the handle is open.
    match unsafe { WaitForSingleObject(one.as_raw_handle(), limit) } {
        WAIT_FAILED => Err(io::Error::last_os_error()),
        answer => Ok(answer == WAIT_OBJECT_0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_things_those_that_happened_are_told() {
        let (one, two) = (Event::new().unwrap(), Event::new().unwrap());
        let timer = Timer::new().unwrap();
        two.ring();
        let all = [one.as_handle(), two.as_handle(), timer.as_handle()];
        assert_eq!(first(&all).unwrap(), [false, true, false]);
        two.clear();
        timer.set(Some(Duration::from_millis(1)));
        assert_eq!(first(&all).unwrap(), [false, false, true]);
        timer.set(None);
        assert!(!is_there(timer.as_handle(), Duration::ZERO).unwrap());
    }
}
