//! What is deployed to whom and what is due when, as values: documents, windows, collections, rollouts.
//!
//! Nouns that carry the crate:
//!
//! - a [`PolicyDocument`] is all one client is told: its [`Deployment`]s, maintenance [`Window`]s, settings.
//!
//! **Invariant:** no clock, disk, network, randomness or process. Times, zones and dice come in as arguments;
//! what is unknown is never taken for *no*.

#![forbid(unsafe_code)]

mod document;
mod due;
mod exit;
mod facts;
mod graph;
mod history;
mod opening;
mod program;
mod recurrence;
mod settings;
mod standing;
mod target;
mod when;
mod window;
mod wire;
mod words;

pub use document::{
    FOREIGN_HINT, ItemKind, POLICY_FORMAT, PolicyDocument, Quarantined, ReadDocumentError, Stale,
};
pub use due::{Agenda, Item, Question, RestartOwed, decide};
pub use exit::{ExitFamily, ExitMap, Meaning, Said};
pub use facts::{ClientFacts, Memory, Remembered, Session, Truth, remember};
pub use history::{History, Lost, RunKey, RunKind, RunOutcome, RunRecord};
pub use opening::{Fit, NeverFits, Opening, Openness, Stretch};
pub use program::{Action, CommandLine, PackageAction, PackageRef, Program, RestartRule, RunAs};
pub use recurrence::{Cadence, InvalidRecurrence, MonthDay, Occurrence, Recurrence};
pub use settings::ClientSettings;
pub use standing::{DoneBy, Impossible, Standing, Undecided, Wait, WaitFor};
pub use target::{
    Audience, Deployment, Gate, GateCause, InvalidDeployment, Presence, Purpose, RetryLimits,
    Supersedence, Trigger, WindowRule, Withdrawal,
};
pub use when::{UnknownZone, When, Zone, Zones, first_instant};
pub use window::{InvalidWindow, Window};
pub use words::{ClientId, DeploymentId, InvalidClientId, InvalidDeploymentId};
