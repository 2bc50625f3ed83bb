//! Capture: what an installer did, as one normalised change set, whoever observed it.
//!
//! - a [`Record`] is one path as a scan saw it: a [`Node`] and the [`Stamp`] that betrays a touch;
//! - a [`ChangeSet`] is the difference of two machines: a [`Change`] for every path that differs;
//! - [`judge`] decides between unchanged, touched and changed; both observers, overlay and
//!   snapshots, end there, and so in the same change set for the same run.
//!
//! **Invariant:** nothing is dropped here. Noise rules mark changes later, and the report lists them.

#![forbid(unsafe_code)]

mod change_file;
mod change_set;
mod diff;
mod disagree;
mod judge;
mod names;
mod record;
mod session;
mod snapshot;

pub use change_file::{CHANGES_FORMAT, ReadChangesError, read_changes, write_changes};
pub use change_set::{Change, ChangeSet, Touch};
pub use diff::{Contents, Diff, Sides, without_unknown};
pub use disagree::{Disagreement, disagreements};
pub use judge::{BothNames, Verdict, judge};
pub use names::Names;
pub use record::{ACL, DEFAULT_ACL, Node, Record, Stamp};
pub use session::{Event, Facts, Illegal, JournalLine, Observer, State, UserFact};
pub use snapshot::{
    ReadSnapshotError, SNAPSHOT_VERSION, SnapshotEnd, SnapshotHeader, SnapshotReader,
    SnapshotWriter,
};
