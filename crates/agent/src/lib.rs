//! The `packhorse-agent` program: what is deployed to a machine is run there, once, and told.
//!
//! - an [`Agent`] is one loop that sleeps until something happens; what it decides is `running`'s and `deployment`'s;
//! - a [`Journal`] makes every decision durable, twice, before anything is done by it;
//! - an [`Attempt`] is a folder in which a program is allowed to begin, begins, and leaves word of its end, whatever becomes of the
//!   agent meanwhile;
//! - a [`Site`] is all the agent knows of the world outside; who calls one, or reads a distribution point, is a process without rights.
//!
//! **Invariant:** nothing ticks. An agent with nothing to do is not woken before its one timer.

mod agent;
mod attempt;
mod bell;
mod by_hand;
mod caller;
mod clock;
mod command;
mod content;
mod control;
mod detect;
mod durable;
mod enrol;
mod identity;
mod inventory;
mod journal;
mod lock;
mod nearest;
mod order;
mod output;
mod package_work;
mod platform;
mod site;
mod site_line;
mod state;
mod upgrade;
mod word;

pub use agent::{Agent, AgentError, Settings, Status};
pub use attempt::{Attempt, Claim, Ending, Exit, RunAccount, Stop, Work};
pub use command::main;
pub use control::{Request, ask};
pub use identity::{Identity, IdentityError, identity};
pub use journal::{History, Journal, JournalError, look};
pub use lock::{Only, TakeError, become_only};
pub use platform::{
    launch::Keeper,
    others::{Busy, busy, wait},
};
pub use site::{Asking, CheckIn, FolderSite, OpenSiteError, ServerSite, Site, SiteError};
pub use state::StateFolder;
pub use upgrade::AdoptError;
