//! Something that is rung by one thread and heard by another: `eventfd(2)`.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::event::{EventfdFlags, eventfd};

use super::Waited;

/// Rung until somebody takes note of it.
#[derive(Debug)]
pub(crate) struct Event(OwnedFd);

impl Event {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(crate) fn ring(&self) {
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    pub(crate) fn clear(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.0, &mut count);
    }

    pub(crate) fn waited(&self) -> Waited<'_> {
        self.0.as_fd()
    }
}
