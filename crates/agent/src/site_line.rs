//! The one thread that speaks with the site. It sleeps while there is nothing to say.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::{Sender, channel},
    thread,
};

use running::{Message, PARCEL_MESSAGES};

use crate::{
    bell::Bell,
    inventory,
    site::{Asking, CheckIn, Site, SiteError},
};

/// So many messages go at once.
pub(crate) const PARCEL: usize = PARCEL_MESSAGES;

/// What the site answered.
#[derive(Debug)]
pub(crate) enum SiteAnswer {
    CheckedIn(Result<CheckIn, SiteError>),
    Delivered(Result<u64, SiteError>),
    Inventoried(Result<(), SiteError>),
}

enum Request {
    CheckIn(Asking),
    Deliver(Vec<Message>),
    /// What is on the machine with this root; what the site knows of it is kept there.
    Inventory(PathBuf, PathBuf),
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
                    Request::CheckIn(asking) => SiteAnswer::CheckedIn(site.check_in(&asking)),
                    Request::Deliver(messages) => SiteAnswer::Delivered(site.deliver(&messages)),
                    Request::Inventory(root, kept) => {
                        SiteAnswer::Inventoried(inventory::deliver(&mut *site, &root, &kept))
                    }
                }));
            }
        })?;
        Ok(Self { requests, is_busy: false })
    }

    /// Whether an answer is awaited.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    pub(crate) fn check_in(&mut self, asking: Asking) -> io::Result<()> {
        self.send(Request::CheckIn(asking))
    }

    /// Has what is on the machine found out and delivered.
    pub(crate) fn deliver_inventory(&mut self, root: PathBuf, kept: PathBuf) -> io::Result<()> {
        self.send(Request::Inventory(root, kept))
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
