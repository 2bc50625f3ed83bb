//! A capture on disk, on every system.
//!
//! It survives being killed at any point, and a restart of the machine.
//!
//! - a [`Session`] is such a folder, which nobody else has open, [`Finished`] one whose change set is written;
//! - a [`Reference`] is the machine that is captured: walked, looked at, read. Each machine's own crate has one;
//! - [`begin_snapshots`] and [`finish_snapshots`] compare two looks at a reference; what else observes a run goes through
//!   [`Session::advance`] and [`Session::write_finished`].
//!
//! What the folder holds, and in which order it comes to be, is written in docs/formats/session.md.

mod content;
mod files;
mod kept;
mod observed;
mod platform;
mod reference;
mod session;
mod snapshots;

pub use content::{ContentError, Finished, Notes, read_changes_file};
pub use files::{
    BASELINE, ENCLOSURE, LAYERS, MERGED, OBSERVED, OUTCOME, SESSION_FORMAT, read_json, write_whole,
    write_with,
};
pub use observed::{Layer, LeftRunning, Opens, Outcome};
pub use reference::{Place, Reference, ScanError, Sink, Skip, SkipReason};
pub use session::{
    AdvanceError, BeginError, Beginning, ObserveError, OpenSessionError, Session, discard_damaged,
    now, sessions_in,
};
pub use snapshots::{
    Compared, KEEP, Look, Progress, SnapshotSettings, begin_snapshots, compare, finish_snapshots,
    hash_now, hash_of, snapshot_of, write_snapshot,
};
