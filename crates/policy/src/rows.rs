//! The tables as rows: what a database keeps of a site, and a site made of them again.
//!
//! Lines, tallies and indexes are not kept: they follow from the rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use model::PackageName;
use serde::{Deserialize, Serialize};

use crate::{
    Breaker, Cell, ContentVersion, Features, GroupName, JobKind, Key, Moment, Observed, Package,
    PackageId, Phase, Place, PlaceId, PlaceKind, PointName, Settings, Site, SiteCode, Stamp, Tally,
    VersionNumber,
    desired::tally_of,
    dispatch::FENCES,
    reconcile::{Goal, goal},
    site::Trouble,
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
        let mut site = Self::new(own.code.clone(), own.parent.clone(), settings);
        site.put_site(own);
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
        for id in site.packages.keys().copied().collect::<Vec<_>>() {
            site.count(id);
        }
        for id in site.places.keys().copied().collect::<Vec<_>>() {
            site.offer_again(id);
        }
        Ok(site)
    }

    /// Takes in rows that another process wrote, those that are gone included: what is decided is as if the site were made of all rows
    /// anew, but room at places stays known. It costs as much as what changed.
    pub fn take_rows(
        &mut self,
        rows: impl IntoIterator<Item = (Key, Option<Row>)>,
    ) -> Result<(), RowsError> {
        let rows: BTreeMap<Key, Option<Row>> = rows.into_iter().collect();
        let (mut touched, mut uncounted) = (BTreeSet::new(), BTreeSet::new());
        // What is gone or changed takes part in nothing while everything else is put.
        for (key, row) in &rows {
            if let Key::Copy(place, package) = *key {
                touched.insert(place);
                self.take_out(place, package, row.is_none());
            }
        }
        let mut copies = Vec::new();
        for (key, row) in rows {
            match (key, row) {
                (Key::Site, Some(Row::Site(row))) => self.put_site(row),
                (Key::Site, None) => return Err(RowsError::NoSite),
                (Key::Package(id), Some(Row::Package(row))) => {
                    self.put_package_row(id, row, &mut touched, &mut uncounted);
                }
                (Key::Package(id), None) => drop(self.forget_package(id)),
                (Key::Place(id), Some(Row::Place(row))) => {
                    touched.insert(id);
                    self.put_place_row(id, row, &mut uncounted);
                }
                (Key::Place(id), None) => self.drop_place(id),
                (Key::Copy(place, package), Some(Row::Copy(row))) => {
                    copies.push((place, package, row));
                }
                (Key::Copy(..), None) => {}
                (key, Some(_)) => return Err(RowsError::WrongSort(key)),
            }
        }
        copies.sort_by_key(|(place, package, row)| (*place, row.ticket, *package));
        for (place, package, row) in copies {
            self.put_copy(place, package, row)?;
            if !uncounted.contains(&package) {
                self.count_in(place, package);
            }
        }
        for id in uncounted {
            self.count(id);
        }
        for id in touched {
            self.offer_again(id);
        }
        self.drop_empty_groups();
        Ok(())
    }

    fn put_site(&mut self, own: SiteRow) {
        (self.code, self.parent, self.epoch) = (own.code, own.parent, own.epoch);
        (self.next_package, self.next_place) = (own.next_package, own.next_place);
        self.retired = own.retired.into_iter().collect();
        self.routes = own.routes.into_iter().collect();
        (self.seen, self.heard) = (own.seen, own.heard);
        self.fence = own.fence.next_multiple_of(FENCES);
        self.feed.begin_at(own.said_down);
        self.reports.begin_at(own.said_up);
        self.said_below = own.said_below;
        for group in self.groups.values_mut() {
            group.points.clear();
        }
        for (name, points) in own.groups {
            self.groups.entry(name).or_default().points = points;
        }
    }

    fn drop_empty_groups(&mut self) {
        self.groups.retain(|_, group| !(group.points.is_empty() && group.packages.is_empty()));
    }

    /// A copy takes part in no count and stands in no line.
    fn take_out(&mut self, place_id: PlaceId, id: PackageId, is_gone: bool) {
        let (Some(package), Some(place)) =
            (self.packages.get_mut(&id), self.places.get_mut(&place_id))
        else {
            return;
        };
        package.tally.replace(tally_of(package, place, id), Tally::default());
        self.stand_down(place_id, id);
        if is_gone {
            if let Some(package) = self.packages.get_mut(&id) {
                package.places.remove(&place_id);
            }
            if let Some(place) = self.places.get_mut(&place_id) {
                place.drop_cell(id);
            }
        }
    }

    fn put_package_row(
        &mut self,
        id: PackageId,
        row: PackageRow,
        touched: &mut BTreeSet<PlaceId>,
        uncounted: &mut BTreeSet<PackageId>,
    ) {
        let Some(old) = self.forget_package(id) else { return self.put_package(id, row) };
        let (newest, number, priority) = (row.newest, row.number, row.priority);
        self.put_package(id, row);
        let Some(package) = self.packages.get_mut(&id) else { return };
        (package.places, package.tally, package.readers) = (old.places, old.tally, old.readers);
        if (newest, number) != (old.newest, old.number) {
            uncounted.insert(id);
        }
        if priority != old.priority {
            touched.extend(&package.places);
            for place in &package.places {
                let Some(place) = self.places.get_mut(place) else { continue };
                let Some(ticket) = place.cell(id).map(|cell| cell.ticket) else { continue };
                if place.ready.remove(&(255 - old.priority, ticket, id)) {
                    place.ready.insert((255 - priority, ticket, id));
                }
            }
        }
    }

    /// What is known of a package by its row alone.
    fn forget_package(&mut self, id: PackageId) -> Option<Package> {
        let old = self.packages.remove(&id)?;
        self.names.remove(&old.name);
        for group in &old.groups {
            if let Some(group) = self.groups.get_mut(group) {
                group.packages.remove(&id);
            }
        }
        self.feed.forget(id);
        self.reports.forget(id);
        Some(old)
    }

    fn put_place_row(&mut self, id: PlaceId, row: PlaceRow, uncounted: &mut BTreeSet<PackageId>) {
        let Some(place) = self.places.get_mut(&id) else { return self.put_place(id, row) };
        if place.leaving != row.leaving {
            uncounted.extend(place.cells.iter().map(|(package, _)| *package));
        }
        (place.kind, place.leaving) = (row.kind, row.leaving);
        (place.features, place.breaker) = (row.features, row.breaker);
    }

    fn drop_place(&mut self, id: PlaceId) {
        self.withdraw(id);
        let Some(place) = self.places.remove(&id) else { return };
        if place.probe.is_some() {
            self.probing -= 1;
        }
        if let PlaceKind::Point(name) = &place.kind
            && self.points.get(&name.name) == Some(&id)
        {
            self.points.remove(&name.name);
        }
    }

    /// One more copy in a package's counts.
    fn count_in(&mut self, place_id: PlaceId, id: PackageId) {
        if let (Some(package), Some(place)) =
            (self.packages.get_mut(&id), self.places.get(&place_id))
        {
            package.tally.replace(Tally::default(), tally_of(package, place, id));
        }
    }

    /// A package's counts, from nothing.
    fn count(&mut self, id: PackageId) {
        let Some(package) = self.packages.get_mut(&id) else { return };
        let mut tally = Tally::default();
        for place in package.places.iter().filter_map(|place| self.places.get(place)) {
            tally.replace(Tally::default(), tally_of(package, place, id));
        }
        package.tally = tally;
    }

    /// A place stands where its copies and its breaker have it stand: what runs at one that did not answer is a probe.
    fn offer_again(&mut self, id: PlaceId) {
        let Some(place) = self.places.get_mut(&id) else { return };
        let probe = place.running.first().copied().filter(|_| !place.breaker.is_closed());
        let before = std::mem::replace(&mut place.probe, probe);
        self.probing += u32::from(probe.is_some());
        self.probing -= u32::from(before.is_some());
        self.offer(Moment(0), id);
    }

    /// What is different in another site of the same rows, if anything is. Room, fences to come, the order of lines and which work
    /// began as a probe are a process's own.
    pub fn difference(&self, other: &Self) -> Option<String> {
        fn compare<T: fmt::Debug + ?Sized>(what: &str, one: &T, other: &T) -> Option<String> {
            let (one, other) = (format!("{one:?}"), format!("{other:?}"));
            (one != other).then(|| format!("{what}: {one} and {other}"))
        }
        let own = |site: &Self| {
            let Self { code, parent, epoch, names, next_package, retired, next_place, .. } = site;
            let Self { points, routes, groups, feed, reports, said_below, seen, heard, .. } = site;
            let Self { due, running, live, packages, .. } = site;
            let probes = site.places.values().filter(|place| place.probe.is_some()).count();
            let probing = probes == usize::try_from(site.probing).unwrap_or(usize::MAX);
            let lines = |line: &BTreeSet<(u64, PlaceId)>| {
                line.iter().map(|(_, place)| *place).collect::<BTreeSet<_>>()
            };
            let lines = (lines(&site.runnable), lines(&site.probes), due, running, probing, live);
            let known = (code, parent, epoch, names, next_package, retired, next_place, points);
            format!(
                "{known:?} {routes:?} {groups:?} {feed:?} {reports:?} {said_below} {seen:?} {heard:?} {lines:?} {packages:?}"
            )
        };
        let place = |place: &Place| {
            let Place { kind, leaving, features, reserved, breaker, cells, .. } = place;
            let Place { ready, later, short, running, due, .. } = place;
            let line = place.offered.map(|(line, _)| line);
            // The number of a turn that is over says nothing.
            let cells = cells.iter().map(|(id, cell)| {
                let ticket = if cell.phase == Phase::Turn { cell.ticket } else { 0 };
                (id, Cell { ticket, ..cell.clone() })
            });
            let cells: Vec<_> = cells.collect();
            format!(
                "{kind:?} {leaving} {features:?} {reserved} {breaker:?} {cells:?} {ready:?} {later:?} {short:?} {running:?} {due:?} {line:?}"
            )
        };
        // Pauses that are over for one of them are over for the other with its next timer.
        let again = |site: &Self| {
            let mut site = site.clone();
            for id in site.places.keys().copied().collect::<Vec<_>>() {
                site.offer_again(id);
            }
            site
        };
        let (one, other) = (again(self), again(other));
        compare("places", &one.places.keys(), &other.places.keys())
            .or_else(|| compare("the site", &own(&one), &own(&other)))
            .or_else(|| {
                let places = one.places.iter().zip(other.places.values());
                places.into_iter().find_map(|((id, one), other)| {
                    compare(&format!("{id:?}"), &place(one), &place(other))
                })
            })
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
        }
        // A turn keeps its number, whatever numbers were given since.
        let next = std::mem::replace(&mut place.ticket, row.ticket);
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
        if let Some(place) = self.places.get_mut(&place_id) {
            place.ticket = place.ticket.max(next);
        }
        Ok(())
    }
}
