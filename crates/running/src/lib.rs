//! What becomes of a run: started at most once, never again after it succeeded, and told once.
//!
//! - an [`Order`] is something to run once, with all that deciding needs of it;
//! - a [`Run`] is what became of an order so far; [`Run::next`] leads from one event to the next, and says what to do;
//! - a [`Book`] holds every run and every [`Message`] that waits to be delivered, and is what a journal of [`Entry`]s
//!   comes to;
//! - an [`Upgrade`] leads from one version of the agent to another, or back.
//!
//! **Invariant:** no disk, clock, process or randomness. What an event leads to is durable before any of its effects is
//! carried out; then a crash anywhere is one more event.

#![forbid(unsafe_code)]

mod book;
mod judge;
mod message;
mod parcel;
mod repeat;
mod run;
mod stage;
mod traces;
mod upgrade;
mod words;

pub use book::{Book, Entry, Hands, Happened, Refused};
pub use message::{Message, Said, Word};
pub use parcel::{
    PARCEL_FORMAT, PARCEL_MESSAGES, Parcel, ReadParcelError, Unreadable, write_parcel,
};
pub use repeat::Repeat;
pub use run::{Effect, Event, Illegal, Order, Run};
pub use stage::{Cause, End, Found, Label, Outcome, Question, Seen, Stage};
pub use traces::{Began, Traces};
pub use upgrade::{Act, Direction, Edition, Proof, Upgrade, UpgradeEvent, UpgradeStage, Verdict};
pub use words::{BootId, Now, Pauses, Process, Rerun, RunId};
