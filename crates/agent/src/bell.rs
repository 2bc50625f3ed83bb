//! How threads that wait for others wake the one that decides.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
};

use crate::platform::{Event, Waited};

/// The end that gives answers; it goes with a thread.
#[derive(Debug)]
pub(crate) struct Bell<T> {
    answers: Sender<T>,
    bell: Arc<Event>,
}

impl<T> Clone for Bell<T> {
    fn clone(&self) -> Self {
        Self { answers: self.answers.clone(), bell: Arc::clone(&self.bell) }
    }
}

/// The end that gets them: what is waited for is there when there are any.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    answers: Receiver<T>,
    bell: Arc<Event>,
}

/// Both ends.
pub(crate) fn bell<T>() -> io::Result<(Bell<T>, Answers<T>)> {
    let bell = Arc::new(Event::new()?);
    let (sender, receiver) = channel();
    Ok((Bell { answers: sender, bell: Arc::clone(&bell) }, Answers { answers: receiver, bell }))
}

impl<T> Bell<T> {
    /// Gives an answer. One that nobody waits for any more is lost, and is of no use.
    pub(crate) fn ring(&self, answer: T) {
        if self.answers.send(answer).is_ok() {
            self.bell.ring();
        }
    }
}

impl<T> Answers<T> {
    /// All that came.
    pub(crate) fn take(&self) -> Vec<T> {
        self.bell.clear();
        self.answers.try_iter().collect()
    }

    pub(crate) fn waited(&self) -> Waited<'_> {
        self.bell.waited()
    }
}
