//! What is due on which client when, and why not yet, as values.
//!
//! Nouns that carry the crate:
//!
//! - a [`PolicyDocument`] is all one client is told: its [`Deployment`]s, maintenance [`Window`]s, settings;
//! - an [`Agenda`] is what follows from it on a client as it is ([`decide`]): what starts now, in what [`Standing`]
//!   everything else is, and the one instant at which to look again;
//! - [`Collections`] say who belongs together, by [`Rule`]s over [`Inventory`]s, kept right client by client;
//! - a [`Rollout`] brings a deployment to its clients in waves, and halts by itself;
//! - a [`Pace`] is how a client checks in, so that all of them together never do.
//!
//! **Invariant:** no clock, disk, network, randomness or process. Times, zones and dice come in as arguments;
//! what is unknown is never taken for *no*.

#![forbid(unsafe_code)]

mod author;
mod cadence;
mod check_in;
#[cfg(feature = "collections")]
mod collection;
mod document;
mod due;
mod exit;
mod facts;
mod graph;
mod history;
#[cfg(feature = "collections")]
mod inventories;
mod inventory;
mod line;
mod opening;
mod program;
mod recurrence;
mod rollout;
#[cfg(feature = "collections")]
mod rule;
mod settings;
mod standing;
mod target;
mod when;
mod window;
mod wire;
mod words;

pub use author::{Finding, review};
pub use cadence::InvalidCadence;
pub use check_in::{Pace, PaceEvent};
#[cfg(feature = "collections")]
pub use collection::{
    CollectionSpec, Collections, Membership, MembershipChange, OtherLayout, Preview,
    RemoveCollectionError, SaveCollectionError, Size, Why,
};
pub use document::{
    FOREIGN_HINT, ItemKind, POLICY_FORMAT, PolicyDocument, Quarantined, ReadDocumentError, Stale,
    content_of,
};
pub use due::{Agenda, Item, Question, RestartOwed, decide};
pub use exit::{ExitFamily, ExitMap, Meaning, Said};
pub use facts::{ClientFacts, Memory, Remembered, Session, Truth, remember};
pub use history::{History, Lost, RunKey, RunKind, RunOutcome, RunRecord};
#[cfg(feature = "collections")]
pub use inventories::Inventories;
pub use inventory::{
    INVENTORY_FORMAT, Inventory, InventoryDelta, InventoryKey, InventoryPart, InventoryReport,
    InventoryValue, MachineField, OtherBase, ReadInventoryError, normal,
};
pub use line::{
    CLIENT_LINE_FORMAT, ClientEnrolled, ClientEnrolment, ClientToken, ClientWaiting,
    EnrolmentAnswer, InventoryTaken, LONGEST_CLIENT_NAME, POLICY_PURPOSE, Renewal, Taken,
    client_host_name, client_of_host_name, site_host_name,
};
pub use opening::{Fit, NeverFits, Opening, Openness, Windows};
pub use program::{Action, CommandLine, PackageAction, PackageRef, Program, RestartRule, RunAs};
pub use recurrence::{Cadence, InvalidRecurrence, MonthDay, Occurrence, Recurrence};
pub use rollout::{
    ClientResult, Decided, HaltCause, HaltRule, InvalidRollout, Offer, RetryWhom, Rollout,
    RolloutCourse, RolloutEffect, RolloutEvent, RolloutNote, RolloutPlan, RolloutRefused,
    RolloutStatus, RolloutTally, Share, SiteNow, Wave, WaveGate, Whose, place,
};
#[cfg(feature = "collections")]
pub use rule::{InvalidRule, Read, Rule};
pub use settings::ClientSettings;
pub use standing::{DoneBy, Impossible, Standing, Undecided, Wait, WaitFor};
pub use target::{
    Audience, Deployment, Gate, GateCause, InvalidDeployment, Presence, Purpose, RetryLimits,
    Supersedence, Trigger, WindowRule, Withdrawal,
};
pub use when::{UnknownZone, When, Zone, Zones, first_instant};
pub use window::{InvalidWindow, Window};
pub use words::{ClientId, DeploymentId, InvalidClientId, InvalidDeploymentId};
