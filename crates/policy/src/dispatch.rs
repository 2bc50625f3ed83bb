//! Who works on what now: turns, leases, failures, and what ends a wait.

use crate::{
    Cause, Effect, Fence, JobKind, Key, Moment, Note, Now, Observed, Outcome, PackageId, Phase,
    PlaceId, Reason, Refused, RetryScope, Site, Waiting, Work,
    desired::tally_of,
    reconcile::{Goal, goal},
    retry::reroll,
};

type Effects = Vec<Effect>;

/// So many fences are kept as given at once, for the site's row to be written once for them: after a restart those that
/// were not given are left out.
pub(crate) const FENCES: u64 = 1024;

/// A full place is looked at so often, in milliseconds, whatever number of packages wait for room there.
const ROOM_IS_LOOKED_FOR: u64 = 30_000;

impl Site {
    /// Takes the place out of every line.
    pub(crate) fn withdraw(&mut self, id: PlaceId) {
        let Some(place) = self.places.get_mut(&id) else { return };
        match place.offered.take() {
            Some((true, turn)) => drop(self.probes.remove(&(turn, id))),
            Some((false, turn)) => drop(self.runnable.remove(&(turn, id))),
            None => {}
        }
        if let Some(due) = place.due.take() {
            self.due.remove(&(due, id));
        }
    }

    /// Puts the place into the lines it belongs to: those with work for now, and the one timer.
    pub(crate) fn offer(&mut self, at: Moment, id: PlaceId) {
        let slots = self.settings.slots_per_place as usize;
        let Some(place) = self.places.get_mut(&id) else { return };
        let closed = place.breaker.is_closed();
        let has_work = !place.ready.is_empty() && place.running.len() < slots;
        let may_probe = has_work && !closed && place.running.is_empty();
        let waits = may_probe && place.breaker.until > at;
        let line = match (has_work && closed, may_probe && !waits) {
            (true, _) => Some(false),
            (_, true) => Some(true),
            _ => None,
        };
        let due = place.later.first().map(|(until, _)| *until);
        let due = if waits {
            Some(due.map_or(place.breaker.until, |due| due.min(place.breaker.until)))
        } else {
            due
        };
        if place.offered.map(|(probe, _)| probe) == line && place.due == due {
            return;
        }
        self.withdraw(id);
        let turn = self.turn;
        let Some(place) = self.places.get_mut(&id) else { return };
        if let Some(probe) = line {
            self.turn += 1;
            place.offered = Some((probe, turn));
            let line = if probe { &mut self.probes } else { &mut self.runnable };
            line.insert((turn, id));
        }
        if let Some(due) = due {
            place.due = Some(due);
            self.due.insert((due, id));
        }
    }

    /// Gives free slots to places in turn. Places that did not answer last time share `probes` of them.
    pub(crate) fn dispatch(&mut self, now: Now, fx: &mut Effects) {
        while self.running < self.settings.slots {
            let probe = (self.probing < self.settings.probes)
                .then(|| self.probes.first().copied())
                .flatten();
            let Some((_, id)) = probe.or_else(|| self.runnable.first().copied()) else { return };
            self.withdraw(id);
            self.lease(now, id, probe.is_some(), fx);
            self.offer(now.at, id);
        }
    }

    /// The next job of a place begins, if there is room for what it brings.
    fn lease(&mut self, now: Now, place_id: PlaceId, is_probe: bool, fx: &mut Effects) {
        let until = now.at + self.settings.lease;
        let epoch = self.epoch;
        let Some(place) = self.places.get_mut(&place_id) else { return };
        let Some((_, _, id)) = place.ready.first().copied() else { return };
        let Some(package) = self.packages.get_mut(&id) else { return };
        let Some(cell) = place.cell(id) else { return };
        let goal = goal(package, place, cell);
        let needs = match (goal, package.newest) {
            (Goal::Complete(_), Some(newest)) => newest.bytes,
            _ => 0,
        };
        let has = place.free.map(|free| free.saturating_sub(place.reserved));
        #[cfg(feature = "mutations")]
        let has = has.filter(|_| self.settings.mutation != Some(crate::Mutation::NoSpaceCheck));
        if has.is_some_and(|has| has < needs) {
            return self.wait_for_space(now, place_id, id, needs, fx);
        }
        self.stand_down(place_id, id);
        let (Some(place), Some(package)) =
            (self.places.get_mut(&place_id), self.packages.get_mut(&id))
        else {
            return;
        };
        let version = package.number;
        if place_id != PlaceId::OWN {
            *package.readers.entry(version).or_default() += 1;
        }
        place.reserved += needs;
        if is_probe {
            place.probe = Some(id);
            self.probing += 1;
        }
        self.running += 1;
        let Some(cell) = place.cell_mut(id) else { return };
        // From here on the worker may change what is there, and nobody hears of it if it dies.
        if goal == Goal::Remove || cell.observed == Observed::Absent {
            cell.observed = Observed::Unknown;
        }
        self.fence += 1;
        cell.fence = self.fence;
        let fence = Fence { epoch, number: cell.fence };
        let note = cell.note.get_or_insert_default();
        note.attempts = note.attempts.saturating_add(1);
        #[cfg(feature = "mutations")]
        if self.settings.mutation == Some(crate::Mutation::CountsTwice) && note.attempts > 1 {
            note.attempts += 1;
        }
        (note.version, note.removes) = (version, goal == Goal::Remove);
        (note.until, note.reserved) = (until, needs);
        let work = Work {
            kind: goal.kind(),
            package: id,
            version,
            place: place_id,
            fence,
            attempt: note.attempts,
            until,
            avoid: note.avoid,
        };
        self.enter(now.at, place_id, id, Phase::Running);
        if work.fence.number % FENCES == 1 {
            fx.push(Effect::Keep(Key::Site));
        }
        fx.extend([Effect::Keep(Key::Copy(place_id, id)), Effect::Start(work)]);
    }

    fn wait_for_space(
        &mut self,
        now: Now,
        place_id: PlaceId,
        id: PackageId,
        needs: u64,
        fx: &mut Effects,
    ) {
        self.stand_down(place_id, id);
        let longest = self.settings.retry.longest;
        let Some(place) = self.places.get_mut(&place_id) else { return };
        // Of all that wait there one asks now and then for them all.
        let soon = now.at + longest.min(ROOM_IS_LOOKED_FOR);
        let mut earlier = place.later.iter().take_while(|(until, _)| *until <= soon);
        let is_asked = earlier.any(|(_, package)| place.short.contains(package));
        let until = if is_asked { now.at + longest } else { soon };
        let has = place.free.unwrap_or_default().saturating_sub(place.reserved);
        if let Some(cell) = place.cell_mut(id) {
            let note = cell.note.get_or_insert_default();
            note.until = until;
            note.cause = Some(Cause::NoSpace { needs, has });
        }
        self.enter(now.at, place_id, id, Phase::Space);
        fx.push(Effect::Keep(Key::Copy(place_id, id)));
    }

    /// An attempt is over. What counts is what was seen afterwards.
    pub(crate) fn finished(
        &mut self,
        now: Now,
        (place_id, id): (PlaceId, PackageId),
        fence: Fence,
        outcome: Outcome,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        if self.places.get(&place_id).and_then(|place| place.cell(id)).is_none() {
            fx.push(Effect::Tell(Note::Late { place: place_id, package: id }));
            return Ok(());
        }
        self.check_fence(place_id, id, fence)?;
        #[cfg(feature = "mutations")]
        let outcome = self.mutated(place_id, id, outcome);
        self.stand_down(place_id, id);
        match outcome {
            Outcome::Seen(observed) => {
                self.answered(now.at, place_id, fx);
                self.end_doubt(place_id, id);
                // The job is judged by what is there now; if that is not enough, it was one more failure.
                self.enter(now.at, place_id, id, Phase::Turn);
                self.looked(now.at, place_id, id, observed, fx);
                self.again_if_unfinished(now, place_id, id, fx);
            }
            Outcome::Failed(cause) => self.failed(now, place_id, id, cause, fx),
        }
        self.offer(now.at, place_id);
        self.collect(id, fx);
        Ok(())
    }

    /// A lease has come to its end: earlier ones are locked out by its fence.
    fn end_doubt(&mut self, place_id: PlaceId, id: PackageId) {
        let cell = self.places.get_mut(&place_id).and_then(|place| place.cell_mut(id));
        if let Some(note) = cell.and_then(|cell| cell.note.as_mut()) {
            note.is_in_doubt = false;
        }
    }

    #[cfg(feature = "mutations")]
    fn mutated(&self, place: PlaceId, id: PackageId, outcome: Outcome) -> Outcome {
        let version = self.packages.get(&id).map(|package| package.number).unwrap_or_default();
        match outcome {
            Outcome::Failed(_)
                if place != PlaceId::OWN && self.has(crate::Mutation::FailureIsDone) =>
            {
                Outcome::Seen(Observed::Holds(version))
            }
            other => other,
        }
    }

    fn check_fence(&self, place: PlaceId, id: PackageId, given: Fence) -> Result<(), Refused> {
        let cell = self.places.get(&place).and_then(|place| place.cell(id));
        let number = cell.map_or(0, |cell| cell.fence);
        let current = Fence { epoch: self.epoch, number };
        let runs = cell.is_some_and(|cell| cell.phase == Phase::Running);
        if runs && given == current { Ok(()) } else { Err(Refused::StaleFence { given, current }) }
    }

    fn again_if_unfinished(&mut self, now: Now, place: PlaceId, id: PackageId, fx: &mut Effects) {
        let cell = self.places.get(&place).and_then(|place| place.cell(id));
        let tried = cell.is_some_and(|cell| {
            cell.phase == Phase::Turn && cell.note.as_ref().is_some_and(|note| note.attempts > 0)
        });
        if tried {
            self.stand_down(place, id);
            self.failed(now, place, id, Cause::ContentDamaged, fx);
        }
    }

    /// The job has no phase now; gives it the one its failure leads to.
    fn failed(
        &mut self,
        now: Now,
        place_id: PlaceId,
        id: PackageId,
        cause: Cause,
        fx: &mut Effects,
    ) {
        let rule = self.settings.retry;
        let Some(package) = self.packages.get(&id) else { return };
        let Some(place) = self.places.get_mut(&place_id) else { return };
        let before = tally_of(package, place, id);
        if cause.is_of_the_place() {
            place.breaker.fail(&rule, now);
            fx.push(Effect::Keep(Key::Place(place_id)));
        }
        if let Cause::NoSpace { has, .. } = cause {
            place.free = Some(has);
        }
        let Some(cell) = place.cell_mut(id) else { return };
        let note = cell.note.get_or_insert_default();
        note.cause = Some(cause);
        note.until = now.at + rule.pause(note.attempts, reroll(now.dice, u64::from(id.0)));
        let phase = match cause {
            _ if note.attempts >= rule.attempts => Phase::Failed,
            Cause::NoSpace { .. } => Phase::Space,
            Cause::Unreachable => Phase::Turn,
            Cause::BaseDamaged if !note.avoid.delta => {
                note.avoid.delta = true;
                Phase::Turn
            }
            Cause::BaseDamaged | Cause::ContentDamaged if !note.avoid.chunks => {
                (note.avoid.delta, note.avoid.chunks) = (true, true);
                Phase::Later
            }
            _ => Phase::Later,
        };
        self.enter(now.at, place_id, id, phase);
        self.retally(place_id, id, before);
        fx.push(Effect::Keep(Key::Copy(place_id, id)));
        if phase == Phase::Failed {
            fx.push(Effect::Tell(Note::GaveUp { place: place_id, package: id }));
        }
        // Meanwhile something else may be wanted.
        self.reconcile(now.at, place_id, id, fx);
        self.offer(now.at, place_id);
    }

    pub(crate) fn progress(
        &mut self,
        at: Moment,
        (place_id, id): (PlaceId, PackageId),
        fence: Fence,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        self.check_fence(place_id, id, fence)?;
        let until = at + self.settings.lease;
        let Some(place) = self.places.get_mut(&place_id) else { return Ok(()) };
        let Some(note) = place.cell_mut(id).and_then(|cell| cell.note.as_mut()) else {
            return Ok(());
        };
        let old = std::mem::replace(&mut note.until, until);
        place.later.remove(&(old, id));
        place.later.insert((until, id));
        fx.push(Effect::Keep(Key::Copy(place_id, id)));
        self.answered(at, place_id, fx);
        self.offer(at, place_id);
        Ok(())
    }

    /// Somebody saw what a place holds.
    pub(crate) fn looked(
        &mut self,
        at: Moment,
        place_id: PlaceId,
        id: PackageId,
        observed: Observed,
        fx: &mut Effects,
    ) {
        let (Some(package), Some(place)) = (self.packages.get(&id), self.places.get_mut(&place_id))
        else {
            fx.push(Effect::Tell(Note::Late { place: place_id, package: id }));
            return;
        };
        let before = tally_of(package, place, id);
        let Some(cell) = place.cell_mut(id) else {
            fx.push(Effect::Tell(Note::Late { place: place_id, package: id }));
            return;
        };
        let is_in_doubt = cell.note.as_ref().is_some_and(|note| note.is_in_doubt);
        let observed = match observed {
            Observed::Holds(_) if is_in_doubt => Observed::Unknown,
            observed => observed,
        };
        let changed = std::mem::replace(&mut cell.observed, observed) != observed;
        #[cfg(feature = "mutations")]
        let forgets =
            place_id == PlaceId::OWN && cell.note.as_ref().is_some_and(|note| note.attempts > 1);
        self.retally(place_id, id, before);
        if changed {
            fx.push(Effect::Keep(Key::Copy(place_id, id)));
        }
        self.reconcile(at, place_id, id, fx);
        if changed && place_id == PlaceId::OWN {
            self.say_to_parent(id);
            #[cfg(feature = "mutations")]
            if forgets && self.has(crate::Mutation::RetryForgetsPoints) {
                return;
            }
            self.reconcile_everywhere(at, id, fx);
        }
    }

    pub(crate) fn space(
        &mut self,
        at: Moment,
        id: PlaceId,
        free: u64,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        let place = self.places.get_mut(&id);
        let place = place.ok_or_else(|| Refused::NoPlace(format!("{}", id.0)))?;
        place.free = Some(free);
        for package in place.short.iter().copied().collect::<Vec<_>>() {
            let room = self.places.get(&id).map_or(0, |place| free.saturating_sub(place.reserved));
            let needs = self.packages.get(&package).and_then(|package| package.newest);
            if needs.is_none_or(|newest| newest.bytes <= room) {
                self.stand_down(id, package);
                self.enter(at, id, package, Phase::Turn);
                fx.push(Effect::Keep(Key::Copy(id, package)));
            }
        }
        self.offer(at, id);
        Ok(())
    }

    /// The place answered: its breaker closes.
    fn answered(&mut self, at: Moment, id: PlaceId, fx: &mut Effects) {
        let Some(place) = self.places.get_mut(&id) else { return };
        if !place.breaker.is_closed() {
            place.breaker = crate::Breaker::default();
            fx.push(Effect::Keep(Key::Place(id)));
            self.offer(at, id);
        }
    }

    /// The place answers again: what waited or gave up because it did not goes on at once.
    pub(crate) fn reached(
        &mut self,
        at: Moment,
        id: PlaceId,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        let place = self.places.get(&id).ok_or_else(|| Refused::NoPlace(format!("{}", id.0)))?;
        let cured: Vec<PackageId> = place
            .cells()
            .filter(|(_, cell)| {
                let cause = cell.note.as_ref().and_then(|note| note.cause);
                let silent = matches!(cause, Some(Cause::Unreachable | Cause::LeaseExpired));
                silent && matches!(cell.phase, Phase::Failed | Phase::Later)
            })
            .map(|(package, _)| package)
            .collect();
        self.answered(at, id, fx);
        for package in cured {
            self.begin_again(at, id, package, fx);
        }
        Ok(())
    }

    /// All attempts are forgiven, and the next is at once.
    fn begin_again(&mut self, at: Moment, place: PlaceId, id: PackageId, fx: &mut Effects) {
        let waits =
            self.places.get(&place).and_then(|place| place.cell(id)).is_some_and(|cell| {
                matches!(cell.phase, Phase::Failed | Phase::Later | Phase::Space)
            });
        let Some(before) = self
            .packages
            .get(&id)
            .zip(self.places.get(&place))
            .map(|(package, place)| tally_of(package, place, id))
            .filter(|_| waits)
        else {
            return;
        };
        self.withdraw_job(place, id);
        self.enter(at, place, id, Phase::Turn);
        self.retally(place, id, before);
        fx.push(Effect::Keep(Key::Copy(place, id)));
        self.offer(at, place);
    }

    pub(crate) fn retry_now(
        &mut self,
        at: Moment,
        scope: RetryScope,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        let places: Vec<PlaceId> = match &scope {
            RetryScope::One(place, _) | RetryScope::Place(place) => vec![*place],
            RetryScope::All => self.places.keys().copied().collect(),
        };
        for id in places {
            let place = self.places.get_mut(&id);
            let place = place.ok_or_else(|| Refused::NoPlace(format!("{}", id.0)))?;
            place.breaker.until = place.breaker.until.min(at);
            fx.push(Effect::Keep(Key::Place(id)));
            // Whoever asks may have made room.
            place.free = None;
            if !place.short.is_empty() {
                fx.push(Effect::Measure(id));
            }
            let packages: Vec<PackageId> = match &scope {
                RetryScope::One(_, package) => vec![*package],
                _ => place.cells().map(|(package, _)| package).collect(),
            };
            for package in packages {
                self.begin_again(at, id, package, fx);
            }
            self.offer(at, id);
        }
        Ok(())
    }

    /// Ends every pause and lease whose time has come.
    pub(crate) fn timer(&mut self, now: Now, fx: &mut Effects) {
        while let Some((due, id)) = self.due.first().copied().filter(|(due, _)| *due <= now.at) {
            let package = self.places.get(&id).and_then(|place| {
                place.later.first().filter(|(until, _)| *until <= due).map(|(_, package)| *package)
            });
            let Some(package) = package else {
                self.offer(now.at, id);
                continue;
            };
            let phase =
                self.places.get(&id).and_then(|place| place.cell(package)).map(|cell| cell.phase);
            let fence = self.stand_down(id, package);
            if let Some(fence) = fence {
                fx.push(Effect::Cancel { place: id, package, fence });
                self.failed(now, id, package, Cause::LeaseExpired, fx);
            } else {
                // No attempt is made before room was measured again, and found.
                if phase == Some(Phase::Space) {
                    fx.push(Effect::Measure(id));
                }
                self.enter(now.at, id, package, Phase::Turn);
            }
            fx.push(Effect::Keep(Key::Copy(id, package)));
            self.offer(now.at, id);
        }
    }

    /// Ends every lease: each attempt counts as failed, and the next has its pause.
    pub(crate) fn workers_gone(&mut self, now: Now, fx: &mut Effects) {
        let running: Vec<(PlaceId, PackageId)> = self
            .places
            .iter()
            .flat_map(|(id, place)| place.running.iter().map(|package| (*id, *package)))
            .collect();
        for (place, package) in running {
            if let Some(fence) = self.stand_down(place, package) {
                fx.push(Effect::Cancel { place, package, fence });
            }
            self.failed(now, place, package, Cause::LeaseExpired, fx);
            fx.push(Effect::Keep(Key::Copy(place, package)));
            self.offer(now.at, place);
        }
    }

    /// Takes over what is known of room at places: rows do not say it.
    pub fn remember_room(&mut self, other: &Self) {
        for (id, place) in &mut self.places {
            let same = other.places.get(id).filter(|other| other.kind == place.kind);
            if let Some(other) = same {
                place.free = place.free.or(other.free);
            }
        }
    }

    /// When [`crate::Event::Timer`] is to come next, if nothing else happens.
    pub fn next_wake(&self) -> Option<Moment> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Why a copy is not what it should be; nothing, if it is.
    pub fn waiting(&self, place_id: PlaceId, id: PackageId) -> Option<Waiting> {
        let package = self.packages.get(&id)?;
        let place = self.places.get(&place_id)?;
        let cell = place.cell(id)?;
        let note = cell.note.as_deref();
        let cause = note.and_then(|note| note.cause);
        let until = note.map(|note| note.until);
        let goal = goal(package, place, cell);
        let missing = package.newest.map(|newest| newest.critical.without(place.features));
        let (reason, until) = match (cell.phase, cause) {
            (Phase::Settled, _) => return None,
            (Phase::Content, _) => (Reason::Content(package.number), None),
            (Phase::Turn, _) if !place.breaker.is_closed() => {
                (Reason::Unreachable, Some(place.breaker.until))
            }
            (Phase::Turn, _) => (Reason::Turn, None),
            (Phase::Child, _) => (Reason::Child, None),
            (Phase::Space, Some(Cause::NoSpace { needs, has })) => {
                (Reason::Space { needs, has }, until)
            }
            (Phase::Later | Phase::Space, _) => (Reason::Retry(cause), until),
            (Phase::Cannot, _) => (Reason::Cannot(missing.unwrap_or_default()), None),
            (Phase::Below, _) => (Reason::Below, None),
            (Phase::Running, _) => (Reason::Worker, until),
            (Phase::Failed, _) => (Reason::Failed(cause), None),
        };
        let attempts = note.map_or(0, |note| note.attempts);
        let kind = if goal == Goal::Remove { JobKind::Remove } else { JobKind::Complete };
        Some(Waiting { kind, reason, since: cell.since, until, attempts })
    }
}
