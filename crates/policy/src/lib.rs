//! What a site decides, as values: which copies must exist, who works on which, when, and in what way.
//!
//! Four nouns carry the crate:
//!
//! - a [`Site`] holds two tables: what should exist (packages × the places that want them) and what was
//!   last seen to exist; a job is their difference, computed again with each event;
//! - an [`Event`] is something that happened, an [`Effect`] something to be done; [`Site::next`] leads from
//!   the one to the other;
//! - a [`Place`] is where a copy can be: the site's own store, a distribution point, a child site;
//! - a [`Sender`] says who may receive how many bytes now, within each address's schedule and rates.
//!
//! **Invariant:** no disk, clock, network or randomness. Moments are the site's own steady clock, dice come in
//! with each event, and messages between sites carry no times at all. What an event costs depends on the
//! copies it changes, never on the number of sites.

#![forbid(unsafe_code)]

mod courier;
mod desired;
mod despool;
mod dispatch;
mod event;
mod feed;
mod job;
#[cfg(feature = "mutations")]
mod mutation;
mod reconcile;
mod retry;
mod rows;
mod schedule;
mod scrub;
mod sender;
mod site;
mod tree;
mod words;

pub use courier::CourierSet;
pub use despool::{
    Held, LINE_IS_KNOWN, Offer, Pace, Switch, Way, choose_way, is_made_here, switch,
};
pub use event::{Effect, Event, Key, Note, Quarantined, Refused, RetryScope};
pub use feed::{Exchange, Feed, FeedEntry, Report, ReportEntry, Tally};
pub use job::{Avoid, Cause, Fence, JobKind, Observed, Outcome, Phase, Reason, Waiting, Work};
#[cfg(feature = "mutations")]
pub use mutation::Mutation;
pub use retry::{Breaker, RetryRule};
pub use rows::{CopyRow, JobRow, PackageRow, PlaceRow, Row, RowsError, SiteRow};
pub use schedule::{Hours, InvalidSchedule, Schedule};
pub use scrub::{Scrub, Source, repair_order};
pub use sender::{Address, Grant, Hold, Sender, StreamId};
pub use site::{Cell, Package, Place, PlaceKind, Reach, Settings, Site};
pub use words::{
    ContentVersion, Features, GroupName, InvalidCode, Moment, Now, PackageId, PlaceId, PointName,
    SiteCode, Stamp, VersionNumber,
};
