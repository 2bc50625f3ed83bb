//! What should exist, and the one place where it is compared with what does.

use std::collections::{BTreeMap, BTreeSet};

use model::{Hash, PackageName};

use crate::{
    ContentVersion, Effect, Event, Features, GroupName, Key, Moment, Note, Now, Observed, Package,
    PackageId, Phase, Place, PlaceId, PlaceKind, PointName, Refused, Site, Stamp, Tally,
    VersionNumber,
};

type Effects = Vec<Effect>;

impl Site {
    /// What follows from `event`. A refused event changes nothing.
    ///
    /// Everything named by an [`Effect::Keep`] is made durable in one transaction before any other effect is
    /// carried out. Effects that are lost in a crash are found missing by the next timer or lease.
    pub fn next(&mut self, now: Now, event: Event) -> Result<Vec<Effect>, Refused> {
        let mut fx = Vec::new();
        let said = (self.feed.last(), self.reports.last());
        let next_package = self.next_package;
        self.take(now, event, &mut fx)?;
        self.dispatch(now, &mut fx);
        self.keep_said(said, &mut fx);
        if self.next_package != next_package {
            fx.push(Effect::Keep(Key::Site));
        }
        if self.parent.is_some() && self.reports.last() > self.heard.sequence {
            self.ask_once(&mut fx);
        }
        Ok(fx)
    }

    fn take(&mut self, now: Now, event: Event, fx: &mut Effects) -> Result<(), Refused> {
        let at = now.at;
        match event {
            Event::Publish { package, manifest, bytes, critical, optional } => {
                self.publish(at, package, (manifest, bytes, critical, optional), fx)
            }
            Event::Retire(name) => self.retire(at, &name, fx),
            Event::Assign { package, points } => self.assign(at, &package, points, fx),
            Event::Unassign { package, points } => self.unassign(at, &package, &points, fx),
            Event::AssignGroup { package, group } => self.assign_group(at, &package, group, fx),
            Event::UnassignGroup { package, group } => {
                self.unassign_group(at, &package, &group, fx)
            }
            Event::Join { group, point } => {
                self.join(at, group, point, fx);
                Ok(())
            }
            Event::Leave { group, point } => {
                self.leave(at, &group, &point, fx);
                Ok(())
            }
            Event::Prioritise { package, priority } => self.prioritise(at, &package, priority, fx),
            Event::AddPoint { name, features } => {
                self.add_point(at, name, features, fx);
                Ok(())
            }
            Event::RemovePoint { name, force } => self.remove_point(at, &name, force, fx),
            Event::Attach(parent) => self.attach(at, parent, fx),
            Event::AddChild { code, reach } => self.add_child(at, code, reach, fx),
            Event::AddBelow { child, code } => self.add_below(at, &child, code, fx),
            Event::RemoveChild(code) => self.remove_child(at, &code, fx),
            Event::Finished { place, package, fence, outcome } => {
                self.finished(now, (place, package), fence, outcome, fx)
            }
            Event::Progress { place, package, fence } => {
                self.progress(at, (place, package), fence, fx)
            }
            Event::Looked { place, package, observed } => {
                self.looked(at, place, package, observed, fx);
                Ok(())
            }
            Event::Found { place, package, version } => {
                self.found(at, place, &package, version, fx)
            }
            Event::Space { place, free } => self.space(at, place, free, fx),
            Event::Reached(place) => self.reached(at, place, fx),
            Event::RetryNow(scope) => self.retry_now(at, scope, fx),
            Event::Timer => {
                self.timer(now, fx);
                Ok(())
            }
            Event::WorkersGone => {
                self.workers_gone(now, fx);
                Ok(())
            }
            Event::Restored { above } => {
                self.raise(at, self.epoch.max(above).saturating_add(1), fx);
                Ok(())
            }
            Event::FromChild { from, exchange } => {
                self.take_report(at, &from, exchange, fx);
                Ok(())
            }
            Event::FromParent { from, feed } => {
                self.take_feed(at, &from, feed, fx);
                Ok(())
            }
        }
    }

    /// What was said is kept with what it was said of: no number is ever given to two things.
    fn keep_said(&self, (down, up): (u64, u64), fx: &mut Effects) {
        if (down, up) == (self.feed.last(), self.reports.last()) {
            return;
        }
        fx.push(Effect::Keep(Key::Site));
        let said = self.feed.since(down).chain(self.reports.since(up));
        fx.extend(said.map(|(_, id)| Effect::Keep(Key::Package(id))));
    }

    fn publish(
        &mut self,
        at: Moment,
        name: PackageName,
        (manifest, bytes, critical, optional): (Hash, u64, Features, Features),
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        let number = self.next_version(&name);
        let id = self.package_or_new(&name, true);
        let Some(package) = self.packages.get_mut(&id) else {
            return Err(Refused::NoPackage(name));
        };
        if !package.ours {
            return Err(Refused::NotOurs(name));
        }
        let unchanged = package.newest.is_some_and(|newest| {
            (newest.manifest, newest.critical, newest.optional) == (manifest, critical, optional)
        });
        #[cfg(feature = "mutations")]
        let unchanged = unchanged && self.settings.mutation != Some(crate::Mutation::SaveIsUpdate);
        if unchanged {
            return Ok(());
        }
        let was_retired = package.newest.is_none();
        package.number = number;
        package.newest = Some(ContentVersion { number, manifest, bytes, critical, optional });
        if was_retired {
            self.bump(at, PlaceId::OWN, id, 1, fx);
        }
        if let Some(own) = self.places.get_mut(&PlaceId::OWN) {
            own.cell_or_new(id).observed = Observed::Holds(number);
            fx.push(Effect::Keep(Key::Copy(PlaceId::OWN, id)));
        }
        self.say_to_children(id, fx);
        self.reconcile_everywhere(at, id, fx);
        self.collect(id, fx);
        Ok(())
    }

    fn retire(&mut self, at: Moment, name: &PackageName, fx: &mut Effects) -> Result<(), Refused> {
        let id = self.ours(name)?;
        let Some(package) = self.packages.get_mut(&id) else { return Ok(()) };
        if package.newest.take().is_none() {
            return Ok(());
        }
        // What is published again under this name is assigned again.
        let points: Vec<PointName> = self.points_of(id).cloned().collect();
        if let Some(package) = self.packages.get_mut(&id) {
            package.targets.clear();
            for group in std::mem::take(&mut package.groups) {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.packages.remove(&id);
                }
            }
        }
        self.target_all(at, id, &points, -1, fx);
        self.bump(at, PlaceId::OWN, id, -1, fx);
        self.say_to_children(id, fx);
        self.reconcile_everywhere(at, id, fx);
        Ok(())
    }

    fn assign(
        &mut self,
        at: Moment,
        name: &PackageName,
        points: Vec<PointName>,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        let id = self.ours(name)?;
        for point in points {
            let new = !self.wants(id, &point);
            if let Some(package) = self.packages.get_mut(&id)
                && package.targets.insert(point.clone())
            {
                fx.push(Effect::Keep(Key::Package(id)));
            }
            if new {
                self.target(at, id, &point, 1, fx);
            }
        }
        Ok(())
    }

    fn unassign(
        &mut self,
        at: Moment,
        name: &PackageName,
        points: &[PointName],
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        let id = self.ours(name)?;
        for point in points {
            let had =
                self.packages.get_mut(&id).is_some_and(|package| package.targets.remove(point));
            if had {
                fx.push(Effect::Keep(Key::Package(id)));
            }
            if had && !self.wants(id, point) {
                self.target(at, id, point, -1, fx);
            }
        }
        Ok(())
    }

    fn assign_group(
        &mut self,
        at: Moment,
        name: &PackageName,
        group: GroupName,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        let id = self.ours(name)?;
        let entry = self.groups.entry(group.clone()).or_default();
        if !entry.packages.insert(id) {
            return Ok(());
        }
        let points: Vec<PointName> = entry.points.iter().cloned().collect();
        let new: Vec<PointName> =
            points.into_iter().filter(|point| !self.wants(id, point)).collect();
        if let Some(package) = self.packages.get_mut(&id) {
            package.groups.insert(group);
            fx.push(Effect::Keep(Key::Package(id)));
        }
        self.target_all(at, id, &new, 1, fx);
        Ok(())
    }

    fn unassign_group(
        &mut self,
        at: Moment,
        name: &PackageName,
        group: &GroupName,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        let id = self.ours(name)?;
        let Some(entry) = self.groups.get_mut(group) else { return Ok(()) };
        if !entry.packages.remove(&id) {
            return Ok(());
        }
        let points: Vec<PointName> = entry.points.iter().cloned().collect();
        if let Some(package) = self.packages.get_mut(&id) {
            package.groups.remove(group);
            fx.push(Effect::Keep(Key::Package(id)));
        }
        let gone: Vec<PointName> =
            points.into_iter().filter(|point| !self.wants(id, point)).collect();
        self.target_all(at, id, &gone, -1, fx);
        Ok(())
    }

    fn join(&mut self, at: Moment, group: GroupName, point: PointName, fx: &mut Effects) {
        let entry = self.groups.entry(group.clone()).or_default();
        if entry.points.contains(&point) {
            return;
        }
        let packages: Vec<PackageId> = entry.packages.iter().copied().collect();
        let new: Vec<PackageId> =
            packages.into_iter().filter(|id| !self.wants(*id, &point)).collect();
        self.groups.entry(group).or_default().points.insert(point.clone());
        fx.push(Effect::Keep(Key::Site));
        for id in new {
            self.target(at, id, &point, 1, fx);
        }
    }

    fn leave(&mut self, at: Moment, group: &GroupName, point: &PointName, fx: &mut Effects) {
        let Some(entry) = self.groups.get_mut(group) else { return };
        if !entry.points.remove(point) {
            return;
        }
        fx.push(Effect::Keep(Key::Site));
        let packages: Vec<PackageId> = entry.packages.iter().copied().collect();
        for id in packages {
            if !self.wants(id, point) {
                self.target(at, id, point, -1, fx);
            }
        }
    }

    fn prioritise(
        &mut self,
        at: Moment,
        name: &PackageName,
        priority: u8,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        let id = self.ours(name)?;
        self.set_priority(at, id, priority, fx);
        self.say_to_children(id, fx);
        Ok(())
    }

    /// Takes jobs that wait for their turn out of line and puts them in again.
    pub(crate) fn set_priority(
        &mut self,
        at: Moment,
        id: PackageId,
        priority: u8,
        fx: &mut Effects,
    ) {
        let Some(package) = self.packages.get_mut(&id) else { return };
        let old = std::mem::replace(&mut package.priority, priority);
        if old == priority {
            return;
        }
        fx.push(Effect::Keep(Key::Package(id)));
        for place_id in package.places.iter().copied().collect::<Vec<_>>() {
            let Some(place) = self.places.get_mut(&place_id) else { continue };
            let Some(ticket) =
                place.cell(id).filter(|cell| cell.phase == Phase::Turn).map(|cell| cell.ticket)
            else {
                continue;
            };
            place.ready.remove(&(255 - old, ticket, id));
            place.ready.insert((255 - priority, ticket, id));
            self.offer(at, place_id);
        }
    }

    fn add_point(&mut self, at: Moment, name: Box<str>, features: Features, fx: &mut Effects) {
        if let Some(id) = self.points.get(&name).copied() {
            self.equip(at, id, features, fx);
            return;
        }
        let point = PointName { site: self.code.clone(), name: name.clone() };
        let id = self.new_place(Place::new(PlaceKind::Point(point), features), fx);
        self.points.insert(name, id);
        self.fetch_wanted(at, id, fx);
    }

    /// Everything a point is to hold and has no row for.
    fn fetch_wanted(&mut self, at: Moment, id: PlaceId, fx: &mut Effects) {
        let Some(place) = self.places.get(&id) else { return };
        let PlaceKind::Point(point) = &place.kind else { return };
        let has_row = |package| place.cell(package).is_some_and(|cell| cell.wanted > 0);
        let packages = self.packages.keys().copied();
        let wanting: Vec<PackageId> =
            packages.filter(|package| !has_row(*package) && self.wants(*package, point)).collect();
        for package in wanting {
            self.bump(at, id, package, 1, fx);
        }
    }

    /// A known point that can hold more, or less, than before; or one that was about to leave.
    fn equip(&mut self, at: Moment, id: PlaceId, features: Features, fx: &mut Effects) {
        let Some(place) = self.places.get(&id) else { return };
        if place.features == features && !place.leaving {
            return;
        }
        self.change_place(at, id, features, false, fx);
        self.fetch_wanted(at, id, fx);
    }

    fn remove_point(
        &mut self,
        at: Moment,
        name: &str,
        force: bool,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        let id = self.points.get(name).copied();
        let id = id.ok_or_else(|| Refused::NoPlace(name.to_owned()))?;
        if force {
            self.forget_place(at, id, fx);
            return Ok(());
        }
        let Some(features) = self.places.get(&id).map(|place| place.features) else {
            return Ok(());
        };
        self.change_place(at, id, features, true, fx);
        if self.places.get(&id).is_some_and(|place| place.cells.is_empty()) {
            self.forget_place(at, id, fx);
        }
        Ok(())
    }

    fn change_place(
        &mut self,
        at: Moment,
        id: PlaceId,
        features: Features,
        leaving: bool,
        fx: &mut Effects,
    ) {
        let Some(place) = self.places.get_mut(&id) else { return };
        let before: Vec<(PackageId, Tally)> = place
            .cells()
            .filter_map(|(package, _)| {
                Some((package, tally_of(self.packages.get(&package)?, place, package)))
            })
            .collect();
        (place.features, place.leaving) = (features, leaving);
        fx.push(Effect::Keep(Key::Place(id)));
        for (package, before) in before {
            self.retally(id, package, before);
            self.reconcile(at, id, package, fx);
        }
    }

    /// A copy nobody wanted is one that is to go; its number is not given again.
    fn found(
        &mut self,
        at: Moment,
        place_id: PlaceId,
        name: &PackageName,
        version: VersionNumber,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        if !self.places.contains_key(&place_id) {
            return Err(Refused::NoPlace(format!("{}", place_id.0)));
        }
        let is_ours = self.parent.is_none();
        let id = self.package_or_new(name, is_ours);
        let Some(package) = self.packages.get_mut(&id) else { return Ok(()) };
        if package.newest.is_none() {
            package.number = package.number.max(version);
        }
        package.places.insert(place_id);
        fx.push(Effect::Keep(Key::Package(id)));
        if place_id != PlaceId::OWN {
            // What is at a place has its row at home, which goes last.
            package.places.insert(PlaceId::OWN);
            if let Some(own) = self.places.get_mut(&PlaceId::OWN) {
                own.cell_or_new(id);
            }
            self.reconcile(at, PlaceId::OWN, id, fx);
        }
        if let Some(place) = self.places.get_mut(&place_id) {
            place.cell_or_new(id);
        }
        self.recount(id);
        self.looked(at, place_id, id, Observed::Holds(version), fx);
        Ok(())
    }

    pub(crate) fn new_place(&mut self, place: Place, fx: &mut Effects) -> PlaceId {
        let id = PlaceId(self.next_place);
        self.next_place += 1;
        self.places.insert(id, place);
        fx.extend([Effect::Keep(Key::Site), Effect::Keep(Key::Place(id))]);
        id
    }

    /// The place is no more: its jobs end, nothing refers to it, what is left behind is said.
    pub(crate) fn forget_place(&mut self, at: Moment, id: PlaceId, fx: &mut Effects) {
        let Some(place) = self.places.get(&id) else { return };
        let packages: Vec<PackageId> = place.cells().map(|(package, _)| package).collect();
        let copies = u32::try_from(packages.len()).unwrap_or(u32::MAX);
        for package in packages {
            self.drop_copy(at, id, package, fx);
        }
        self.withdraw(id);
        self.places.remove(&id);
        self.points.retain(|_, point| *point != id);
        let sites = self.routes.len();
        self.routes.retain(|_, child| *child != id);
        if self.routes.len() != sites {
            self.say_below();
            fx.push(Effect::Keep(Key::Site));
        }
        fx.push(Effect::Keep(Key::Place(id)));
        fx.push(Effect::Tell(match copies {
            0 => Note::Clean(id),
            copies => Note::LeftBehind { place: id, copies },
        }));
    }

    /// The package's number, if it is published here.
    fn ours(&self, name: &PackageName) -> Result<PackageId, Refused> {
        let id = self.names.get(name).copied();
        let id = id.ok_or_else(|| Refused::NoPackage(name.clone()))?;
        match self.packages.get(&id) {
            Some(package) if package.newest.is_none() => Err(Refused::NoPackage(name.clone())),
            Some(package) if package.ours => Ok(id),
            _ => Err(Refused::NotOurs(name.clone())),
        }
    }

    pub(crate) fn package_or_new(&mut self, name: &PackageName, ours: bool) -> PackageId {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let id = PackageId(self.next_package);
        self.next_package += 1;
        self.names.insert(name.clone(), id);
        let package = Package {
            name: name.clone(),
            newest: None,
            number: VersionNumber::default(),
            ours,
            priority: 0,
            targets: BTreeSet::new(),
            groups: BTreeSet::new(),
            places: BTreeSet::new(),
            tally: Tally::default(),
            readers: BTreeMap::default(),
            collected: VersionNumber::default(),
        };
        self.packages.insert(id, package);
        id
    }

    /// Whether `point` is to hold the package, by name or by group.
    fn wants(&self, id: PackageId, point: &PointName) -> bool {
        self.packages.get(&id).is_some_and(|package| {
            package.targets.contains(point)
                || package.groups.iter().any(|group| {
                    self.groups.get(group).is_some_and(|group| group.points.contains(point))
                })
        })
    }

    /// Every point that is to hold the package, once.
    pub fn points_of(&self, id: PackageId) -> impl Iterator<Item = &PointName> {
        let package = self.packages.get(&id);
        let direct = package.into_iter().flat_map(|package| &package.targets);
        let groups = package.into_iter().flat_map(|package| &package.groups);
        let grouped = groups.filter_map(|group| self.groups.get(group));
        let all: BTreeSet<&PointName> =
            direct.chain(grouped.flat_map(|group| &group.points)).collect();
        all.into_iter()
    }

    /// The place through which `point` is reached from here.
    pub(crate) fn place_of(&self, point: &PointName) -> Option<PlaceId> {
        if point.site == self.code {
            self.points.get(&point.name).copied()
        } else {
            self.routes.get(&point.site).copied()
        }
    }

    /// One point more or less is to hold the package.
    pub(crate) fn target(
        &mut self,
        at: Moment,
        id: PackageId,
        point: &PointName,
        change: i32,
        fx: &mut Effects,
    ) {
        self.target_all(at, id, std::slice::from_ref(point), change, fx);
    }

    /// Several points more, or fewer, are.
    fn target_all(
        &mut self,
        at: Moment,
        id: PackageId,
        points: &[PointName],
        change: i32,
        fx: &mut Effects,
    ) {
        if points.is_empty() {
            return;
        }
        fx.push(Effect::Keep(Key::Package(id)));
        let count = i32::try_from(points.len()).unwrap_or(i32::MAX);
        self.bump(at, PlaceId::OWN, id, change.saturating_mul(count), fx);
        for place in points.iter().filter_map(|point| self.place_of(point)).collect::<Vec<_>>() {
            self.bump(at, place, id, change, fx);
        }
    }

    /// More or fewer targets of the package are at, or behind, a place.
    pub(crate) fn bump(
        &mut self,
        at: Moment,
        place_id: PlaceId,
        id: PackageId,
        change: i32,
        fx: &mut Effects,
    ) {
        let Some(place) = self.places.get_mut(&place_id) else { return };
        let is_child = matches!(place.kind, PlaceKind::Child { .. });
        let Some(package) = self.packages.get_mut(&id) else { return };
        if change > 0 {
            package.places.insert(place_id);
        } else if place.cell(id).is_none() {
            return;
        }
        let before = tally_of(package, place, id);
        let cell = place.cell_or_new(id);
        cell.wanted = cell.wanted.saturating_add_signed(change);
        let after = tally_of(package, place, id);
        package.tally.replace(before, after);
        fx.push(Effect::Keep(Key::Copy(place_id, id)));
        if is_child {
            self.say_to_children(id, fx);
        }
        self.say_to_parent(id);
        self.reconcile(at, place_id, id, fx);
    }

    pub(crate) fn say_to_parent(&mut self, id: PackageId) {
        if self.parent.is_some() {
            self.reports.mark(id);
        }
    }

    /// Children that hold the package, or are to, have news to fetch.
    pub(crate) fn say_to_children(&mut self, id: PackageId, fx: &mut Effects) {
        self.feed.mark(id);
        fx.push(Effect::Keep(Key::Package(id)));
        let Some(package) = self.packages.get(&id) else { return };
        for place in &package.places {
            if let Some(PlaceKind::Child { code, .. }) =
                self.places.get(place).map(|place| &place.kind)
            {
                fx.push(Effect::Wake(code.clone()));
            }
        }
    }

    pub(crate) fn reconcile_everywhere(&mut self, at: Moment, id: PackageId, fx: &mut Effects) {
        self.recount(id);
        let Some(package) = self.packages.get(&id) else { return };
        for place in package.places.iter().copied().collect::<Vec<_>>() {
            self.reconcile(at, place, id, fx);
        }
    }

    /// The tally anew, after what is wanted changed for every place at once.
    fn recount(&mut self, id: PackageId) {
        let Some(package) = self.packages.get_mut(&id) else { return };
        let mut tally = Tally::default();
        for place in package.places.iter().filter_map(|place| self.places.get(place)) {
            tally.replace(Tally::default(), tally_of(package, place, id));
        }
        if tally != package.tally {
            package.tally = tally;
            self.say_to_parent(id);
        }
    }

    /// The site's sequence numbers no longer mean what peers think they mean: a new epoch begins, and everything
    /// is compared again.
    pub(crate) fn raise(&mut self, at: Moment, epoch: u32, fx: &mut Effects) {
        #[cfg(feature = "mutations")]
        if self.has(crate::Mutation::SameEpoch) {
            return;
        }
        self.epoch = epoch;
        self.seen = Stamp::default();
        self.heard = Stamp::default();
        fx.push(Effect::Keep(Key::Site));
        for (id, package) in &mut self.packages {
            fx.push(Effect::Keep(Key::Package(*id)));
            if let (true, Some(newest)) = (package.ours, &mut package.newest) {
                // The same content under a number nobody can have seen.
                newest.number = VersionNumber { epoch, count: package.number.count + 1 };
                package.number = newest.number;
            }
        }
        let copies: Vec<(PlaceId, PackageId)> = self
            .places
            .iter()
            .flat_map(|(id, place)| place.cells().map(|(package, _)| (*id, package)))
            .collect();
        for (id, place) in &mut self.places {
            if let PlaceKind::Child { heard, .. } = &mut place.kind {
                *heard = Stamp::default();
                fx.push(Effect::Keep(Key::Place(*id)));
            }
            for (_, cell) in &mut place.cells {
                if let Some(note) = &mut cell.note {
                    note.below = None;
                }
            }
        }
        for (place, package) in copies {
            fx.push(Effect::Keep(Key::Copy(place, package)));
            self.looked(at, place, package, Observed::Unknown, fx);
        }
        for id in self.packages.keys().copied().collect::<Vec<_>>() {
            self.recount(id);
            self.say_to_children(id, fx);
            self.say_to_parent(id);
        }
        self.ask_once(fx);
    }

    pub(crate) fn ask_once(&self, fx: &mut Effects) {
        if self.parent.is_some() && !fx.contains(&Effect::Ask) {
            fx.push(Effect::Ask);
        }
    }
}

/// What one place adds to its package's tally.
pub(crate) fn tally_of(package: &Package, place: &Place, id: PackageId) -> Tally {
    let Some(cell) = place.cell(id) else { return Tally::default() };
    let wanted = package.newest.filter(|_| cell.wanted > 0 && !place.leaving);
    match (&place.kind, wanted) {
        (PlaceKind::Own, _) => Tally::default(),
        (PlaceKind::Point(_), Some(newest)) => Tally {
            wanted: 1,
            done: u32::from(
                matches!(cell.observed, Observed::Holds(held) if held >= newest.number),
            ),
            failed: u32::from(matches!(cell.phase, Phase::Failed | Phase::Cannot)),
            left: 0,
        },
        (PlaceKind::Point(_), None) => Tally { left: 1, ..Tally::default() },
        (PlaceKind::Child { .. }, Some(newest)) => {
            let below = cell.note.as_ref().and_then(|note| note.below);
            match below.filter(|(_, _, known)| *known >= newest.number) {
                Some((_, tally, _)) => Tally { wanted: cell.wanted, ..tally },
                None => Tally { wanted: cell.wanted, ..Tally::default() },
            }
        }
        (PlaceKind::Child { .. }, None) => {
            let left =
                cell.note.as_ref().and_then(|note| note.below).map_or(1, |below| below.1.left);
            Tally { left: left.max(1), ..Tally::default() }
        }
    }
}
