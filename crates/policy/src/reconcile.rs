//! Desired against observed, for one package in one place. Every job begins and ends here.

use crate::{
    Cell, Effect, Fence, JobKind, Key, Moment, Note, Observed, Package, PackageId, Phase, Place,
    PlaceId, PlaceKind, Reach, Site, VersionNumber, desired::tally_of,
};

/// What has to be done at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Nothing,
    Complete(VersionNumber),
    Remove,
}

pub(crate) fn goal(package: &Package, place: &Place, cell: &Cell) -> Goal {
    let wanted = package.newest.filter(|_| cell.wanted > 0 && !place.leaving);
    match (wanted, cell.observed) {
        (Some(newest), Observed::Holds(held)) if held >= newest.number => Goal::Nothing,
        (Some(newest), _) => Goal::Complete(newest.number),
        (None, Observed::Absent) => Goal::Nothing,
        (None, _) => Goal::Remove,
    }
}

impl Site {
    /// Compares, and makes, keeps, changes or ends the job. Nothing else does.
    pub(crate) fn reconcile(
        &mut self,
        at: Moment,
        place_id: PlaceId,
        id: PackageId,
        fx: &mut Vec<Effect>,
    ) {
        let master = self.master(id);
        let (Some(package), Some(place)) =
            (self.packages.get_mut(&id), self.places.get_mut(&place_id))
        else {
            return;
        };
        let before = tally_of(package, place, id);
        doubt_after_removal(package, place, id);
        let Some(cell) = place.cell(id) else { return };
        let goal = goal(package, place, cell);
        if goal == Goal::Nothing && cell.observed == Observed::Absent {
            return self.drop_copy(at, place_id, id, fx);
        }
        let target = resting_phase(goal, package, place, master);
        let keeps = keeps(cell, goal, target);
        if !keeps {
            let was_running = cell.phase == Phase::Running;
            let is_new = cell.phase == Phase::Settled && cell.note.is_none();
            let fence = if is_new { None } else { self.withdraw_job(place_id, id) };
            if let (true, Some(fence)) = (was_running, fence) {
                fx.push(Effect::Cancel { place: place_id, package: id, fence });
                if let Goal::Complete(by) = goal {
                    fx.push(Effect::Tell(Note::Superseded { place: place_id, package: id, by }));
                }
            }
            self.enter(at, place_id, id, target);
            fx.push(Effect::Keep(Key::Copy(place_id, id)));
        }
        self.retally(place_id, id, before);
        if !keeps {
            self.offer(at, place_id);
        }
    }

    /// The package's tally, after a copy's part of it was `before`.
    pub(crate) fn retally(&mut self, place_id: PlaceId, id: PackageId, before: crate::Tally) {
        let (Some(package), Some(place)) = (self.packages.get_mut(&id), self.places.get(&place_id))
        else {
            return;
        };
        let after = tally_of(package, place, id);
        if before != after {
            package.tally.replace(before, after);
            self.say_to_parent(id);
        }
    }

    /// Takes a job out of wherever it waits or runs; what was tried is forgotten. Answers with the fence that lost
    /// its right, if the job was running.
    pub(crate) fn withdraw_job(&mut self, place_id: PlaceId, id: PackageId) -> Option<Fence> {
        let fence = self.stand_down(place_id, id);
        let cell = self.places.get_mut(&place_id)?.cell_mut(id)?;
        if let Some(note) = &mut cell.note {
            let crate::site::Trouble { below, is_in_doubt, .. } = **note;
            if below.is_none() && !is_in_doubt {
                cell.note = None;
            } else {
                **note = crate::site::Trouble { is_in_doubt, below, ..Default::default() };
            }
        }
        fence
    }

    /// Takes a job out of wherever it waits or runs, and leaves it without a phase.
    pub(crate) fn stand_down(&mut self, place_id: PlaceId, id: PackageId) -> Option<Fence> {
        let priority = self.packages.get(&id).map_or(0, |package| package.priority);
        let epoch = self.epoch;
        let place = self.places.get_mut(&place_id)?;
        let is_probe = place.probe == Some(id);
        let cell = place.cell_mut(id)?;
        let (phase, ticket) = (cell.phase, cell.ticket);
        cell.phase = Phase::Settled;
        let (until, reserved, version) = cell
            .note
            .as_mut()
            .map(|note| (note.until, std::mem::take(&mut note.reserved), note.version))
            .unwrap_or_default();
        let mut fence = None;
        if phase == Phase::Running {
            fence = Some(Fence { epoch, number: cell.fence });
            cell.fence = 0;
            self.running -= 1;
        }
        if phase != Phase::Settled {
            self.live -= 1;
        }
        place.reserved -= reserved;
        place.ready.remove(&(255 - priority, ticket, id));
        place.later.remove(&(until, id));
        place.short.remove(&id);
        if phase == Phase::Running {
            place.running.remove(&id);
            if is_probe {
                place.probe = None;
                self.probing -= 1;
            }
            if place_id != PlaceId::OWN {
                self.stop_reading(id, version);
            }
        }
        fence
    }

    fn stop_reading(&mut self, id: PackageId, version: VersionNumber) {
        let Some(package) = self.packages.get_mut(&id) else { return };
        if let Some(readers) = package.readers.get_mut(&version) {
            *readers -= 1;
            if *readers == 0 {
                package.readers.remove(&version);
            }
        }
    }

    /// Puts a job without a phase into one that needs no further word.
    pub(crate) fn enter(&mut self, at: Moment, place_id: PlaceId, id: PackageId, phase: Phase) {
        let priority = self.packages.get(&id).map_or(0, |package| package.priority);
        let Some(place) = self.places.get_mut(&place_id) else { return };
        let ticket = place.ticket;
        let Some(cell) = place.cell_mut(id) else { return };
        cell.phase = phase;
        cell.since = at;
        if phase != Phase::Settled {
            self.live += 1;
        }
        let until = cell.note.as_ref().map(|note| note.until).unwrap_or_default();
        match phase {
            Phase::Turn => {
                cell.ticket = ticket;
                place.ticket = ticket.wrapping_add(1);
                place.ready.insert((255 - priority, ticket, id));
            }
            Phase::Later => drop(place.later.insert((until, id))),
            Phase::Space => {
                place.short.insert(id);
                place.later.insert((until, id));
            }
            Phase::Running => {
                place.later.insert((until, id));
                place.running.insert(id);
            }
            _ => {}
        }
    }

    /// Nothing is there and nothing should be: the row goes, and what waited for that goes on.
    pub(crate) fn drop_copy(
        &mut self,
        at: Moment,
        place_id: PlaceId,
        id: PackageId,
        fx: &mut Vec<Effect>,
    ) {
        if let Some(fence) = self.withdraw_job(place_id, id) {
            fx.push(Effect::Cancel { place: place_id, package: id, fence });
        }
        let (Some(package), Some(place)) =
            (self.packages.get_mut(&id), self.places.get_mut(&place_id))
        else {
            return;
        };
        let before = tally_of(package, place, id);
        package.tally.replace(before, crate::Tally::default());
        package.places.remove(&place_id);
        place.drop_cell(id);
        fx.push(Effect::Keep(Key::Copy(place_id, id)));
        if place_id == PlaceId::OWN {
            fx.push(Effect::Discard(package.name.clone()));
        }
        let leaves = place.leaving && place.cells.is_empty();
        self.say_to_parent(id);
        self.offer(at, place_id);
        if place_id != PlaceId::OWN {
            self.reconcile(at, PlaceId::OWN, id, fx);
        }
        self.drop_tombstone(id, fx);
        if leaves {
            self.forget_place(at, place_id, fx);
        }
    }

    /// A package that is nowhere any more, and of which the parent knows so, is forgotten.
    pub(crate) fn drop_tombstone(&mut self, id: PackageId, fx: &mut Vec<Effect>) {
        let Some(package) = self.packages.get(&id) else { return };
        let is_heard = self.parent.is_none() || self.reports.of(id) <= self.heard.sequence;
        if package.newest.is_some() || !package.places.is_empty() || !(is_heard || package.ours) {
            return;
        }
        for group in &package.groups {
            if let Some(group) = self.groups.get_mut(group) {
                group.packages.remove(&id);
            }
        }
        if package.ours {
            self.retired.insert(package.name.clone(), package.number);
            fx.push(Effect::Keep(Key::Site));
        }
        self.names.remove(&package.name);
        self.packages.remove(&id);
        self.feed.forget(id);
        self.reports.forget(id);
        fx.push(Effect::Keep(Key::Package(id)));
    }

    /// Older own copies that nobody reads any more may go.
    pub(crate) fn collect(&mut self, id: PackageId, fx: &mut Vec<Effect>) {
        let Some(master) = self.master(id) else { return };
        let Some(package) = self.packages.get_mut(&id) else { return };
        let below = package.readers.keys().next().copied().unwrap_or(master).min(master);
        if below > package.collected {
            package.collected = below;
            fx.extend([Effect::Keep(Key::Package(id)), Effect::Collect { package: id, below }]);
        }
    }
}

/// A copy that was to go and is wanted again may still go: whoever was removing it is not heard of. It counts as unknown
/// until a later lease has made sure of it, which locks the earlier one out.
fn doubt_after_removal(package: &Package, place: &mut Place, id: PackageId) {
    let leaving = place.leaving;
    let Some(cell) = place.cell_mut(id) else { return };
    let is_wanted = package.newest.is_some() && cell.wanted > 0 && !leaving;
    let was_removed = |note: &&mut Box<crate::site::Trouble>| note.removes && note.attempts > 0;
    let Some(note) = cell.note.as_mut().filter(|note| is_wanted && was_removed(note)) else {
        return;
    };
    note.is_in_doubt = true;
    if matches!(cell.observed, Observed::Holds(_)) {
        cell.observed = Observed::Unknown;
    }
}

/// Whether the job there is for the same goal and may stay as it is.
fn keeps(cell: &Cell, goal: Goal, target: Phase) -> bool {
    let is_same = cell.note.as_ref().is_none_or(|note| {
        note.attempts == 0
            || match goal {
                Goal::Nothing => false,
                Goal::Complete(version) => !note.removes && note.version == version,
                Goal::Remove => note.removes,
            }
    });
    match cell.phase {
        Phase::Running | Phase::Later | Phase::Failed | Phase::Space | Phase::Turn => {
            is_same && target == Phase::Turn
        }
        resting => resting == target,
    }
}

/// The phase of a job nobody has tried.
fn resting_phase(
    goal: Goal,
    package: &Package,
    place: &Place,
    master: Option<VersionNumber>,
) -> Phase {
    let is_pulled = matches!(place.kind, PlaceKind::Child { reach: Reach::Pull, .. });
    let is_own = place.kind == PlaceKind::Own;
    match goal {
        Goal::Nothing => Phase::Settled,
        _ if is_pulled => Phase::Child,
        Goal::Complete(version) => {
            let critical = package.newest.map(|newest| newest.critical).unwrap_or_default();
            if !critical.without(place.features).is_empty() {
                Phase::Cannot
            } else if is_own || master.is_some_and(|master| master >= version) {
                Phase::Turn
            } else {
                Phase::Content
            }
        }
        Goal::Remove if is_own && package.places.iter().any(|other| *other != PlaceId::OWN) => {
            Phase::Below
        }
        Goal::Remove => Phase::Turn,
    }
}

impl Goal {
    pub(crate) fn kind(self) -> JobKind {
        match self {
            Self::Remove => JobKind::Remove,
            _ => JobKind::Complete,
        }
    }
}
