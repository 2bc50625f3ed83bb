//! Who failed where an installation did: the content that did not come, or this machine. What one distribution point could not
//! give, another may.

use std::io;

use install::{Payload, PayloadError, Pour, Stop};
use package::{Header, Record};

/// A payload, and whether it failed.
pub(crate) struct Watched<'p> {
    payload: &'p mut dyn Payload,
    failed: bool,
}

impl<'p> Watched<'p> {
    pub(crate) fn new(payload: &'p mut dyn Payload) -> Self {
        Self { payload, failed: false }
    }

    /// Whether content did not come, or was not what it should be.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }
}

impl Payload for Watched<'_> {
    fn header(&self) -> &Header {
        self.payload.header()
    }

    fn records(
        &mut self,
        each: &mut dyn FnMut(&Record) -> Result<(), Stop>,
    ) -> Result<(), PayloadError> {
        let done = self.payload.records(each);
        self.failed |= is_contents(&done);
        done
    }

    fn contents(
        &mut self,
        each: &mut dyn FnMut(&Record, &mut dyn Pour) -> Result<(), Stop>,
    ) -> Result<(), PayloadError> {
        let mut failed = false;
        let done = self.payload.contents(&mut |record, pour| {
            each(record, &mut WatchedPour { pour, failed: &mut failed })
        });
        self.failed |= failed || is_contents(&done);
        done
    }
}

fn is_contents(done: &Result<(), PayloadError>) -> bool {
    matches!(done, Err(PayloadError::Read(_) | PayloadError::Other(_)))
}

struct WatchedPour<'p> {
    pour: &'p mut dyn Pour,
    failed: &'p mut bool,
}

impl Pour for WatchedPour<'_> {
    fn pour(&mut self, into: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut is_refused = false;
        let done = self.pour.pour(&mut |at, bytes| {
            let taken = into(at, bytes);
            is_refused |= taken.is_err();
            taken
        });
        *self.failed |= done.is_err() && !is_refused;
        done
    }
}
