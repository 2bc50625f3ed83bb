//! The change engine: what is done to a machine, written down before it is done, and the way back.
//!
//! - a [`Machine`] is anything with files and programs: a live system, a root folder, a simulated disk;
//! - an [`Intent`] is one decided change to one path, with what its undoing needs;
//! - a [`Transaction`] stages, switches and commits batches of intents under a journal;
//!   [`recover`] ends what a crash interrupted: back to the old machine, or on to the new one.
//!
//! **Invariant:** nothing here reads a clock, a disk or a network. The machine is always an argument.
//! No path is renamed, replaced or removed before the intent to do so would survive a power cut.

#![forbid(unsafe_code)]

pub mod edit;
mod frame;
mod intent;
mod journal;
mod machine;
mod raw;
mod recover;
mod transaction;
mod tree;

pub use frame::{Damaged, FrameReader, frame};
pub use intent::{Intent, Saved, Undo};
pub use journal::{JOURNAL_FORMAT, JournalRecord, Operation, TransactionHeader};
pub use machine::{
    Action, CommandEnd, CommandRequest, FileSink, Identity, Machine, MachineError, Observe,
    read_part,
};
pub use raw::{Found, Node, RawMeta};
pub use recover::{RecoverError, Recovered, is_rolling_back, recover, roll_back};
pub use transaction::{
    Paths, Staging, Transaction, TransactionError, saved_name_as, saved_name_of, staged_name,
};
pub use tree::keep_tree;
