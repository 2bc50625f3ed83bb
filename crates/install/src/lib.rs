//! A package on a machine: installed, updated, rolled back, uninstalled, verified.
//!
//! - a [`Payload`] is a package that can be read front to back;
//! - [`install`] decides, against what it finds, one intent for every path, and performs them as one
//!   [`change::Transaction`]; the [`Receipt`] says what came of it;
//! - [`uninstall`] is polite: it takes back what is still as we left it and reports the rest;
//!   [`roll_back`] is exact.
//!
//! **Invariant:** every decision is made on values the [`change::Machine`] answered; memory does not grow
//! with the payload.

#![forbid(unsafe_code)]

mod accounts;
mod dry_run;
mod edits;
mod effects;
mod error;
mod evaluate;
mod facts;
mod for_users;
mod glob;
mod install;
mod installed;
mod kept;
mod libraries;
mod payload;
mod polite;
mod receipt;
mod roll_back;
mod settings;
mod space;
mod spool;
mod state;
mod trees;
mod triggers;
mod uninstall;
mod verify;
mod work;

pub use accounts::{Accounts, LineChange, UnknownAccount};
pub use edits::FileEdit;
pub use error::InstallError;
pub use evaluate::{EvaluateError, evaluate};
pub use facts::{Facts, Profile, Progress, Silent, Stage};
pub use install::{Counts, Options, Outcome, Plan, install, plan};
pub use installed::{Installed, installed};
pub use payload::{Payload, PayloadError, Pour, Stop};
pub use polite::Leftover;
pub use receipt::{
    Before, Claim, EditClaim, Output, RECEIPT_FORMAT, Ran, ReadReceiptError, Receipt,
    ReceiptHeader, ReceiptRecord, SettingClaim, Stands,
};
pub use roll_back::{RollBackError, RolledBack, roll_back};
pub use state::{close_state, open_state, recover, state_paths};
pub use uninstall::{Uninstalled, uninstall};
pub use verify::{Difference, DifferenceKind, verify};
