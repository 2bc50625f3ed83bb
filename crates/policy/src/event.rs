use model::{Hash, PackageName};
use serde::Serialize;

use crate::{
    Exchange, Features, Feed, Fence, GroupName, Observed, Outcome, PackageId, PlaceId, PointName,
    Reach, SiteCode, VersionNumber, Work,
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The site itself took in content of its own package; its copy is whole and verified.
    Publish {
        package: PackageName,
        manifest: Hash,
        bytes: u64,
        critical: Features,
        optional: Features,
    },
    /// The package is to be removed everywhere.
    Retire(PackageName),
    /// These points are to hold the package.
    Assign { package: PackageName, points: Vec<PointName> },
    /// These are not, any longer.
    Unassign { package: PackageName, points: Vec<PointName> },
    /// Every point of the group is to hold the package, now and later.
    AssignGroup { package: PackageName, group: GroupName },
    /// Not any longer.
    UnassignGroup { package: PackageName, group: GroupName },
    /// The point belongs to the group.
    Join { group: GroupName, point: PointName },
    /// Not any longer.
    Leave { group: GroupName, point: PointName },
    /// Greater goes first, at every place.
    Prioritise { package: PackageName, priority: u8 },
    /// A point of this site.
    AddPoint { name: Box<str>, features: Features },
    /// It is to go: cleaned first, or with `force` forgotten as it is.
    RemovePoint { name: Box<str>, force: bool },
    /// This site is a child from now on, of this parent.
    Attach(SiteCode),
    /// A child of this site.
    AddChild { code: SiteCode, reach: Reach },
    /// A site somewhere below a child.
    AddBelow { child: SiteCode, code: SiteCode },
    /// The child is no longer ours.
    RemoveChild(SiteCode),
    /// An attempt ended.
    Finished { place: PlaceId, package: PackageId, fence: Fence, outcome: Outcome },
    /// An attempt goes on.
    Progress { place: PlaceId, package: PackageId, fence: Fence },
    /// Somebody looked: a scrub, an inventory.
    Looked { place: PlaceId, package: PackageId, observed: Observed },
    /// Somebody looked and found a copy of ours which the tables may not know: after a restore, most of all.
    Found { place: PlaceId, package: PackageName, version: VersionNumber },
    /// Room at a place, in bytes, reserve left out; `u64::MAX`, where it cannot be measured.
    Space { place: PlaceId, free: u64 },
    /// A place answers.
    Reached(PlaceId),
    /// An operator is tired of waiting.
    RetryNow(RetryScope),
    /// Whoever worked for this site is gone: its only process has just started. Leases need not run out.
    WorkersGone,
    /// The moment [`crate::Site::next_wake`] named has come.
    Timer,
    /// The site's tables come from a backup. `above` is the greatest epoch noted outside of them.
    Restored { above: u32 },
    /// A child asks and reports.
    FromChild { from: SiteCode, exchange: Exchange },
    /// The parent answers.
    FromParent { from: SiteCode, feed: Feed },
}

/// For what retries are to happen at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryScope {
    /// One job.
    One(PlaceId, PackageId),
    /// All jobs of a place.
    Place(PlaceId),
    /// All jobs.
    All,
}

/// Something to be done, after everything a [`Effect::Keep`] names is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// This row changed; write it in the event's transaction.
    Keep(Key),
    /// Begin an attempt.
    Start(Work),
    /// End an attempt that is of no use any more. It has lost its right already.
    Cancel { place: PlaceId, package: PackageId, fence: Fence },
    /// Find out how much room there is.
    Measure(PlaceId),
    /// Answer the child's long poll: there is news.
    Wake(SiteCode),
    /// Ask the parent and report to it.
    Ask,
    /// Answer a child.
    Answer { child: SiteCode, feed: Feed },
    /// Own copies below this version are needed no longer.
    Collect { package: PackageId, below: VersionNumber },
    /// Nothing of the package is wanted here any more: pieces that arrived may go.
    Discard(PackageName),
    /// Set aside what came, with its origin and the reason.
    Quarantine { origin: SiteCode, why: Quarantined },
    /// For the status log.
    Tell(Note),
}

/// A row of the site's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The site's own row.
    Site,
    /// A package's.
    Package(PackageId),
    /// A place's.
    Place(PlaceId),
    /// What a place holds and should hold of a package.
    Copy(PlaceId, PackageId),
}

/// What somebody looking at the log should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Note {
    /// Work on an older version ended because of a newer one.
    Superseded { place: PlaceId, package: PackageId, by: VersionNumber },
    /// A late word about something that is not ours any more; dropped once.
    Late { place: PlaceId, package: PackageId },
    /// A job used up its attempts.
    GaveUp { place: PlaceId, package: PackageId },
    /// A place went without being cleaned.
    LeftBehind { place: PlaceId, copies: u32 },
    /// A place is gone, seen clean.
    Clean(PlaceId),
    /// The peer was restored from a backup: everything is compared again.
    Resynchronised(SiteCode),
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Quarantined {
    /// Nobody we know.
    #[error("it comes from a site that is neither parent nor child")]
    Stranger,
    /// It does not add up.
    #[error("its sequence numbers contradict each other")]
    BadStamps,
    /// A target outside the receiver's tree.
    #[error("it names a point that is not below this site")]
    ForeignPoint,
    /// A site that is above, or below another child.
    #[error(
        "it says that a site is below it which is not: two sites have one code, or the tree has a ring"
    )]
    TwiceInTheTree,
    /// Content without length or version.
    #[error("it announces a version without number or content")]
    EmptyVersion,
}

/// An event that means nothing here; the tables are as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such package.
    #[error("no package `{0}` here; `packhorse site status` lists them")]
    NoPackage(PackageName),
    /// No such point, child or place.
    #[error(
        "no place `{0}` here; `packhorse site dp list` and `packhorse site child list` list them"
    )]
    NoPlace(String),
    /// Taken already.
    #[error("`{0}` exists already")]
    Exists(String),
    /// Another lease came after.
    #[error("the lease is over: its fence is {given:?}, and {current:?} was given since")]
    StaleFence { given: Fence, current: Fence },
    /// A tree has no rings.
    #[error("`{0}` would be above and below this site: a tree has no rings")]
    Ring(SiteCode),
    /// One parent is enough.
    #[error("`{0}` is the parent of this site already")]
    HasParent(SiteCode),
    /// Only the publishing site may.
    #[error("`{0}` comes from the parent site: change it there")]
    NotOurs(PackageName),
}
