//! Capture: what an installer did, as one normalised change set, whoever observed it.
//!
//! - a [`ChangeSet`] is the difference of two machines: a [`Change`] for every path that differs;
//! - both observers, overlay and snapshots, end in the same change set for the same run.
//!
//! **Invariant:** nothing is dropped here. Noise rules mark changes later, and the report lists them.

#![forbid(unsafe_code)]

mod change_set;

pub use change_set::{Change, ChangeSet, Touch};
