use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Deciding, after::After};
use crate::{
    Audience, Deployment, DeploymentId, DoneBy, Gate, Impossible, Occurrence, Presence, Purpose,
    RunKind, RunOutcome, Session, Standing, Trigger, Undecided, Wait, WaitFor,
};

/// A deployment, for the machine or one user.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) one: &'a Deployment,
    pub(super) user: Option<&'a str>,
    /// Whether something that runs by itself needs it.
    pub(super) is_pulled: bool,
}

type Known<'a> = BTreeMap<(&'a DeploymentId, Option<Box<str>>), Standing>;

/// The occurrence that counts now: its key, and when it was; both 0 and unsaid for what runs once.
#[derive(Clone, Copy)]
struct Turn {
    key: i64,
    at: Option<Timestamp>,
    next: Option<Timestamp>,
}

impl<'a> Deciding<'a> {
    /// In what state it is, and for which occurrence.
    pub(super) fn standing(&self, of: Subject<'_>, known: &Known<'a>) -> (i64, Standing) {
        if let Some(running) = self.facts.running
            && running.kind == RunKind::Program
            && running.deployment == of.one.id
            && running.user.as_deref() == of.user
        {
            return (running.occurrence, Standing::Running);
        }
        let turn = match self.turn(of.one) {
            Ok(turn) => turn,
            Err(wait) => return (0, Standing::Waiting(wait)),
        };
        let standing = match self.settled(of, turn) {
            Some(standing) => standing,
            None => match self.hindrance(of, turn, known) {
                Ok(()) => Standing::Due,
                Err(standing) => standing,
            },
        };
        (turn.key, standing)
    }

    /// Which occurrence counts now.
    fn turn(&self, one: &Deployment) -> Result<Turn, Wait> {
        let Some(recurrence) = &one.recurrence else {
            return Ok(Turn { key: 0, at: None, next: None });
        };
        let zone = |unknown| Wait::on(WaitFor::Zone(unknown));
        let start = self.instant(one.start.as_ref()).map_err(zone)?;
        let next = recurrence.next(self.zones, self.now()).map_err(zone)?;
        if let Some(next) = next {
            self.look_at(next.at);
        }
        let next = next.map(|next| next.at);
        let latest = recurrence.latest(self.zones, self.now()).map_err(zone)?;
        match latest.filter(|latest| start.is_none_or(|start| latest.at >= start)) {
            Some(Occurrence { key, at }) => Ok(Turn { key, at: Some(at), next }),
            None => Err(Wait::on(WaitFor::Start).until(start.max(next))),
        }
    }

    /// What is settled whatever the machine does: done, over, given up, somebody else's turn.
    fn settled(&self, of: Subject<'_>, turn: Turn) -> Option<Standing> {
        let one = of.one;
        if let Some(way) = self.order.circles.get(&one.id).or(self.takeovers.circles.get(&one.id)) {
            return Some(Standing::Impossible(Impossible::Cycle(way.clone())));
        }
        let expired = self.is_expired(one);
        let run = super::key(&one.id, of.user, RunKind::Program, turn.key);
        let record = self
            .facts
            .history
            .get(&run)
            .filter(|record| !self.removed_since(one, of.user, record.sequence));
        match record.map(|record| (record, &record.outcome)) {
            Some((record, RunOutcome::RestartOwed { boot })) if **boot == *self.facts.boot => {
                let at = self.restart.as_ref().and_then(|owed| owed.at);
                let wait = WaitFor::Restart { of: one.id.clone(), by_itself: at.is_some() };
                return Some(Standing::Waiting(Wait::on(wait).since(record.at).until(at)));
            }
            Some((record, outcome)) if outcome.is_done() => {
                return Some(match (turn.next, expired) {
                    (Some(next), None) => {
                        let wait = Wait::on(WaitFor::Occurrence).since(record.at);
                        Standing::Waiting(wait.until(Some(next)))
                    }
                    _ => Standing::Done(DoneBy::Run),
                });
            }
            _ => {}
        }
        if let Some(at) = expired {
            return Some(Standing::Expired { at });
        }
        if let Some(newer) = self.superseded(one) {
            return Some(Standing::Superseded { by: newer.id.clone() });
        }
        let record = record?;
        let detected = self.detection(one, of.user).and_then(Result::ok);
        match self.after(one, record, detected) {
            After::Stays(standing) => Some(standing),
            After::Again => None,
        }
    }

    /// What keeps it from running now.
    fn hindrance(&self, of: Subject<'_>, turn: Turn, known: &Known<'a>) -> Result<(), Standing> {
        let since = self.begun(of.one, turn).map_err(Standing::Waiting)?;
        gate(of.one)?;
        self.wanted(of)?;
        self.applicable(of.one)?;
        self.undone(of, turn)?;
        self.dependencies(of, known)?;
        self.old_ones(of)?;
        self.people(of, since, turn).map_err(Standing::Waiting)?;
        self.link(of.one).map_err(Standing::Waiting)?;
        self.machine_is_free(of.one, since).map_err(Standing::Waiting)
    }

    /// When it began to be due.
    fn begun(&self, one: &Deployment, turn: Turn) -> Result<Option<Timestamp>, Wait> {
        let zone = |unknown| Wait::on(WaitFor::Zone(unknown));
        let start = self.instant(one.start.as_ref()).map_err(zone)?;
        self.instant(one.deadline.as_ref()).map_err(zone)?;
        self.instant(one.expiry.as_ref()).map_err(zone)?;
        match start {
            Some(start) if start > self.now() => Err(Wait::on(WaitFor::Start).until(Some(start))),
            start => Ok(turn.at.max(start)),
        }
    }

    /// Whether it is to run at all.
    fn wanted(&self, of: Subject<'_>) -> Result<(), Standing> {
        let asked = |user: Option<&str>| {
            self.facts.requested.contains(&(of.one.id.clone(), user.map(Into::into)))
        };
        let wanted = of.one.purpose == Purpose::Required
            || of.is_pulled
            || asked(of.user)
            || self.deadline_passed(of.one);
        if wanted { Ok(()) } else { Err(Standing::Offered) }
    }

    fn applicable(&self, one: &Deployment) -> Result<(), Standing> {
        match self.requirement(one) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Standing::NotApplicable),
            Err(why) => Err(Standing::Waiting(Wait::on(WaitFor::Requirement(why)))),
        }
    }

    /// That it is not done already, as far as anybody can tell. What comes again is run whatever is there.
    fn undone(&self, of: Subject<'_>, turn: Turn) -> Result<(), Standing> {
        let is_lost = self.may_be_lost(of, turn);
        if let (Some(at), true) = (turn.at, is_lost) {
            let wait = Wait::on(WaitFor::Occurrence).since(at).until(turn.next);
            return Err(Standing::Waiting(wait));
        }
        if turn.at.is_some() {
            return Ok(());
        }
        match self.detection(of.one, of.user) {
            Some(Ok(true)) => Err(Standing::Done(DoneBy::Detected)),
            Some(Err(why)) => Err(Standing::Waiting(Wait::on(WaitFor::Detection(why)))),
            None if is_lost => Err(Standing::NeedsDecision(Undecided::HistoryLost)),
            Some(Ok(false)) | None => Ok(()),
        }
    }

    /// Whether a run of it may be among what history lost.
    fn may_be_lost(&self, of: Subject<'_>, turn: Turn) -> bool {
        let Some(lost) = self.facts.history.lost() else { return false };
        let run = super::key(&of.one.id, of.user, RunKind::Program, turn.key);
        if self.facts.history.get(&run).is_some() {
            return false;
        }
        let first = self.facts.memory.get(&of.one.id).map(|known| known.first);
        let was_known = match (first, lost.through) {
            (Some(first), Some(through)) => first <= through,
            _ => true,
        };
        was_known && turn.at.is_none_or(|at| at <= lost.since)
    }

    fn dependencies(&self, of: Subject<'_>, known: &Known<'a>) -> Result<(), Standing> {
        for need in &of.one.depends_on {
            let wait = |state: String| {
                let wait = WaitFor::Dependency { on: need.clone(), state };
                Err(Standing::Waiting(Wait::on(wait)))
            };
            let Some((id, on)) = self.index.get_key_value(need) else {
                let unreadable = self.document.names(need);
                return wait(
                    if unreadable { "it cannot be read" } else { "the document does not name it" }
                        .to_owned(),
                );
            };
            let of_users = on.audience != Audience::Machine;
            if of_users && of.user.is_none() {
                return Err(Standing::Impossible(Impossible::DependsOnUsers(need.clone())));
            }
            let user = if of_users { of.user.map(Into::into) } else { None };
            let standing = known.get(&(*id, user.clone()));
            match standing {
                // What comes again is done while it waits to come again.
                Some(
                    Standing::Done(_) | Standing::Waiting(Wait { what: WaitFor::Occurrence, .. }),
                ) => {}
                Some(Standing::Superseded { by })
                    if matches!(known.get(&(by, user)), Some(Standing::Done(_))) => {}
                Some(other) => return wait(other.to_string()),
                None => return wait("it is not for this user".to_owned()),
            }
        }
        Ok(())
    }

    /// That what it takes the place of is off, where it must be off first.
    fn old_ones(&self, of: Subject<'_>) -> Result<(), Standing> {
        let stands = |id: &DeploymentId| self.stands(id, of.user).is_some();
        let first =
            of.one.supersedes.iter().find(|old| old.first.is_some() && stands(&old.deployment));
        match first {
            Some(old) => {
                let wait = WaitFor::Removal(old.deployment.clone());
                Err(Standing::Waiting(Wait::on(wait)))
            }
            None => Ok(()),
        }
    }

    /// That those are there who must be.
    fn people(&self, of: Subject<'_>, since: Option<Timestamp>, turn: Turn) -> Result<(), Wait> {
        let one = of.one;
        let of_users = one.audience != Audience::Machine;
        if !of_users && one.presence == Presence::Any && one.trigger == Trigger::Time {
            return Ok(());
        }
        let Some(sessions) = self.facts.sessions else {
            return Err(Wait { since, ..Wait::on(WaitFor::Sessions) });
        };
        let mine =
            |session: &&Session| !of_users || of.user.is_some_and(|user| *user == *session.user);
        let mut mine = sessions.iter().filter(mine);
        let wait = if one.trigger == Trigger::Logon {
            let armed = turn.at.max(since);
            let new = |session: &Session| {
                session.seen && armed.is_none_or(|armed| session.since >= armed)
            };
            if mine.any(new) { None } else { Some(WaitFor::Logon) }
        } else {
            let somebody = mine.next().is_some();
            match one.presence {
                Presence::Nobody if !sessions.is_empty() => Some(WaitFor::NobodyLoggedOn),
                Presence::User if !somebody => Some(WaitFor::User(of.user.map(Into::into))),
                _ if of_users && !somebody => Some(WaitFor::User(of.user.map(Into::into))),
                _ => None,
            }
        };
        match wait {
            Some(what) => Err(Wait { what, since, until: None }),
            None => Ok(()),
        }
    }

    fn link(&self, one: &Deployment) -> Result<(), Wait> {
        let measured = self.facts.link;
        match one.program.least_rate {
            Some(least)
                if !self.facts.cached.contains(&one.id)
                    && measured.is_none_or(|measured| measured < least) =>
            {
                Err(Wait::on(WaitFor::Link { measured, least }))
            }
            _ => Ok(()),
        }
    }
}

fn gate(one: &Deployment) -> Result<(), Standing> {
    match &one.gate {
        Gate::Open => Ok(()),
        Gate::Closed { cause, by, since } => {
            let wait = WaitFor::Gate { cause: *cause, by: by.clone() };
            Err(Standing::Waiting(Wait::on(wait).since(*since)))
        }
    }
}
