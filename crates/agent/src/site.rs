//! What an agent asks of its site, whatever is in between.

mod folder;
mod server;

use std::{path::PathBuf, time::Duration};

use policy::Stamp;
use running::Message;
use serde::{Deserialize, Serialize};

pub use folder::FolderSite;
pub use server::{OpenSiteError, ServerSite};
pub(crate) use server::{Place, enroll, public};

/// A site, as an agent sees it. Calls block; they are made by one thread that does nothing else.
pub trait Site: Send {
    /// Asks for what is newer than what is known.
    fn check_in(&mut self, asking: &Asking) -> Result<CheckIn, SiteError>;
    /// Delivers messages, oldest first; answers the sequence number up to which they have been taken in durably. Those
    /// delivered before are taken in once.
    fn deliver(&mut self, messages: &[Message]) -> Result<u64, SiteError>;
    /// Delivers what is on this machine, whole or as what changed; whether it counts. If not, a whole one is asked for.
    fn deliver_inventory(&mut self, inventory: &[u8]) -> Result<bool, SiteError>;
    /// Whether it is of use to deliver that.
    fn wants_inventory(&self) -> bool;
    /// Where packages are, nearest first.
    fn points(&self) -> Vec<String>;
    /// A file that is replaced when there are news, so that nobody has to ask.
    fn watched(&self) -> Option<PathBuf>;
}

/// What an agent says of itself when it checks in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    /// The place of the document in force.
    pub known: Option<Stamp>,
    /// What its messages count in.
    pub series: u64,
    /// This start of the machine.
    pub boot: u64,
}

/// The answer to a check-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckIn {
    /// The policy document as it came, if it is newer than what is known: as sites write it (docs/formats/policy.md), or JSON by
    /// hand.
    pub document: Option<Vec<u8>>,
    /// The last message of a series the site has of this client: the series, its sequence number.
    pub heard: Option<(u64, u64)>,
    /// When to ask again.
    pub next: Option<Duration>,
}

/// The site did not do it. What is known stays in force.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum SiteError {
    /// It cannot be reached.
    #[error("the site at `{address}` does not answer: {reason}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// Why not.
        reason: String,
        /// When to ask again, if it says so.
        retry_after: Option<Duration>,
    },
    /// It answers, and does not do it.
    #[error("the site at `{address}` refuses: {reason}")]
    Refused {
        /// Where it is.
        address: String,
        /// Why.
        reason: String,
    },
}
