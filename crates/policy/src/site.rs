use std::collections::{BTreeMap, BTreeSet};

use model::PackageName;
use serde::{Deserialize, Serialize};

use crate::{
    Avoid, Breaker, Cause, ContentVersion, Features, GroupName, Moment, Observed, PackageId, Phase,
    PlaceId, PointName, RetryRule, SiteCode, Stamp, Tally, VersionNumber, feed::Changes,
};

/// What an operator may set. Times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Pauses and attempts.
    pub retry: RetryRule,
    /// A worker that shows no progress for so long has lost its job.
    pub lease: u64,
    /// Attempts under way at the same time, all places together.
    pub slots: u32,
    /// Attempts under way at one place.
    pub slots_per_place: u32,
    /// Of `slots`, how many may be given to places that did not answer last time.
    pub probes: u32,
    /// A fault of the ancestor, for the simulation's own tests.
    #[cfg(feature = "mutations")]
    pub mutation: Option<crate::Mutation>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry: RetryRule { first: 5_000, longest: 900_000, attempts: 1_000 },
            lease: 120_000,
            slots: 64,
            slots_per_place: 2,
            probes: 1,
            #[cfg(feature = "mutations")]
            mutation: None,
        }
    }
}

/// The tables of one site, and their indexes.
#[derive(Clone, Debug)]
pub struct Site {
    pub(crate) code: SiteCode,
    pub(crate) parent: Option<SiteCode>,
    pub(crate) epoch: u32,
    pub(crate) settings: Settings,
    pub(crate) packages: BTreeMap<PackageId, Package>,
    pub(crate) names: BTreeMap<PackageName, PackageId>,
    pub(crate) next_package: u32,
    /// The last numbers of packages that were retired and forgotten: none is given twice.
    pub(crate) retired: BTreeMap<PackageName, VersionNumber>,
    pub(crate) places: BTreeMap<PlaceId, Place>,
    pub(crate) next_place: u32,
    pub(crate) points: BTreeMap<Box<str>, PlaceId>,
    /// Every site below, and the child it is reached through.
    pub(crate) routes: BTreeMap<SiteCode, PlaceId>,
    pub(crate) groups: BTreeMap<GroupName, Group>,
    /// What children are told.
    pub(crate) feed: Changes,
    /// What the parent is told.
    pub(crate) reports: Changes,
    /// Where in `reports` the sites below changed last.
    pub(crate) said_below: u64,
    /// How far the parent's word has been heard.
    pub(crate) seen: Stamp,
    /// How far the parent has heard ours.
    pub(crate) heard: Stamp,
    pub(crate) runnable: BTreeSet<(u64, PlaceId)>,
    pub(crate) probes: BTreeSet<(u64, PlaceId)>,
    pub(crate) due: BTreeSet<(Moment, PlaceId)>,
    /// The latest fence given.
    pub(crate) fence: u64,
    pub(crate) running: u32,
    pub(crate) probing: u32,
    pub(crate) turn: u64,
    pub(crate) live: u64,
}

/// A set of points, and the packages its points are to hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) points: BTreeSet<PointName>,
    pub(crate) packages: BTreeSet<PackageId>,
}

/// One package at this site.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name, the same at every site.
    pub name: PackageName,
    /// The newest version; none once the package is retired and this is its tombstone.
    pub newest: Option<ContentVersion>,
    /// The number of the newest version ever, retired or not.
    pub number: VersionNumber,
    /// Whether it is published here, and not heard of from the parent.
    pub ours: bool,
    /// Greater goes first.
    pub priority: u8,
    /// Points that hold it by name.
    pub targets: BTreeSet<PointName>,
    /// Groups whose points hold it.
    pub groups: BTreeSet<GroupName>,
    /// Where there is a copy, or should be, or still may be.
    pub places: BTreeSet<PlaceId>,
    /// Copies wanted, done, failed, and not yet gone.
    pub tally: Tally,
    /// Attempts under way that read the site's own copy, by version.
    pub(crate) readers: BTreeMap<VersionNumber, u32>,
    /// Versions below this were given up for collection.
    pub(crate) collected: VersionNumber,
}

/// Somewhere a copy can be.
#[derive(Clone, Debug)]
pub struct Place {
    /// Which sort.
    pub kind: PlaceKind,
    /// Being cleaned, then forgotten.
    pub leaving: bool,
    /// What it can hold.
    pub features: Features,
    /// Free bytes when last measured, reserve left out.
    pub free: Option<u64>,
    /// Bytes promised to attempts under way.
    pub reserved: u64,
    /// Whether it answers.
    pub breaker: Breaker,
    pub(crate) cells: Vec<(PackageId, Cell)>,
    pub(crate) ready: BTreeSet<(u8, u32, PackageId)>,
    pub(crate) later: BTreeSet<(Moment, PackageId)>,
    pub(crate) short: BTreeSet<PackageId>,
    pub(crate) running: BTreeSet<PackageId>,
    pub(crate) probe: Option<PackageId>,
    pub(crate) ticket: u32,
    pub(crate) offered: Option<(bool, u64)>,
    pub(crate) due: Option<Moment>,
}

/// Which sort of place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlaceKind {
    /// The site's own store.
    Own,
    /// A distribution point of the site.
    Point(PointName),
    /// A child site.
    Child {
        /// Its code.
        code: SiteCode,
        /// Who connects.
        reach: Reach,
        /// How far its word has been heard.
        heard: Stamp,
    },
}

/// Who connects to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// The child fetches.
    Pull,
    /// The parent sends, because the child cannot connect out.
    Push,
}

/// What a place should hold of a package, and what it was seen to hold.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// Targets at or behind this place.
    pub wanted: u32,
    /// The fence of the latest lease; 0 if nobody has the right to act.
    pub fence: u64,
    /// What was last seen.
    pub observed: Observed,
    /// Where the job stands.
    pub phase: Phase,
    /// Since when.
    pub since: Moment,
    pub(crate) ticket: u32,
    pub(crate) note: Option<Box<Trouble>>,
}

/// What only jobs that were tried have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// The version the job is for.
    pub(crate) version: VersionNumber,
    pub(crate) removes: bool,
    pub(crate) attempts: u32,
    pub(crate) cause: Option<Cause>,
    pub(crate) avoid: Avoid,
    /// When the pause or the lease ends.
    pub(crate) until: Moment,
    pub(crate) reserved: u64,
    /// Whoever was removing the copy may still be at it: a look proves nothing until a later lease has ended.
    #[serde(default)]
    pub(crate) is_in_doubt: bool,
    /// What a child said of the places below it.
    pub(crate) below: Option<(Stamp, Tally, VersionNumber)>,
}

impl Place {
    pub(crate) fn new(kind: PlaceKind, features: Features) -> Self {
        Self {
            kind,
            leaving: false,
            features,
            free: None,
            reserved: 0,
            breaker: Breaker::default(),
            cells: Vec::new(),
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            short: BTreeSet::new(),
            running: BTreeSet::new(),
            probe: None,
            ticket: 0,
            offered: None,
            due: None,
        }
    }

    /// Where a package's row is, or would be. The newest package comes last and is asked for most, in one place after the
    /// other: it costs no search.
    fn position(&self, package: PackageId) -> Result<usize, usize> {
        match self.cells.last() {
            Some((last, _)) if *last == package => Ok(self.cells.len() - 1),
            Some((last, _)) if *last > package => {
                self.cells.binary_search_by_key(&package, |(id, _)| *id)
            }
            _ => Err(self.cells.len()),
        }
    }

    /// What is known of a package here.
    pub fn cell(&self, package: PackageId) -> Option<&Cell> {
        let at = self.position(package).ok()?;
        Some(&self.cells[at].1)
    }

    /// Every package with a copy here, wanted or seen.
    pub fn cells(&self) -> impl Iterator<Item = (PackageId, &Cell)> {
        self.cells.iter().map(|(id, cell)| (*id, cell))
    }

    /// Attempts under way here.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn cell_mut(&mut self, package: PackageId) -> Option<&mut Cell> {
        let at = self.position(package).ok()?;
        Some(&mut self.cells[at].1)
    }

    /// The row of a package, made if there is none.
    pub(crate) fn cell_or_new(&mut self, package: PackageId) -> &mut Cell {
        let at = match self.position(package) {
            Ok(at) => at,
            Err(at) => {
                self.cells.insert(at, (package, Cell::default()));
                at
            }
        };
        &mut self.cells[at].1
    }

    pub(crate) fn drop_cell(&mut self, package: PackageId) {
        if let Ok(at) = self.position(package) {
            self.cells.remove(at);
        }
    }
}

impl Site {
    /// A site without packages, points and children.
    pub fn new(code: SiteCode, parent: Option<SiteCode>, settings: Settings) -> Self {
        let own = Place::new(PlaceKind::Own, Features(u64::MAX));
        Self {
            code,
            parent,
            epoch: 0,
            settings,
            packages: BTreeMap::new(),
            names: BTreeMap::new(),
            next_package: 0,
            retired: BTreeMap::new(),
            places: BTreeMap::from([(PlaceId::OWN, own)]),
            next_place: 1,
            points: BTreeMap::new(),
            routes: BTreeMap::new(),
            groups: BTreeMap::new(),
            feed: Changes::default(),
            reports: Changes::default(),
            said_below: 0,
            seen: Stamp::default(),
            heard: Stamp::default(),
            runnable: BTreeSet::new(),
            probes: BTreeSet::new(),
            due: BTreeSet::new(),
            fence: 0,
            running: 0,
            probing: 0,
            turn: 0,
            live: 0,
        }
    }

    /// Its code.
    pub fn code(&self) -> &SiteCode {
        &self.code
    }

    /// The site above, if this is not the central one.
    pub fn parent(&self) -> Option<&SiteCode> {
        self.parent.as_ref()
    }

    /// The latest change children are told of.
    pub fn feed_stamp(&self) -> Stamp {
        Stamp { epoch: self.epoch, sequence: self.feed.last() }
    }

    /// How far the parent has been heard.
    pub fn seen(&self) -> Stamp {
        self.seen
    }

    /// How often it was restored from a backup.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// A package by its number.
    pub fn package(&self, id: PackageId) -> Option<&Package> {
        self.packages.get(&id)
    }

    /// A package's number.
    pub fn package_id(&self, name: &PackageName) -> Option<PackageId> {
        self.names.get(name).copied()
    }

    /// The number the package's next version will have, if it is published here.
    pub fn next_version(&self, name: &PackageName) -> VersionNumber {
        let known = self.package_id(name).and_then(|id| self.package(id));
        let last = known
            .map(|package| package.number)
            .or_else(|| self.retired.get(name).copied())
            .unwrap_or_default();
        VersionNumber { epoch: self.epoch, count: last.count.saturating_add(1) }
    }

    /// Groups: their names, their points, what is to be at these.
    pub fn groups(
        &self,
    ) -> impl Iterator<Item = (&GroupName, &BTreeSet<PointName>, &BTreeSet<PackageId>)> {
        let all = self.groups.iter().filter(|(_, Group { points, packages })| {
            // What has neither is not there after the next start.
            !(points.is_empty() && packages.is_empty())
        });
        all.map(|(name, group)| (name, &group.points, &group.packages))
    }

    /// All packages, tombstones too.
    pub fn packages(&self) -> impl Iterator<Item = (PackageId, &Package)> {
        self.packages.iter().map(|(id, package)| (*id, package))
    }

    /// A place by its number.
    pub fn place(&self, id: PlaceId) -> Option<&Place> {
        self.places.get(&id)
    }

    /// All places.
    pub fn places(&self) -> impl Iterator<Item = (PlaceId, &Place)> {
        self.places.iter().map(|(id, place)| (*id, place))
    }

    /// A point's number.
    pub fn point_id(&self, name: &str) -> Option<PlaceId> {
        self.points.get(name).copied()
    }

    /// The child a site is reached through, or the child itself.
    pub fn child_id(&self, code: &SiteCode) -> Option<PlaceId> {
        self.routes.get(code).copied()
    }

    /// Every site reached through a child, the child itself among them.
    pub fn sites_below(&self, child: PlaceId) -> impl Iterator<Item = &SiteCode> {
        self.routes.iter().filter(move |(_, place)| **place == child).map(|(code, _)| code)
    }

    /// The version the site's own store holds of a package, whole and verified.
    pub fn master(&self, package: PackageId) -> Option<VersionNumber> {
        match self.places.get(&PlaceId::OWN)?.cell(package)?.observed {
            Observed::Holds(version) => Some(version),
            _ => None,
        }
    }

    /// Whether pieces of a version that is not complete yet are still of use. What is not is swept at the start and
    /// with each scrub, should an [`crate::Effect::Discard`] have been lost.
    pub fn needs_pieces(&self, name: &PackageName, version: VersionNumber) -> bool {
        let id = self.package_id(name);
        let newest = id.and_then(|id| self.package(id)?.newest);
        let held = id.and_then(|id| self.master(id));
        newest.is_some_and(|newest| {
            newest.number == version && held.is_none_or(|held| held < version)
        })
    }

    /// Whether an own copy may still be read, or served as a base; the same sweep asks.
    pub fn needs_copy(&self, name: &PackageName, version: VersionNumber) -> bool {
        let package = self.package_id(name).and_then(|id| self.package(id));
        package.is_none_or(|package| version >= package.collected)
    }

    /// Jobs that are not done: places whose copy is not what it should be.
    pub fn live_jobs(&self) -> u64 {
        self.live
    }

    /// What an operator set.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Attempts under way.
    pub fn running(&self) -> u32 {
        self.running
    }
}
