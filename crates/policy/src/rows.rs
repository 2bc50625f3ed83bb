//! The tables as rows: what a database keeps of a site, and a site made of them again.
//!
//! Lines, tallies and indexes are not kept: they follow from the rows.

use std::collections::{BTreeMap, BTreeSet};

use model::PackageName;
use serde::{Deserialize, Serialize};

use crate::{
    Breaker, Cell, ContentVersion, Features, GroupName, JobKind, Key, Moment, Observed, Package,
    PackageId, Phase, Place, PlaceId, PlaceKind, PointName, Settings, Site, SiteCode, Stamp, Tally,
    VersionNumber,
    desired::tally_of,
    dispatch::FENCES,
    reconcile::{Goal, goal},
    site::{Group, Trouble},
};

/// One row of a site's tables, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// The site's own.
    Site(SiteRow),
    /// A package's.
    Package(PackageRow),
    /// A place's.
    Place(PlaceRow),
    /// A copy's.
    Copy(CopyRow),
}

/// What there is once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRow {
    code: SiteCode,
    parent: Option<SiteCode>,
    epoch: u32,
    next_package: u32,
    next_place: u32,
    retired: Vec<(PackageName, VersionNumber)>,
    routes: Vec<(SiteCode, PlaceId)>,
    groups: Vec<(GroupName, BTreeSet<PointName>)>,
    said_down: u64,
    said_up: u64,
    #[serde(default)]
    said_below: u64,
    seen: Stamp,
    heard: Stamp,
    fence: u64,
}

/// What is kept of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRow {
    name: PackageName,
    newest: Option<ContentVersion>,
    number: VersionNumber,
    ours: bool,
    priority: u8,
    targets: BTreeSet<PointName>,
    groups: BTreeSet<GroupName>,
    collected: VersionNumber,
    said_down: u64,
    said_up: u64,
}

/// What is kept of a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceRow {
    kind: PlaceKind,
    leaving: bool,
    features: Features,
    breaker: Breaker,
}

/// What is kept of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyRow {
    wanted: u32,
    fence: u64,
    observed: Observed,
    phase: Phase,
    since: Moment,
    ticket: u32,
    trouble: Option<Trouble>,
}

/// A job as a database sees it: at most one for its kind, version and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// What is to be done.
    pub kind: JobKind,
    /// For which version.
    pub version: VersionNumber,
    /// Where it stands.
    pub phase: Phase,
    /// Attempts so far.
    pub attempts: u32,
    /// When the pause or the lease ends.
    pub until: Moment,
    /// The right of whoever works on it; 0 for nobody.
    pub fence: u64,
}

/// Rows that make no site.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// There is no row of the site itself.
    #[error("the tables have no row of the site itself: `packhorse site init` makes it")]
    NoSite,
    /// A row that refers to nothing.
    #[error("the row {0:?} refers to a place or package that has none")]
    Dangling(Key),
    /// A row under the key of another sort.
    #[error("the row {0:?} is of another sort")]
    WrongSort(Key),
}

impl Site {
    /// What is to be kept under `key`; nothing, if its row is to go.
    pub fn row(&self, key: Key) -> Option<Row> {
        match key {
            Key::Site => Some(Row::Site(self.site_row())),
            Key::Package(id) => Some(Row::Package(self.package_row(id)?)),
            Key::Place(id) => {
                let place = self.places.get(&id)?;
                Some(Row::Place(PlaceRow {
                    kind: place.kind.clone(),
                    leaving: place.leaving,
                    features: place.features,
                    breaker: place.breaker,
                }))
            }
            Key::Copy(place, package) => {
                let cell = self.places.get(&place)?.cell(package)?;
                Some(Row::Copy(CopyRow {
                    wanted: cell.wanted,
                    fence: cell.fence,
                    observed: cell.observed,
                    phase: cell.phase,
                    since: cell.since,
                    ticket: if cell.phase == Phase::Turn { cell.ticket } else { 0 },
                    trouble: cell.note.as_deref().cloned(),
                }))
            }
        }
    }

    fn site_row(&self) -> SiteRow {
        SiteRow {
            code: self.code.clone(),
            parent: self.parent.clone(),
            epoch: self.epoch,
            next_package: self.next_package,
            next_place: self.next_place,
            retired: self.retired.iter().map(|(name, number)| (name.clone(), *number)).collect(),
            routes: self.routes.iter().map(|(code, id)| (code.clone(), *id)).collect(),
            groups: self
                .groups
                .iter()
                .filter(|(_, group)| !group.points.is_empty())
                .map(|(name, group)| (name.clone(), group.points.clone()))
                .collect(),
            said_down: self.feed.last(),
            said_up: self.reports.last(),
            said_below: self.said_below,
            seen: self.seen,
            heard: self.heard,
            fence: self.fence.next_multiple_of(FENCES),
        }
    }

    fn package_row(&self, id: PackageId) -> Option<PackageRow> {
        let package = self.packages.get(&id)?;
        Some(PackageRow {
            name: package.name.clone(),
            newest: package.newest,
            number: package.number,
            ours: package.ours,
            priority: package.priority,
            targets: package.targets.clone(),
            groups: package.groups.clone(),
            collected: package.collected,
            said_down: self.feed.of(id),
            said_up: self.reports.of(id),
        })
    }

    /// The live job for a copy, if it is not as it should be.
    pub fn job(&self, place_id: PlaceId, id: PackageId) -> Option<JobRow> {
        let (package, place) = (self.packages.get(&id)?, self.places.get(&place_id)?);
        let cell = place.cell(id).filter(|cell| cell.phase != Phase::Settled)?;
        let goal = goal(package, place, cell);
        let note = cell.note.as_deref();
        Some(JobRow {
            kind: if goal == Goal::Remove { JobKind::Remove } else { JobKind::Complete },
            version: package.number,
            phase: cell.phase,
            attempts: note.map_or(0, |note| note.attempts),
            until: note.map(|note| note.until).unwrap_or_default(),
            fence: cell.fence,
        })
    }

    /// The keys of all rows.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        let copies = self
            .places
            .iter()
            .flat_map(|(id, place)| place.cells().map(|(package, _)| Key::Copy(*id, package)));
        std::iter::once(Key::Site)
            .chain(self.packages.keys().copied().map(Key::Package))
            .chain(self.places.keys().copied().map(Key::Place))
            .chain(copies)
    }

    /// A site from its rows, in any order. Room at places is not known then, and attempts that were under way still
    /// have their leases.
    pub fn from_rows(
        settings: Settings,
        rows: impl IntoIterator<Item = (Key, Row)>,
    ) -> Result<Self, RowsError> {
        let mut rows: BTreeMap<Key, Row> = rows.into_iter().collect();
        let Some(Row::Site(own)) = rows.remove(&Key::Site) else { return Err(RowsError::NoSite) };
        let mut site = Self::new(own.code, own.parent, settings);
        site.epoch = own.epoch;
        (site.next_package, site.next_place) = (own.next_package, own.next_place);
        site.retired = own.retired.into_iter().collect();
        site.routes = own.routes.into_iter().collect();
        (site.seen, site.heard) = (own.seen, own.heard);
        site.fence = own.fence.next_multiple_of(FENCES);
        site.feed.begin_at(own.said_down);
        site.reports.begin_at(own.said_up);
        site.said_below = own.said_below;
        for (name, points) in own.groups {
            site.groups.insert(name, Group { points, packages: BTreeSet::new() });
        }
        let mut copies = Vec::new();
        for (key, row) in rows {
            match (key, row) {
                (Key::Package(id), Row::Package(row)) => site.put_package(id, row),
                (Key::Place(id), Row::Place(row)) => site.put_place(id, row),
                (Key::Copy(place, package), Row::Copy(row)) => copies.push((place, package, row)),
                (key, _) => return Err(RowsError::WrongSort(key)),
            }
        }
        // Turns are kept in their order.
        copies.sort_by_key(|(place, package, row)| (*place, row.ticket, *package));
        for (place, package, row) in copies {
            site.put_copy(place, package, row)?;
        }
        site.finish_rows();
        Ok(site)
    }

    fn put_package(&mut self, id: PackageId, row: PackageRow) {
        self.names.insert(row.name.clone(), id);
        for group in &row.groups {
            self.groups.entry(group.clone()).or_default().packages.insert(id);
        }
        self.feed.put_back(id, row.said_down);
        self.reports.put_back(id, row.said_up);
        let package = Package {
            name: row.name,
            newest: row.newest,
            number: row.number,
            ours: row.ours,
            priority: row.priority,
            targets: row.targets,
            groups: row.groups,
            places: BTreeSet::new(),
            tally: Tally::default(),
            readers: BTreeMap::new(),
            collected: row.collected,
        };
        self.packages.insert(id, package);
    }

    fn put_place(&mut self, id: PlaceId, row: PlaceRow) {
        if let PlaceKind::Point(name) = &row.kind {
            self.points.insert(name.name.clone(), id);
        }
        let mut place = Place::new(row.kind, row.features);
        (place.leaving, place.breaker) = (row.leaving, row.breaker);
        self.places.insert(id, place);
    }

    fn put_copy(
        &mut self,
        place_id: PlaceId,
        id: PackageId,
        row: CopyRow,
    ) -> Result<(), RowsError> {
        let dangling = RowsError::Dangling(Key::Copy(place_id, id));
        let (Some(place), Some(package)) =
            (self.places.get_mut(&place_id), self.packages.get_mut(&id))
        else {
            return Err(dangling);
        };
        package.places.insert(place_id);
        if row.phase == Phase::Running {
            let note = row.trouble.as_ref();
            place.reserved += note.map_or(0, |note| note.reserved);
            self.running += 1;
            if place_id != PlaceId::OWN {
                let version = note.map(|note| note.version).unwrap_or_default();
                *package.readers.entry(version).or_default() += 1;
            }
            if !place.breaker.is_closed() && place.probe.is_none() {
                place.probe = Some(id);
                self.probing += 1;
            }
        }
        place.ticket = place.ticket.max(row.ticket);
        let cell = place.cell_or_new(id);
        *cell = Cell {
            wanted: row.wanted,
            fence: row.fence,
            observed: row.observed,
            phase: Phase::Settled,
            since: row.since,
            ticket: row.ticket,
            note: row.trouble.map(Box::new),
        };
        self.enter(row.since, place_id, id, row.phase);
        Ok(())
    }

    fn finish_rows(&mut self) {
        for (id, package) in &mut self.packages {
            let mut tally = Tally::default();
            for place in package.places.iter().filter_map(|place| self.places.get(place)) {
                tally.replace(Tally::default(), tally_of(package, place, *id));
            }
            package.tally = tally;
        }
        for id in self.places.keys().copied().collect::<Vec<_>>() {
            self.offer(Moment(0), id);
        }
    }
}
