//! How threads that wait for others wake the one that decides.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
};

use rustix::event::{EventfdFlags, eventfd};

/// The end that gives answers; it goes with a thread.
#[derive(Debug)]
pub(crate) struct Bell<T> {
    answers: Sender<T>,
    bell: Arc<OwnedFd>,
}

impl<T> Clone for Bell<T> {
    fn clone(&self) -> Self {
        Self { answers: self.answers.clone(), bell: Arc::clone(&self.bell) }
    }
}

/// The end that gets them: readable when there are any.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    answers: Receiver<T>,
    bell: Arc<OwnedFd>,
}

/// Both ends.
pub(crate) fn bell<T>() -> io::Result<(Bell<T>, Answers<T>)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (sender, receiver) = channel();
    Ok((Bell { answers: sender, bell: Arc::clone(&bell) }, Answers { answers: receiver, bell }))
}

impl<T> Bell<T> {
    /// Gives an answer. One that nobody waits for any more is lost, and is of no use.
    pub(crate) fn ring(&self, answer: T) {
        if self.answers.send(answer).is_ok() {
            let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
        }
    }
}

impl<T> Answers<T> {
    /// All that came.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut count = [0; 8];
        let _ = rustix::io::read(&*self.bell, &mut count);
        self.answers.try_iter().collect()
    }
}

impl<T> AsFd for Answers<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
