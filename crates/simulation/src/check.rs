//! What must hold all the time, by the names of the invariants.

use std::collections::{BTreeMap, BTreeSet};

use model::PackageName;
use policy::{
    Effect, Event, Fence, JobKind, Key, Moment, Observed, Outcome, PackageId, Phase, PlaceId,
    PlaceKind, Stamp, Switch, VersionNumber, Way, Work,
};

use crate::{Machine, World, machine::manifest};

type Copy = (usize, PlaceId, PackageId);

/// Watches every event of every site.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// What was broken, with the invariant's name. Empty is good.
    pub broken: Vec<String>,
    /// Events watched.
    pub events: u64,
    /// Attempts begun.
    pub attempts: u64,
    /// Messages set aside.
    pub quarantined: u64,
    latest: BTreeMap<Copy, Work>,
    base_was_bad: BTreeSet<Copy>,
    damaged: BTreeSet<(usize, PackageName, VersionNumber)>,
}

/// What is compared with afterwards.
pub(crate) struct Before {
    site: usize,
    event: Watched,
    heard: BTreeMap<PlaceId, Stamp>,
    epoch: u32,
    places: usize,
}

enum Watched {
    AddPoint,
    Finished(PlaceId),
    Other,
}

impl Checks {
    /// Takes note of a breach.
    pub fn say(&mut self, invariant: &str, text: String) {
        self.broken.push(format!("{invariant}: {text}"));
    }

    fn expect(&mut self, holds: bool, invariant: &str, text: impl FnOnce() -> String) {
        if !holds {
            self.say(invariant, text());
        }
    }

    pub(crate) fn before(machine: &Machine, event: &Event) -> Before {
        let heard = machine
            .site
            .places()
            .filter_map(|(id, place)| match &place.kind {
                PlaceKind::Child { heard, .. } => Some((id, *heard)),
                _ => None,
            })
            .collect();
        let event = match event {
            Event::AddPoint { .. } => Watched::AddPoint,
            Event::Finished { place, .. } => Watched::Finished(*place),
            _ => Watched::Other,
        };
        let site = number(machine);
        Before {
            site,
            event,
            heard,
            epoch: machine.site.epoch(),
            places: machine.site.places().count(),
        }
    }

    pub(crate) fn after(
        &mut self,
        machine: &Machine,
        before: Before,
        at: Moment,
        effects: &[Effect],
    ) {
        self.events += 1;
        let site = &machine.site;
        // I18: what was heard of a child never goes back, but when everything is compared again.
        if before.epoch == site.epoch() {
            for (id, heard) in &before.heard {
                if let Some(PlaceKind::Child { heard: now, .. }) =
                    site.place(*id).map(|place| &place.kind)
                {
                    self.expect(now >= heard, "I18", || format!("heard {now} after {heard}"));
                }
            }
        }
        // I17: an epoch never falls.
        self.expect(site.epoch() >= before.epoch, "I17", || "an epoch fell".to_owned());
        let touched: BTreeSet<PlaceId> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Keep(Key::Copy(place, _)) => Some(*place),
                _ => None,
            })
            .collect();
        match before.event {
            // I9: a new point makes its own jobs. A slot it frees elsewhere is none of them.
            Watched::AddPoint if site.places().count() > before.places => {
                let others = touched.iter().filter(|id| **id != PlaceId::OWN).count();
                let started = starts(effects).filter(|work| work.place != PlaceId::OWN).count();
                self.expect(others <= 1 + started, "I9", || format!("{others} places touched"));
            }
            // I20: an attempt at a point concerns that point, the own copy, and whoever gets the free slot.
            Watched::Finished(place) if place != PlaceId::OWN => {
                let started = starts(effects).count();
                self.expect(touched.len() <= 2 + started + 1, "I20", || {
                    format!("{} places touched by one attempt", touched.len())
                });
            }
            _ => {}
        }
        self.check_slots(machine);
        for work in starts(effects) {
            self.check_start(before.site, machine, at, work);
        }
        for effect in effects {
            if let Effect::Collect { package, below } = effect {
                // I19: the newest sound copy is never collected.
                let held = site.master(*package);
                let leaves = starts(effects)
                    .any(|work| (work.place, work.package) == (PlaceId::OWN, *package));
                self.expect(leaves || held.is_some_and(|held| held >= *below), "I19", || {
                    format!("collects below {below} and holds {held:?}")
                });
            }
        }
    }

    /// I28: only what runs takes slots; I12: no more room is promised than there is.
    fn check_slots(&mut self, machine: &Machine) {
        let mut running = 0;
        for (_, place) in machine.site.places() {
            let leased = place.cells().filter(|(_, cell)| cell.phase == Phase::Running).count();
            self.expect(leased == place.running(), "I28", || {
                format!("{leased} leases and {} slots", place.running())
            });
            running += leased;
            // I11: who waits for content waits for a copy that is on its way.
            for (package, cell) in place.cells().filter(|(_, cell)| cell.phase == Phase::Content) {
                let own = machine.site.waiting(PlaceId::OWN, package);
                self.expect(own.is_some(), "I11", || {
                    format!("waits for content since {:?} and nobody fetches it", cell.since)
                });
            }
        }
        let counted = machine.site.running() as usize;
        self.expect(counted == running, "I28", || format!("{counted} counted, {running} run"));
    }

    fn check_start(&mut self, site: usize, machine: &Machine, at: Moment, work: &Work) {
        self.attempts += 1;
        let copy = (site, work.place, work.package);
        let (Some(place), Some(package)) =
            (machine.site.place(work.place), machine.site.package(work.package))
        else {
            // I15: nothing begins for what is gone.
            return self.say("I15", format!("{work:?} begins nowhere"));
        };
        if let Some(last) = self.latest.get(&copy).copied() {
            let same = last.kind == work.kind && last.version == work.version;
            // I4: one lease, one attempt. An operator or a cure may begin at 1 again.
            let counts = work.attempt == last.attempt + 1 || work.attempt == 1;
            self.expect(!same || counts, "I4", || {
                format!("attempt {} after {}", work.attempt, last.attempt)
            });
            // I14: fences rise.
            self.expect(work.fence > last.fence, "I14", || {
                format!("fence {:?} after {:?}", work.fence, last.fence)
            });
        }
        // I5: attempts end.
        self.expect(work.attempt <= 1_000, "I5", || format!("attempt {}", work.attempt));
        // I26: every attempt has an end.
        self.expect(work.until > at, "I26", || "an attempt without an end".to_owned());
        if work.kind == JobKind::Complete {
            // I12: room is there before anything is sent.
            self.expect(place.free.is_none_or(|free| place.reserved <= free), "I12", || {
                format!("{} promised of {:?}", place.reserved, place.free)
            });
            let newest = package.newest;
            // I23: nothing is tried where it cannot be held. I22: what is optional is never asked for.
            let fits =
                newest.is_some_and(|newest| newest.critical.without(place.features).is_empty());
            self.expect(fits, "I23", || format!("{work:?} cannot be held there"));
        }
        // I27: a delta whose base was bad is not tried again.
        if self.base_was_bad.remove(&copy)
            && self.latest.get(&copy).is_some_and(|last| last.version == work.version)
            && work.attempt > 1
        {
            self.expect(work.avoid.delta, "I27", || "the same delta again".to_owned());
        }
        self.latest.insert(copy, *work);
    }

    pub(crate) fn way(&mut self, site: usize, work: &Work, way: Way) {
        let avoided = work.avoid.delta && matches!(way, Way::Delta(_));
        self.expect(!avoided, "I27", || format!("{site}: a delta although it failed"));
    }

    pub(crate) fn finished(&mut self, site: usize, work: &Work, outcome: Outcome) {
        if outcome == Outcome::Failed(policy::Cause::BaseDamaged) {
            self.base_was_bad.insert((site, work.place, work.package));
        }
    }

    /// I14: a place never takes anything from a lease that is over.
    pub(crate) fn switching(&mut self, site: usize, work: &Work, last: Fence, decided: Switch) {
        let wrong = decided == Switch::Now && work.fence < last;
        self.expect(!wrong, "I14", || format!("{site}: a late worker switched {work:?}"));
    }

    /// I19: the master copy goes last.
    pub(crate) fn removing_master(&mut self, machine: &Machine, package: PackageId) {
        let others = machine.site.package(package).map_or(0, |package| {
            package.places.iter().filter(|place| **place != PlaceId::OWN).count()
        });
        self.expect(others == 0, "I19", || format!("{others} places still need the master copy"));
    }

    /// I1: content that is here, sound, is not asked for.
    pub(crate) fn asking(
        &mut self,
        site: usize,
        machine: &Machine,
        key: &(PackageName, VersionNumber),
    ) {
        let newest =
            machine.site.package_id(&key.0).and_then(|id| machine.site.package(id)?.newest);
        let here = machine.store.get(key).map(|units| manifest(units));
        let damaged = self.damaged.contains(&(site, key.0.clone(), key.1));
        let again = here.is_some() && here == newest.map(|newest| newest.manifest) && !damaged;
        self.expect(!again, "I1", || format!("{site}: `{}` {} once more", key.0, key.1));
    }

    pub(crate) fn damaged(&mut self, site: usize, key: &(PackageName, VersionNumber)) {
        self.damaged.insert((site, key.0.clone(), key.1));
    }

    pub(crate) fn restored(&mut self, site: usize) {
        self.latest.retain(|(other, ..), _| *other != site);
        self.base_was_bad.retain(|(other, ..)| *other != site);
    }
}

fn starts(effects: &[Effect]) -> impl Iterator<Item = &Work> {
    effects.iter().filter_map(|effect| match effect {
        Effect::Start(work) => Some(work),
        _ => None,
    })
}

/// Sites are called `TOP` and `S` with their number.
fn number(machine: &Machine) -> usize {
    machine.site.code().as_str().trim_start_matches('S').parse().unwrap_or(0)
}

impl World {
    /// I3: a job is done only when its point holds, or held a moment ago, what it should.
    pub(crate) fn check_done(&mut self, site: usize, place: PlaceId, package: PackageId) {
        let machine = &self.machines[site];
        let (Some(disk), Some(known)) = (machine.points.get(&place), machine.site.package(package))
        else {
            return;
        };
        let cell = machine
            .site
            .place(place)
            .filter(|place| !place.leaving)
            .and_then(|place| place.cell(package));
        let wanted = cell.filter(|cell| cell.wanted > 0 && known.newest.is_some());
        let Some(Observed::Holds(believed)) = wanted.map(|cell| cell.observed) else { return };
        let there = disk.visible.get(&known.name).map(|(version, _)| *version);
        if there.is_none_or(|there| there < believed) {
            let name = &known.name;
            let text = format!("{site}: `{name}` {believed} is done, and {there:?} is there");
            self.checks.say("I3", text);
        }
    }

    /// I3, I7: what a site believes of its points is so, and readers always see a whole version.
    pub fn check_beliefs(&mut self) {
        for site in 0..self.machines.len() {
            let believed: Vec<(PlaceId, PackageId, Observed)> = self.machines[site]
                .site
                .places()
                .filter(|(id, _)| self.machines[site].points.contains_key(id))
                .flat_map(|(id, place)| place.cells().map(move |(p, cell)| (id, p, cell.observed)))
                .collect();
            for (place, package, observed) in believed {
                let seen = self.look(site, place, package);
                let agrees = match (observed, seen) {
                    (Observed::Holds(one), Observed::Holds(other)) => one <= other,
                    (Observed::Holds(_) | Observed::Absent, other) => observed == other,
                    _ => true,
                };
                if !agrees {
                    self.checks.say("I3", format!("{site}: believes {observed:?}, holds {seen:?}"));
                }
            }
        }
    }

    /// I2, I11, I13, I16, I17, I21: long after the last fault, every point holds the newest version of what it should,
    /// nothing else is anywhere, and every site says so.
    pub fn check_end(&mut self) {
        let points = self.all_points();
        let mut broken = Vec::new();
        for (site, machine) in self.machines.iter().enumerate() {
            let live = machine.site.live_jobs();
            if live > 0 {
                let why: Vec<String> = machine
                    .site
                    .places()
                    .flat_map(|(id, place)| place.cells().map(move |(package, _)| (id, package)))
                    .filter_map(|(id, package)| {
                        let waiting = machine.site.waiting(id, package)?;
                        Some(format!("{}/{}: {}", id.0, package.0, waiting.reason))
                    })
                    .collect();
                broken.push(format!("I2: {site}: {live} jobs are left: {why:?}"));
            }
            if !machine.spool.is_empty() {
                broken.push(format!(
                    "I13: {site}: pieces are left in the spool: {:?}",
                    machine.spool.keys()
                ));
            }
        }
        let central = &self.machines[0].site;
        for point in &points {
            let Some(site) = self.by_code(&point.site) else { continue };
            let machine = &self.machines[site];
            let Some(disk) =
                machine.site.point_id(&point.name).and_then(|id| machine.points.get(&id))
            else {
                continue;
            };
            for (_, package) in central.packages() {
                let wanted = package.newest.filter(|_| central_wants(central, package, point));
                let there = disk.visible.get(&package.name);
                let right = match (wanted, there) {
                    (Some(newest), Some((version, units))) => {
                        *version >= newest.number && manifest(units) == newest.manifest
                    }
                    (None, None) => true,
                    _ => false,
                };
                if !right {
                    let there = there.map(|(version, _)| *version);
                    let wanted = wanted.map(|newest| newest.number);
                    let name = &package.name;
                    broken
                        .push(format!("I2: {point}: `{name}` should be {wanted:?}, is {there:?}"));
                }
            }
            for name in disk.visible.keys().filter(|name| central.package_id(name).is_none()) {
                broken.push(format!("I16: {point}: `{name}` is an orphan"));
            }
        }
        for (site, machine) in self.machines.iter().enumerate().skip(1) {
            for (name, version) in machine.store.keys() {
                if central.package_id(name).is_none() {
                    broken.push(format!("I21: {site}: `{name}` {version} is still in the store"));
                }
            }
        }
        for (_, package) in central.packages().filter(|(_, package)| package.newest.is_some()) {
            let wanted =
                points.iter().filter(|point| central_wants(central, package, point)).count();
            if package.tally.done as usize != wanted || package.tally.left != 0 {
                let (name, tally) = (&package.name, package.tally);
                broken
                    .push(format!("I18: `{name}`: {wanted} wanted, and the count says {tally:?}"));
            }
        }
        self.checks.broken.extend(broken);
    }
}

fn central_wants(
    central: &policy::Site,
    package: &policy::Package,
    point: &policy::PointName,
) -> bool {
    central
        .package_id(&package.name)
        .is_some_and(|id| central.points_of(id).any(|wanted| wanted == point))
}
