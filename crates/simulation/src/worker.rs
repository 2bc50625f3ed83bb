//! Work carried out: copies written to points, content fetched from parents, removals. Which way, and
//! whether to switch, `policy` says.

use model::PackageName;
use policy::{
    Cause, Event, Held, JobKind, Observed, Offer, Outcome, PlaceId, StreamId, Switch,
    VersionNumber, Way, Work, choose_way, switch,
};

use crate::{
    World,
    machine::{Spool, manifest},
    world::{Happening, Message, NO_FENCE, UNIT, progress},
};

impl World {
    pub(crate) fn start_work(&mut self, site: usize, work: Work) {
        let machine = &mut self.machines[site];
        machine.works.insert((work.place, work.package), work);
        if work.place == PlaceId::OWN {
            return self.start_own(site, work);
        }
        let dead = machine.points.get(&work.place).is_none_or(|disk| disk.dead_until > self.now);
        let life = machine.life;
        if dead {
            return self.watch(site, work, usize::MAX);
        }
        let zombie = !self.is_calm() && self.dice.chance(self.faults.zombie);
        let delay =
            if zombie { 150_000 + self.dice.below(300_000) } else { 500 + self.dice.below(5_000) };
        self.at(delay, Happening::Staged { site, life, work, zombie });
    }

    /// Everything a point needs is beside its place. A worker that lost its right and does not know goes on.
    pub(crate) fn staged(&mut self, site: usize, work: Work, zombie: bool) {
        if !zombie && !self.has_right(site, &work) {
            return;
        }
        let now = self.now;
        let machine = &mut self.machines[site];
        let Some(package) = machine.site.package(work.package) else { return };
        let (name, newest) = (package.name.clone(), package.newest);
        let units = machine.store.get(&(name.clone(), work.version)).cloned();
        let Some(disk) = machine.points.get_mut(&work.place) else { return };
        let fail = |cause| Some(Outcome::Failed(cause));
        let failure = if disk.dead_until > now {
            return self.watch(site, work, usize::MAX);
        } else if disk.in_use_until > now && work.kind == JobKind::Remove {
            fail(Cause::InUse)
        } else if disk.full_until > now && work.kind == JobKind::Complete {
            let needs = newest.map_or(0, |newest| newest.bytes);
            fail(Cause::NoSpace { needs, has: UNIT })
        } else {
            None
        };
        if let Some(outcome) = failure {
            return self.finish(site, work, outcome);
        }
        let last = disk.fences.get(&name).copied().unwrap_or(NO_FENCE);
        let visible = disk.visible.get(&name).map(|(version, _)| *version);
        match work.kind {
            JobKind::Remove if work.fence >= last => {
                disk.visible.remove(&name);
                disk.fences.insert(name, work.fence);
            }
            JobKind::Remove => {}
            JobKind::Complete => match units {
                Some(units)
                    if newest.is_some_and(|newest| {
                        newest.number == work.version && newest.manifest == manifest(&units)
                    }) =>
                {
                    let decided = switch(visible, work.version, last, work.fence);
                    self.checks.switching(site, &work, last, decided);
                    if decided == Switch::Now {
                        disk.visible.insert(name.clone(), (work.version, units));
                    }
                    disk.fences.insert(name, last.max(work.fence));
                }
                // The master copy does not verify, or is not there: the site has to look at it.
                _ if newest.is_some_and(|newest| newest.number == work.version) => {
                    let looked = Event::Looked {
                        place: PlaceId::OWN,
                        package: work.package,
                        observed: Observed::Damaged(work.version),
                    };
                    self.event(site, looked);
                    return self.finish(site, work, Outcome::Failed(Cause::ContentDamaged));
                }
                _ => return self.finish(site, work, Outcome::Failed(Cause::Gone)),
            },
        }
        let life = self.machines[site].life;
        self.at(50, Happening::Tells { site, life, work, zombie });
    }

    pub(crate) fn tells(&mut self, site: usize, work: Work, zombie: bool) {
        if !zombie && !self.has_right(site, &work) {
            return;
        }
        let observed = self.look(site, work.place, work.package);
        self.finish(site, work, Outcome::Seen(observed));
    }

    /// What a place holds of a package by name, hashed.
    pub fn look_at(&self, site: usize, place: PlaceId, name: &PackageName) -> Observed {
        match self.machines[site].site.package_id(name) {
            Some(id) => self.look(site, place, id),
            None => Observed::Unknown,
        }
    }

    /// What a place holds of a package, hashed.
    pub(crate) fn look(&self, site: usize, place: PlaceId, package: policy::PackageId) -> Observed {
        let machine = &self.machines[site];
        let Some(name) = machine.site.package(package).map(|package| &package.name) else {
            return Observed::Unknown;
        };
        if place == PlaceId::OWN {
            let newest = machine.site.package(package).and_then(|package| package.newest);
            let mut copies =
                machine.store.iter().filter(|((other, _), _)| other == name).rev().peekable();
            if copies.peek().is_none() {
                return Observed::Absent;
            }
            let valid = copies.find(|(_, units)| self.contents.contains_key(&manifest(units)));
            return match (valid, newest) {
                (Some(((_, version), units)), Some(newest)) if *version == newest.number => {
                    if manifest(units) == newest.manifest {
                        Observed::Holds(*version)
                    } else {
                        Observed::Damaged(*version)
                    }
                }
                (Some(((_, version), _)), _) => Observed::Holds(*version),
                (None, _) => Observed::Damaged(VersionNumber::default()),
            };
        }
        let Some(disk) = machine.points.get(&place) else { return Observed::Unknown };
        match disk.visible.get(name) {
            _ if disk.dead_until > self.now => Observed::Unknown,
            None => Observed::Absent,
            Some((version, units)) if self.contents.contains_key(&manifest(units)) => {
                Observed::Holds(*version)
            }
            Some((version, _)) => Observed::Damaged(*version),
        }
    }

    fn start_own(&mut self, site: usize, work: Work) {
        let machine = &mut self.machines[site];
        let Some(package) = machine.site.package(work.package) else { return };
        let name = package.name.clone();
        let newest = package.newest;
        if work.kind == JobKind::Remove {
            self.checks.removing_master(&self.machines[site], work.package);
            let machine = &mut self.machines[site];
            machine.store.retain(|(other, _), _| *other != name);
            machine.spool.retain(|(other, _), _| *other != name);
            return self.finish(site, work, Outcome::Seen(Observed::Absent));
        }
        let Some(newest) = newest.filter(|newest| newest.number == work.version) else { return };
        if machine.full_until > self.now {
            let outcome = Outcome::Failed(Cause::NoSpace { needs: newest.bytes, has: UNIT });
            return self.finish(site, work, outcome);
        }
        let held: Vec<Held> = machine
            .store
            .iter()
            .filter(|((other, _), _)| *other == name)
            .map(|((_, number), units)| {
                let manifest = manifest(units);
                Held { number: *number, manifest, verified: self.contents.contains_key(&manifest) }
            })
            .collect();
        let Some(wanted) = self.contents.get(&newest.manifest) else { return };
        let full = wanted.len() as u64 * UNIT;
        // Deltas are announced between any two versions; whether the base is sound is not looked at here.
        let deltas = held.iter().map(|held| (held.number, full / 2)).collect();
        let offer = Offer { manifest: newest.manifest, full, chunks: None, deltas };
        let trusting: Vec<Held> = match self.seed % 2 {
            0 => held,
            // A base that was damaged after it was verified last.
            _ => held.iter().map(|held| Held { verified: true, ..*held }).collect(),
        };
        let way = choose_way(&trusting, &offer, work.avoid);
        self.checks.way(site, &work, way);
        self.begin(site, work, &name, way, wanted.clone());
    }

    fn begin(&mut self, site: usize, work: Work, name: &PackageName, way: Way, wanted: Vec<u64>) {
        let ours = self.machines[site].parent.is_none();
        let key = (name.clone(), work.version);
        let machine = &mut self.machines[site];
        if let Way::Nothing(number) = way {
            if let Some(units) = machine.store.get(&(name.clone(), number)).cloned() {
                machine.store.insert(key, units);
            }
            let observed = self.look(site, PlaceId::OWN, work.package);
            return self.finish(site, work, Outcome::Seen(observed));
        }
        let base = match way {
            Way::Delta(base) => machine.store.get(&(name.clone(), base)).cloned(),
            _ => None,
        };
        let spool = machine.spool.entry(key.clone()).or_default();
        if spool.units.len() != wanted.len() || (spool.has_base && base.is_none()) {
            *spool = Spool { units: vec![None; wanted.len()], has_base: false };
        }
        if let Some(base) = base {
            spool.has_base = true;
            // The delta says which units are new; the others come from the base, whatever it holds now.
            let old = self.contents.values().find(|units| {
                units.len() == base.len()
                    && units.iter().zip(&base).filter(|(one, other)| one != other).count() <= 1
            });
            for (index, unit) in wanted.iter().enumerate() {
                if old.and_then(|old| old.get(index)) == Some(unit) {
                    spool.units[index] = base.get(index).copied();
                }
            }
        }
        if ours {
            // The central site has nobody above: sound copies at its points will do.
            let found = machine
                .points
                .values()
                .filter(|disk| disk.dead_until <= self.now)
                .filter_map(|disk| disk.visible.get(name))
                .map(|(_, units)| units.clone())
                .find(|units| *units == wanted);
            // Failing that, the publisher's source, which is never written.
            machine.spool.remove(&key);
            machine.store.insert(key, found.unwrap_or(wanted));
            let observed = self.look(site, PlaceId::OWN, work.package);
            return self.finish(site, work, Outcome::Seen(observed));
        }
        let life = machine.life;
        self.at(5, Happening::Wants { site, life, work });
    }

    /// Asks for the first unit that is missing, or ends the transfer.
    pub(crate) fn wants(&mut self, site: usize, work: Work) {
        if !self.has_right(site, &work) {
            return;
        }
        let machine = &mut self.machines[site];
        let Some(package) = machine.site.package(work.package) else { return };
        let (name, newest) = (package.name.clone(), package.newest);
        let key = (name.clone(), work.version);
        let Some(spool) = machine.spool.get(&key) else { return };
        let missing = spool.units.iter().position(Option::is_none);
        let have = spool.units.iter().filter(|unit| unit.is_some()).count();
        if let Some(unit) = missing {
            self.checks.asking(site, &self.machines[site], &key);
            let Some(parent) = self.machines[site].parent else { return };
            let question = self.dice.roll();
            self.machines[site].questions.insert(work.package, question);
            let version = work.version;
            self.send(site, parent, Message::Want { package: name, version, unit, question });
            return self.watch(site, work, have);
        }
        let has_base = spool.has_base;
        let units: Vec<u64> = spool.units.iter().copied().flatten().collect();
        machine.spool.remove(&key);
        if newest.is_some_and(|newest| newest.manifest == manifest(&units)) {
            machine.store.insert(key, units);
            self.finish(site, work, Outcome::Seen(Observed::Holds(work.version)));
        } else {
            let cause = if has_base { Cause::BaseDamaged } else { Cause::ContentDamaged };
            self.finish(site, work, Outcome::Failed(cause));
        }
    }

    /// Whether an answer is to the question that is open, which it closes.
    pub(crate) fn is_open(&mut self, site: usize, work: &Work, question: u64) -> bool {
        let questions = &mut self.machines[site].questions;
        if questions.get(&work.package) != Some(&question) {
            return false;
        }
        questions.remove(&work.package);
        true
    }

    /// The work at a site that receives this version.
    pub(crate) fn receiving(
        &self,
        site: usize,
        name: &PackageName,
        version: VersionNumber,
    ) -> Option<Work> {
        let machine = &self.machines[site];
        let package = machine.site.package_id(name)?;
        let work = machine.works.get(&(PlaceId::OWN, package))?;
        (work.version == version && work.kind == JobKind::Complete).then_some(*work)
    }

    pub(crate) fn received(
        &mut self,
        site: usize,
        name: &PackageName,
        version: VersionNumber,
        unit: usize,
        content: u64,
    ) {
        *self.units_sent.entry(site).or_default() += 1;
        let Some(work) = self.receiving(site, name, version) else { return };
        let key = (name.clone(), version);
        let Some(spool) = self.machines[site].spool.get_mut(&key) else { return };
        let Some(place) = spool.units.get_mut(unit) else { return };
        if place.is_some() {
            return;
        }
        *place = Some(content);
        self.event(site, progress(&work));
        self.wants(site, work);
    }

    /// Nothing came for a while: the other side is not there.
    pub(crate) fn silence(&mut self, site: usize, work: Work, have: usize) {
        if !self.has_right(site, &work) {
            return;
        }
        if have == usize::MAX {
            return self.finish(site, work, Outcome::Failed(Cause::Unreachable));
        }
        let machine = &self.machines[site];
        let Some(package) = machine.site.package(work.package) else { return };
        let spool = machine.spool.get(&(package.name.clone(), work.version));
        let now = spool.map_or(0, |spool| spool.units.iter().filter(|unit| unit.is_some()).count());
        if now == have {
            self.finish(site, work, Outcome::Failed(Cause::Unreachable));
        }
    }

    /// A parent answers a child that wants a unit, as far as the sender lets it and it has it itself.
    pub(crate) fn serve(
        &mut self,
        site: usize,
        child: usize,
        (name, version): (PackageName, VersionNumber),
        unit: usize,
        question: u64,
    ) {
        let (at, wall) = (self.steady(site), self.wall(site));
        let code = self.machines[child].site.code().clone();
        let machine = &mut self.machines[site];
        let Some(place) = machine.site.child_id(&code) else { return };
        let key = (name.clone(), version);
        let whole = machine.store.get(&key);
        let spool = machine.spool.get(&key);
        if whole.is_none()
            && spool.is_none()
            && machine.site.package_id(&name).is_none_or(|id| {
                machine.site.package(id).is_none_or(|package| package.number != version)
            })
        {
            return self.send(site, child, Message::Gone { package: name, version });
        }
        // Units that came from an unverified base are not passed on.
        let spooled = spool.filter(|spool| !spool.has_base);
        let content = whole
            .and_then(|units| units.get(unit).copied())
            .or_else(|| spooled.and_then(|spool| spool.units.get(unit).copied().flatten()));
        let available = if content.is_some() { UNIT } else { 0 };
        let priority = machine.site.package_id(&name).and_then(|id| machine.site.package(id));
        let priority = priority.map_or(0, |package| package.priority);
        let stream = machine.site.package_id(&name).map_or(0, |id| u64::from(id.0));
        let answer = machine.sender.ask(at, wall, place, (StreamId(stream), priority), available);
        let message = match (answer, content) {
            (Ok(_), Some(content)) => Message::Unit { package: name, version, unit, content },
            (Err(policy::Hold::Rate(milliseconds)), _) => {
                Message::Later { package: name, version, milliseconds, question }
            }
            _ => Message::Later { package: name, version, milliseconds: 2_000, question },
        };
        self.send(site, child, message);
    }

    /// Tells of copies the tables know nothing about.
    fn take_stock(&mut self, site: usize) {
        let machine = &mut self.machines[site];
        let known = &machine.site;
        machine.spool.retain(|(name, version), _| known.needs_pieces(name, *version));
        machine.store.retain(|(name, version), _| known.needs_copy(name, *version));
        let machine = &self.machines[site];
        let store = machine.store.keys().map(|(name, version)| (PlaceId::OWN, name, *version));
        let points =
            machine.points.iter().filter(|(_, disk)| disk.dead_until <= self.now).flat_map(
                |(id, disk)| disk.visible.iter().map(|(name, (version, _))| (*id, name, *version)),
            );
        let unknown: Vec<_> = store
            .chain(points)
            .filter(|(place, name, _)| {
                let id = machine.site.package_id(name);
                let cell = id.and_then(|id| machine.site.place(*place)?.cell(id));
                machine.site.place(*place).is_some() && cell.is_none()
            })
            .map(|(place, name, version)| (place, name.clone(), version))
            .collect();
        for (place, package, version) in unknown {
            self.event(site, Event::Found { place, package, version });
        }
    }

    /// Hashes every copy of one package and tells what it saw.
    pub(crate) fn scrub(&mut self, site: usize) {
        self.take_stock(site);
        let places: Vec<(PlaceId, policy::PackageId)> = self.machines[site]
            .site
            .places()
            .filter(|(id, _)| *id == PlaceId::OWN || self.machines[site].points.contains_key(id))
            .flat_map(|(id, place)| place.cells().map(move |(package, _)| (id, package)))
            .collect();
        for (place, package) in places {
            let is_worked_on = self.machines[site].works.contains_key(&(place, package));
            let before = self.machines[site]
                .site
                .place(place)
                .and_then(|place| place.cell(package))
                .map(|cell| cell.observed);
            let observed = self.look(site, place, package);
            if !is_worked_on && before != Some(observed) && observed != Observed::Unknown {
                self.event(site, Event::Looked { place, package, observed });
            }
        }
    }
}
