use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Moment, PackageId, PlaceId, VersionNumber};

/// What a job does in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JobKind {
    /// Make the place hold the version, whole and verified.
    Complete,
    /// Make the place hold nothing of the package, and see that it does.
    Remove,
}

/// What a place was last seen to hold of a package.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Observed {
    /// Nobody looked, or the look failed. It is not empty.
    #[default]
    Unknown,
    /// Somebody looked, and there is nothing.
    Absent,
    /// A whole and verified copy.
    Holds(VersionNumber),
    /// A copy that does not verify.
    Damaged(VersionNumber),
}

/// Where a job stands. There is no plain "pending": every phase but `Running` says what is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// What is there is what should be: no job.
    #[default]
    Settled,
    /// Waits for the site's own copy of the version.
    Content,
    /// Waits for its turn at the place.
    Turn,
    /// Waits for a child that fetches by itself.
    Child,
    /// Waits after a failure of its own.
    Later,
    /// Waits for room.
    Space,
    /// The place cannot hold such content.
    Cannot,
    /// The site's own copy waits until every place below is clean.
    Below,
    /// Somebody works on it, under a lease.
    Running,
    /// All attempts are used up.
    Failed,
}

/// Why an attempt did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The place, or for the site's own copy its parent, did not answer in time.
    Unreachable,
    /// The lease ran out: the worker died or hangs.
    LeaseExpired,
    /// The disk was full after all.
    NoSpace {
        /// Bytes needed.
        needs: u64,
        /// Bytes there.
        has: u64,
    },
    /// A delta's base is not what it should be, or its result is not.
    BaseDamaged,
    /// What arrived does not verify.
    ContentDamaged,
    /// The parent does not have it, or no longer.
    Gone,
    /// A file at the place is in use.
    InUse,
    /// No rights there.
    Denied,
    /// Nobody signed it who may.
    Unsigned,
    /// The site's own store did not answer, or refused, or what this machine keeps of it has no room.
    OwnStore,
}

impl Cause {
    /// Whether it is the place that fails, and not this package in it.
    pub fn is_of_the_place(self) -> bool {
        matches!(self, Self::Unreachable)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("it does not answer"),
            Self::LeaseExpired => f.write_str("the worker was not heard of again"),
            Self::NoSpace { needs, has } => write!(f, "it needs {needs} bytes and has {has}"),
            Self::BaseDamaged => f.write_str("the delta's base is damaged"),
            Self::ContentDamaged => f.write_str("what arrived does not verify"),
            Self::Gone => f.write_str("the parent does not have it"),
            Self::InUse => f.write_str("a file there is in use"),
            Self::Denied => f.write_str("no rights there"),
            Self::Unsigned => f.write_str("nobody signed it who may"),
            Self::OwnStore => f.write_str("the site's own store does not answer, or refuses"),
        }
    }
}

/// The right to act for one job: a later lease has a greater fence, and places refuse lesser ones.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Fence {
    /// How often the site had been restored.
    pub epoch: u32,
    /// Rises with each lease of the site, whatever it is for.
    pub number: u64,
}

/// Ways to complete a copy that were tried and did not work; one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Avoid {
    /// No delta from a base.
    pub delta: bool,
    /// No chunks from what is there.
    pub chunks: bool,
}

/// One attempt at a job, to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// What to do.
    pub kind: JobKind,
    /// Of which package.
    pub package: PackageId,
    /// Which version: the newest wanted, or for removals the newest known.
    pub version: VersionNumber,
    /// Where.
    pub place: PlaceId,
    /// With which right.
    pub fence: Fence,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// By when there is progress or it counts as failed.
    pub until: Moment,
    /// What did not work before.
    pub avoid: Avoid,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It came to its end, and this is what was seen at the place *afterwards*.
    Seen(Observed),
    /// It did not.
    Failed(Cause),
}

/// Why a copy is not what it should be, since when, and what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// What is to be done.
    pub kind: JobKind,
    /// What is waited for.
    pub reason: Reason,
    /// Since when, on the site's steady clock.
    pub since: Moment,
    /// When it goes on by itself, if a clock ends it.
    pub until: Option<Moment>,
    /// Attempts so far.
    pub attempts: u32,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Reason {
    /// The site's own copy of the version.
    Content(VersionNumber),
    /// Its turn: others at the same place come first.
    Turn,
    /// The child, which fetches by itself.
    Child,
    /// The next attempt.
    Retry(Option<Cause>),
    /// The place to answer; one probe goes there at a time.
    Unreachable,
    /// Room.
    Space {
        /// Bytes needed.
        needs: u64,
        /// Bytes there.
        has: u64,
    },
    /// A place that can hold such content.
    Cannot(crate::Features),
    /// The places below to be clean.
    Below,
    /// The worker that has it.
    Worker,
    /// A decision: all attempts are used up.
    Failed(Option<Cause>),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(version) => write!(f, "waits for content {version}"),
            Self::Turn => f.write_str("waits for its turn"),
            Self::Child => f.write_str("waits for the child to fetch it"),
            Self::Retry(Some(cause)) => write!(f, "waits for the next attempt: {cause}"),
            Self::Retry(None) => f.write_str("waits for the next attempt"),
            Self::Unreachable => f.write_str("waits for the place to answer"),
            Self::Space { needs, has } => {
                write!(f, "waits for room: needs {needs} bytes, has {has}")
            }
            Self::Cannot(missing) => write!(f, "the place lacks features {:#x}", missing.0),
            Self::Below => f.write_str("waits until every place below is clean"),
            Self::Worker => f.write_str("being worked on"),
            Self::Failed(Some(cause)) => {
                write!(f, "gave up: {cause}; `packhorse site retry`")
            }
            Self::Failed(None) => f.write_str("gave up; `packhorse site retry`"),
        }
    }
}
