//! What goes wrong, and what people do meanwhile.

use model::PackageName;
use policy::{Event, Features, PointName, Site};

use crate::{
    World,
    machine::{PointDisk, manifest},
    world::{Happening, UNIT},
};

impl World {
    /// A point with a disk.
    pub fn add_point(&mut self, site: usize, name: &str) {
        let event = Event::AddPoint { name: name.into(), features: Features(0xFF) };
        self.event(site, event);
        if let Some(id) = self.machines[site].site.point_id(name) {
            self.machines[site].points.entry(id).or_default();
        }
    }

    /// Publishes `units` as the newest content of a package of the central site.
    pub fn publish(&mut self, name: &PackageName, units: Vec<u64>) -> Vec<policy::Effect> {
        if !self.machines[0].up {
            return Vec::new();
        }
        let hash = manifest(&units);
        let bytes = units.len() as u64 * UNIT;
        self.contents.insert(hash, units.clone());
        let package = name.clone();
        // An optional feature nobody knows never stands in the way.
        let (critical, optional) = (Features(1), Features(1 << 60));
        // The store has it before the site says so.
        let number = self.machines[0].site.next_version(name);
        self.machines[0].store.insert((name.clone(), number), units);
        self.event(0, Event::Publish { package, manifest: hash, bytes, critical, optional })
    }

    /// Every point there is.
    pub fn all_points(&self) -> Vec<PointName> {
        self.machines
            .iter()
            .flat_map(|machine| {
                machine.points.keys().filter_map(|id| match &machine.site.place(*id)?.kind {
                    policy::PlaceKind::Point(name) => Some(name.clone()),
                    _ => None,
                })
            })
            .collect()
    }

    /// Something a person does at the central site.
    pub(crate) fn operator(&mut self) {
        if self.is_calm() {
            return;
        }
        let next = 60_000 + self.dice.below(900_000);
        self.at(next, Happening::Operator);
        if !self.machines[0].up {
            return;
        }
        let Ok(package) = PackageName::new(&format!("p{}", self.dice.below(4))) else { return };
        match self.dice.below(12) {
            0..=3 => {
                let units = self.new_units(&package);
                self.publish(&package, units);
            }
            4 => self.save_unchanged(&package),
            5 | 6 => {
                let points = self.all_points();
                let points = points.into_iter().filter(|_| self.dice.chance(50)).collect();
                self.event(0, Event::Assign { package, points });
            }
            7 => {
                let points = self.all_points();
                let points: Vec<PointName> =
                    points.into_iter().filter(|_| self.dice.chance(20)).collect();
                self.event(0, Event::Unassign { package, points });
            }
            8 if self.dice.chance(40) => drop(self.event(0, Event::Retire(package))),
            9 => {
                let group: policy::GroupName = "group".into();
                if let Some(point) = self.dice.clone().pick(&self.all_points()).cloned() {
                    self.event(0, Event::Join { group: group.clone(), point });
                }
                self.event(0, Event::AssignGroup { package, group });
            }
            10 => self.change_points(),
            _ => {
                let priority = u8::try_from(self.dice.below(10)).unwrap_or(0);
                self.event(0, Event::Prioritise { package, priority });
            }
        }
    }

    fn save_unchanged(&mut self, package: &PackageName) {
        let site = &self.machines[0].site;
        let newest = site.package_id(package).and_then(|id| site.package(id)?.newest);
        if let Some(newest) = newest {
            let event = Event::Publish {
                package: package.clone(),
                manifest: newest.manifest,
                bytes: newest.bytes,
                critical: newest.critical,
                optional: newest.optional,
            };
            let effects = self.event(0, event);
            let kept = effects.iter().filter(|effect| !matches!(effect, policy::Effect::Start(_)));
            if kept.count() > 0 {
                self.checks.say("I10", format!("saving `{package}` unchanged made work"));
            }
        }
    }

    fn change_points(&mut self) {
        let site = usize::try_from(self.dice.below(self.machines.len() as u64)).unwrap_or(0);
        if !self.machines[site].up {
            return;
        }
        let name = format!("d{}", self.dice.below(4));
        if self.machines[site].site.point_id(&name).is_some() && self.dice.chance(50) {
            self.event(site, Event::RemovePoint { name: name.into(), force: false });
        } else {
            self.add_point(site, &name);
        }
    }

    /// Content that differs in some units from what was last.
    pub(crate) fn new_units(&mut self, package: &PackageName) -> Vec<u64> {
        let site = &self.machines[0].site;
        let newest = site.package_id(package).and_then(|id| site.package(id)?.newest);
        let old = newest.and_then(|newest| self.contents.get(&newest.manifest)).cloned();
        let mut units = old.unwrap_or_else(|| vec![0; 3 + (self.seed % 6) as usize]);
        let first = self.dice.below(units.len() as u64);
        for (index, unit) in (0..).zip(&mut units) {
            if *unit == 0 || index == first || self.dice.chance(20) {
                *unit = self.dice.roll() | 1;
            }
        }
        units
    }

    /// Something goes wrong somewhere.
    pub(crate) fn fault(&mut self) {
        if self.is_calm() {
            return;
        }
        let next = 30_000 + self.dice.below(600_000);
        self.at(next, Happening::Fault);
        let site = usize::try_from(self.dice.below(self.machines.len() as u64)).unwrap_or(0);
        let until = self.now + self.dice.below(3_600_000);
        match self.dice.below(10) {
            0 | 1 if self.machines[site].up => self.crash(site),
            2 => self.damage_store(site),
            3 => self.damage_point(site),
            4 => self.for_a_point(site, |disk| disk.dead_until = until),
            5 => self.fill(site, until),
            6 => self.for_a_point(site, |disk| disk.in_use_until = until),
            7 => {
                let wall = self.lie();
                if self.clocks == crate::Clocks::Apart {
                    self.machines[site].wall = wall;
                }
            }
            8 => self.back_up_or_restore(site),
            _ => self.poison(site),
        }
    }

    fn for_a_point(&mut self, site: usize, change: impl FnOnce(&mut PointDisk)) {
        let mut dice = self.dice.clone();
        let points: Vec<policy::PlaceId> = self.machines[site].points.keys().copied().collect();
        if let Some(disk) = dice.pick(&points).and_then(|id| self.machines[site].points.get_mut(id))
        {
            change(disk);
        }
    }

    fn damage_store(&mut self, site: usize) {
        let unit = self.dice.roll();
        let copies: Vec<_> = self.machines[site].store.keys().cloned().collect();
        if let Some(key) = self.dice.pick(&copies).cloned() {
            self.say(|| format!("{site}: a unit of {} {} goes bad", key.0, key.1));
            if let Some(first) =
                self.machines[site].store.get_mut(&key).and_then(|units| units.first_mut())
            {
                *first = unit & !1;
            }
            self.checks.damaged(site, &key);
        }
    }

    fn damage_point(&mut self, site: usize) {
        let unit = self.dice.roll();
        self.say(|| format!("{site}: a copy at a point goes bad"));
        self.for_a_point(site, |disk| {
            if let Some((_, units)) = disk.visible.values_mut().next()
                && let Some(last) = units.last_mut()
            {
                *last = unit & !1;
            }
        });
    }

    fn fill(&mut self, site: usize, until: u64) {
        let own = self.dice.chance(50);
        self.say(|| format!("{site}: a disk is full"));
        if own {
            self.machines[site].full_until = until;
            self.event(site, Event::Space { place: policy::PlaceId::OWN, free: UNIT });
        } else {
            let place = self.machines[site].points.keys().next().copied();
            self.for_a_point(site, |disk| disk.full_until = until);
            if let Some(place) = place
                && self.machines[site].points[&place].full_until > self.now
            {
                self.event(site, Event::Space { place, free: UNIT });
            }
        }
    }

    /// Tables are saved, or taken back from where they were saved.
    pub fn back_up_or_restore(&mut self, site: usize) {
        if !self.machines[site].up {
            return;
        }
        match self.machines[site].backup.take() {
            None => {
                self.say(|| format!("{site}: saves its tables"));
                self.machines[site].backup = Some(self.machines[site].site.clone());
            }
            Some(saved) => self.restore(site, saved),
        }
    }

    /// The tables of `saved` take the place of those there are.
    pub fn restore(&mut self, site: usize, saved: Site) {
        self.say(|| format!("{site}: its tables come from a backup"));
        let machine = &mut self.machines[site];
        machine.epoch = machine.epoch.max(machine.site.epoch());
        machine.rows = saved.keys().filter_map(|key| Some((key, saved.row(key)?))).collect();
        (machine.site, machine.other) = (saved, None);
        machine.life += 1;
        machine.works.clear();
        machine.timer = None;
        let (life, above) = (machine.life, machine.epoch);
        // Points that were added since are unknown now; those that left since have lost their disks.
        let places: Vec<policy::PlaceId> = machine
            .site
            .places()
            .filter(|(_, place)| matches!(place.kind, policy::PlaceKind::Point(_)))
            .map(|(id, _)| id)
            .collect();
        machine.points.retain(|id, _| places.contains(id));
        for id in places {
            machine.points.entry(id).or_default();
        }
        self.checks.restored(site);
        self.event(site, Event::Restored { above });
        if self.machines[site].up {
            let machine = &mut self.machines[site];
            machine.epoch = machine.epoch.max(machine.site.epoch());
            self.at(10, Happening::Poll { site, life });
            self.at(600_000, Happening::Scrub { site, life });
            self.set_timer(site);
        }
    }

    /// Messages that make no sense reach a site.
    fn poison(&mut self, site: usize) {
        if !self.machines[site].up {
            return;
        }
        let quarantined = self.checks.quarantined;
        let live = self.machines[site].site.live_jobs();
        let stamp = policy::Stamp { epoch: 0, sequence: 1 };
        let report = policy::Report { stamp, since: Some(9), below: None, entries: Vec::new() };
        let exchange = policy::Exchange { seen: policy::Stamp::default(), report };
        let Ok(from) = policy::SiteCode::new("NOBODY") else { return };
        self.event(site, Event::FromChild { from: from.clone(), exchange });
        let feed = policy::Feed {
            stamp,
            since: None,
            entries: Vec::new(),
            heard: policy::Stamp::default(),
            trust: None,
        };
        self.event(site, Event::FromParent { from, feed });
        if self.machines[site].up {
            let set_aside = self.checks.quarantined - quarantined;
            if set_aside != 2 || self.machines[site].site.live_jobs() != live {
                self.checks.say("I6", "a senseless message was not set aside".to_owned());
            }
        }
    }
}
