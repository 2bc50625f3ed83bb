//! The one thread that speaks with the site. It sleeps while there is nothing to say.

use std::{
    io,
    sync::mpsc::{Sender, channel},
    thread,
};

use policy::Stamp;
use running::Message;

use crate::{
    bell::Bell,
    site::{CheckIn, Site, SiteError},
};

/// So many messages go at once.
pub(crate) const PARCEL: usize = 256;

/// What the site answered.
#[derive(Debug)]
pub(crate) enum SiteAnswer {
    CheckedIn(Result<CheckIn, SiteError>),
    Delivered(Result<u64, SiteError>),
}

enum Request {
    CheckIn(Option<Stamp>),
    Deliver(Vec<Message>),
}

/// The way to the site; one request is under way at a time.
#[derive(Debug)]
pub(crate) struct SiteLine {
    requests: Sender<Request>,
    is_busy: bool,
}

impl SiteLine {
    /// Starts the thread. `answer` is rung for each answer.
    pub(crate) fn open<T: Send + 'static>(
        mut site: Box<dyn Site>,
        bell: Bell<T>,
        answer: impl Fn(SiteAnswer) -> T + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, asked) = channel();
        thread::Builder::new().name("site".to_owned()).stack_size(1 << 20).spawn(move || {
            for request in asked {
                bell.ring(answer(match request {
                    Request::CheckIn(known) => SiteAnswer::CheckedIn(site.check_in(known)),
                    Request::Deliver(messages) => SiteAnswer::Delivered(site.deliver(&messages)),
                }));
            }
        })?;
        Ok(Self { requests, is_busy: false })
    }

    /// Whether an answer is awaited.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    pub(crate) fn check_in(&mut self, known: Option<Stamp>) -> io::Result<()> {
        self.send(Request::CheckIn(known))
    }

    pub(crate) fn deliver(&mut self, messages: Vec<Message>) -> io::Result<()> {
        self.send(Request::Deliver(messages))
    }

    fn send(&mut self, request: Request) -> io::Result<()> {
        let sent = self.requests.send(request);
        self.is_busy = sent.is_ok();
        sent.map_err(|_| io::Error::other("the thread that speaks with the site is gone"))
    }

    /// The answer came.
    pub(crate) fn answered(&mut self) {
        self.is_busy = false;
    }
}
