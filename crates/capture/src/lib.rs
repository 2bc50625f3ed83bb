//! Capture: what an installer did, as one normalised change set, and what it means as a script.
//!
//! - a [`ChangeSet`] is the difference of two machines: a [`Change`] for every path that differs;
//! - both observers, overlay and snapshots, end in the same change set for the same run;
//! - [`Rules`] say which changes are noise; recognisers turn others into steps that say what they
//!   mean; [`MachineFacts`] say what must not leave the reference machine;
//! - a [`Draft`] is the script, the payload and the [`Report`] that come out.
//!
//! **Invariant:** nothing is dropped in a change set, and nothing is dropped silently from a draft:
//! every change is carried, understood or left out, and the report says which and why.

#![forbid(unsafe_code)]

mod change_set;
mod contents;
mod facts;
mod generalise;
mod idle;
mod leaks;
mod project;
mod recognise;
mod report;
mod rules;
mod scan;
#[cfg(test)]
mod testing;
pub mod trigger;

pub(crate) use change_set::same_content;
pub use change_set::{Change, ChangeSet, Touch};
pub use contents::{Contents, Side, TEXT_LIMIT};
pub use facts::{MachineFacts, ReadFactsError, UserFact};
pub use idle::propose;
pub use leaks::{Certainty, Item, Leak, LeakScanner, Suspect, check};
pub use project::{Draft, DraftError, Options, Payload, Prefix, TouchedFiles, draft};
pub use report::{
    Counts, Dependency, Excluded, ReadReportError, Remark, Report, Touched, Understood, Unmatched,
};
pub use rules::{
    Class, LINUX_RULES, Rule, RuleChange, RuleKind, RuleProblem, Rules, RulesError, Verdicts,
    parse_rules,
};
