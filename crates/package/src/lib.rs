//! The package: a script's compiled, immutable, content-addressed form.
//!
//! - a [`Header`] says what the package is and what its steps are, in closed form;
//! - a [`Record`] is one entry of the payload: where it goes, its metadata, its content as [`Chunk`]s.
//!
//! **Invariant:** nothing here touches a disk. Readers and writers are arguments.

#![forbid(unsafe_code)]

mod header;
mod record;

pub use header::{Action, Header, Step, Totals, Tree};
pub use record::{Chunk, FileContent, Node, Record, Substitution};
