//! Something that is rung by one thread and heard by another.

use std::{io, os::windows::io::AsHandle as _};

use super::Waited;

/// Rung until somebody takes note of it.
#[derive(Debug)]
pub(crate) struct Event(machine_windows::Event);

impl Event {
    pub(crate) fn new() -> io::Result<Self> {
        machine_windows::Event::new().map(Self)
    }

    pub(crate) fn ring(&self) {
        self.0.ring();
    }

    pub(crate) fn clear(&self) {
        self.0.clear();
    }

    pub(crate) fn waited(&self) -> Waited<'_> {
        self.0.as_handle()
    }
}
