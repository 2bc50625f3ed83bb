//! Capture: what an installer did, as one normalised change set, and what it means as a script.
//!
//! - a [`Record`] is one path as a scan saw it: a [`Node`] and the [`Stamp`] that betrays a touch;
//! - a [`ChangeSet`] is the difference of two machines: a [`Change`] for every path that differs;
//! - [`judge`] decides between unchanged, touched and changed; both observers, overlay and
//!   snapshots, end there, and so in the same change set for the same run;
//! - [`Rules`] say which changes are noise; recognisers turn others into steps that say what they
//!   mean; [`Facts`] say what must not leave the reference machine;
//! - a [`Draft`] is the script, the payload and the [`Report`] that come out;
//! - [`wrap`](wrap()) carries an installer that behaves well as it is: told by its [`Maker`], known by its [`Listing`].
//!
//! **Invariant:** nothing is dropped from a change set, and nothing is dropped silently from a draft:
//! every change is carried, understood or left out, and the report says which and why.

#![forbid(unsafe_code)]

mod captured;
mod change_file;
mod change_set;
mod diff;
mod disagree;
mod facts;
mod generalise;
mod idle;
mod judge;
mod leaks;
mod names;
mod project;
mod recognise;
mod record;
mod registry;
mod report;
mod rules;
mod search;
mod session;
mod snapshot;
#[cfg(test)]
mod testing;
mod windows;
mod wrap;

pub use captured::{CapturedFiles, Side, TEXT_LIMIT};
pub use change_file::{CHANGES_FORMAT, ReadChangesError, read_changes, write_changes};
pub(crate) use change_set::same_content;
pub use change_set::{Change, ChangeSet, Touch};
pub use diff::{Contents, Diff, Sides, without_unknown};
pub use disagree::{Disagreement, disagreements};
pub use facts::ReadFactsError;
pub use idle::propose;
pub use judge::{BothNames, Verdict, judge};
pub use leaks::{Certainty, Item, Leak, LeakScanner, Suspect, check};
pub use names::Names;
pub use project::{Draft, DraftError, Options, Payload, Prefix, TouchedFiles, draft};
pub use record::{ACL, DEFAULT_ACL, Node, Record, Stamp};
pub use registry::{Hive, ReadHiveError, ReadRegistryError, Registry, SettingChange};
pub use report::{
    Counts, Dependency, Excluded, ReadReportError, Remark, Report, Touched, Understood, Unmatched,
};
pub use rules::{
    Class, LINUX_RULES, Rule, RuleChange, RuleKind, RuleProblem, Rules, RulesError, Verdicts,
    WINDOWS_RULES, parse_rules,
};
pub use session::{Event, Facts, Illegal, JournalLine, Observer, State, UserFact};
pub use snapshot::{
    ReadSnapshotError, SNAPSHOT_VERSION, SnapshotEnd, SnapshotHeader, SnapshotReader,
    SnapshotWriter,
};
pub use windows::add_registry;
pub use wrap::{Listing, Maker, Msi, WrapError, Wrapping, wrap};
