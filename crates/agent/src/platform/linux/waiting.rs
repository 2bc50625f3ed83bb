//! Waiting for the first of several things: `poll(2)`.

use std::{io, os::fd::BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};

/// What can be waited for.
pub(crate) type Waited<'a> = BorrowedFd<'a>;

/// Waits until something happens; of each, whether it did. Of none, where a signal came in between.
pub(crate) fn first(all: &[Waited<'_>]) -> io::Result<Vec<bool>> {
    let mut watched: Vec<PollFd<'_>> =
        all.iter().map(|one| PollFd::from_borrowed_fd(*one, PollFlags::IN)).collect();
    match poll(&mut watched, None) {
        Ok(_) => Ok(watched.iter().map(|one| !one.revents().is_empty()).collect()),
        Err(rustix::io::Errno::INTR) => Ok(vec![false; all.len()]),
        Err(error) => Err(error.into()),
    }
}
