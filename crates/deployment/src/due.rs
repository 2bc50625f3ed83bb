//! What is due on a client now, what waits and for what, and when to look again.

mod after;
mod removal;
mod subject;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use jiff::{SignedDuration, Timestamp};
use model::PackageName;
use serde::Serialize;

use crate::{
    Action, Audience, ClientFacts, Deployment, DeploymentId, Fit, Impossible, ItemKind, Openness,
    PolicyDocument, Purpose, RestartRule, RunKey, RunKind, RunOutcome, RunRecord, Standing, Truth,
    UnknownZone, Wait, WaitFor, When, WindowRule, Windows, Zones,
    graph::{self, Order},
};

/// What a client is to do now, and what state everything is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Agenda {
    /// Everything, in the order in which it would run.
    pub items: Vec<Item>,
    /// What is to start now; one program runs at a time.
    pub start: Option<RunKey>,
    /// Rules whose answers are needed.
    pub questions: BTreeSet<Question>,
    /// A restart that is owed.
    pub restart: Option<RestartOwed>,
    /// The next instant at which anything here can change without an event: the one timer.
    pub next: Option<Timestamp>,
}

/// A deployment, for the machine or for one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Item {
    /// What would run.
    pub key: RunKey,
    /// What is done, where that is not the deployment's program.
    pub action: Option<Action>,
    /// In what state it is.
    pub standing: Standing,
    #[serde(skip)]
    rank: Rank,
}

/// What goes first: by deadline, then by start, then by id.
type Rank = (Timestamp, Timestamp, DeploymentId);

/// A rule whose answer is needed to decide.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Is it there already?
    Detection(DeploymentId, Option<Box<str>>),
    /// Is it for this machine?
    Requirement(DeploymentId),
}

/// A restart that is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RestartOwed {
    /// By which deployments.
    pub of: Vec<DeploymentId>,
    /// Since when.
    pub since: Timestamp,
    /// When the machine restarts by itself; never where unsaid: somebody must do it.
    pub at: Option<Timestamp>,
    /// When the agent has it restart, unless what was run does it.
    pub asked: Option<Timestamp>,
}

/// Decides for one client. Equal arguments, equal answers; nothing is started here.
pub fn decide(document: &PolicyDocument, facts: &ClientFacts<'_>, zones: Zones<'_>) -> Agenda {
    let deciding = Deciding::new(document, facts, zones);
    let mut items = deciding.programs();
    for item in deciding.removals(&items) {
        if !items.iter().any(|other| other.key == item.key) {
            items.push(item);
        }
    }
    items.extend(deciding.unreadable());
    deciding.finish(items)
}

struct Deciding<'a> {
    document: &'a PolicyDocument,
    facts: &'a ClientFacts<'a>,
    zones: Zones<'a>,
    opening: Windows<'a>,
    index: BTreeMap<&'a DeploymentId, &'a Deployment>,
    order: Order<'a>,
    /// Who takes whose place.
    newer: BTreeMap<&'a DeploymentId, Vec<&'a Deployment>>,
    takeovers: Order<'a>,
    /// Where in the journal a package was taken away last, for the machine or a user.
    removed: BTreeMap<(&'a PackageName, Option<&'a str>), u64>,
    restart: Option<RestartOwed>,
    fits: RefCell<BTreeMap<u32, Fit>>,
    instants: RefCell<BTreeSet<Timestamp>>,
    questions: RefCell<BTreeSet<Question>>,
}

impl<'a> Deciding<'a> {
    fn new(document: &'a PolicyDocument, facts: &'a ClientFacts<'a>, zones: Zones<'a>) -> Self {
        let deployments = &document.deployments;
        let mut newer: BTreeMap<&DeploymentId, Vec<&Deployment>> = BTreeMap::new();
        for one in deployments {
            for old in &one.supersedes {
                newer.entry(&old.deployment).or_default().push(one);
            }
        }
        let mut deciding = Self {
            document,
            facts,
            zones,
            opening: Windows::new(&document.windows, document.has_windows(), zones),
            index: deployments.iter().map(|one| (&one.id, one)).collect(),
            order: graph::order(deployments, |one| one.depends_on.iter().collect()),
            newer,
            takeovers: graph::order(deployments, |one| {
                one.supersedes.iter().map(|old| &old.deployment).collect()
            }),
            removed: BTreeMap::new(),
            restart: None,
            fits: RefCell::default(),
            instants: RefCell::default(),
            questions: RefCell::default(),
        };
        deciding.removed = deciding.taken_away();
        deciding.restart = deciding.restart_owed();
        deciding
    }

    /// The deployment of this id: as the document has it, or as it was last.
    fn known(&self, id: &DeploymentId) -> Option<&'a Deployment> {
        let remembered = || self.facts.memory.get(id).map(|known| &known.deployment);
        self.index.get(id).copied().or_else(remembered)
    }

    fn taken_away(&self) -> BTreeMap<(&'a PackageName, Option<&'a str>), u64> {
        let mut removed = BTreeMap::new();
        for (key, record) in self.facts.history.runs() {
            if key.kind == RunKind::Removal
                && record.outcome.is_done()
                && let Some(one) = self.known(&key.deployment)
            {
                let last: &mut u64 =
                    removed.entry((&one.package.name, key.user.as_deref())).or_default();
                *last = record.sequence.max(*last);
            }
        }
        removed
    }

    /// Whether its package was taken away later than that, for whichever deployment.
    fn removed_since(&self, one: &Deployment, user: Option<&str>, sequence: u64) -> bool {
        self.removed.get(&(&one.package.name, user)).is_some_and(|removed| *removed > sequence)
    }

    /// The last success of a deployment, if what it brought was not taken away since.
    fn stands(&self, id: &DeploymentId, user: Option<&str>) -> Option<&RunRecord> {
        let done = self.facts.history.last_done(id, user)?;
        let is_gone =
            self.known(id).is_some_and(|one| self.removed_since(one, user, done.sequence));
        (!is_gone).then_some(done)
    }

    fn now(&self) -> Timestamp {
        self.facts.now
    }

    /// Takes note of an instant at which something may change.
    fn look_at(&self, at: Timestamp) {
        if at > self.now() {
            self.instants.borrow_mut().insert(at);
        }
    }

    fn ask(&self, question: Question) {
        self.questions.borrow_mut().insert(question);
    }

    fn instant(&self, when: Option<&When>) -> Result<Option<Timestamp>, UnknownZone> {
        let at = when.map(|when| when.instant(self.zones)).transpose()?;
        if let Some(at) = at {
            self.look_at(at);
        }
        Ok(at)
    }

    fn rank(&self, one: &Deployment) -> Rank {
        let or = |when, unsaid| self.instant(when).ok().flatten().unwrap_or(unsaid);
        (
            or(one.deadline.as_ref(), Timestamp::MAX),
            or(one.start.as_ref(), Timestamp::MIN),
            one.id.clone(),
        )
    }

    fn requirement(&self, one: &Deployment) -> Result<bool, Option<String>> {
        if one.program.requirement.is_none() {
            return Ok(true);
        }
        match self.facts.required.get(&one.id) {
            Some(Truth::Yes) => Ok(true),
            Some(Truth::No) => Ok(false),
            Some(Truth::Unknown(why)) => Err(Some(why.clone())),
            None => {
                self.ask(Question::Requirement(one.id.clone()));
                Err(None)
            }
        }
    }

    /// What the detection rule says; `None` without one.
    fn detection(
        &self,
        one: &Deployment,
        user: Option<&str>,
    ) -> Option<Result<bool, Option<String>>> {
        one.program.detection.as_ref()?;
        let key = (one.id.clone(), user.map(Into::into));
        Some(match self.facts.detected.get(&key) {
            Some(Truth::Yes) => Ok(true),
            Some(Truth::No) => Ok(false),
            Some(Truth::Unknown(why)) => Err(Some(why.clone())),
            None => {
                self.ask(Question::Detection(key.0, key.1));
                Err(None)
            }
        })
    }

    fn is_expired(&self, one: &Deployment) -> Option<Timestamp> {
        let expiry = self.instant(one.expiry.as_ref()).ok().flatten()?;
        (expiry <= self.now()).then_some(expiry)
    }

    fn deadline_passed(&self, one: &Deployment) -> bool {
        let deadline = self.instant(one.deadline.as_ref()).ok().flatten();
        deadline.is_some_and(|deadline| deadline <= self.now())
    }

    /// Whether it is under way here: begun, not over, let through, and for this machine.
    fn applies(&self, one: &Deployment) -> bool {
        let begun = self
            .instant(one.start.as_ref())
            .is_ok_and(|start| start.is_none_or(|start| start <= self.now()));
        begun
            && self.is_expired(one).is_none()
            && one.gate == crate::Gate::Open
            && !self.order.circles.contains_key(&one.id)
            && !self.takeovers.circles.contains_key(&one.id)
            && self.requirement(one) == Ok(true)
    }

    /// Who takes its place here: the newest in the chain.
    fn superseded(&self, one: &'a Deployment) -> Option<&'a Deployment> {
        let mut newest = None;
        let mut at = one;
        let mut seen: BTreeSet<&DeploymentId> = [&one.id].into();
        while let Some(next) =
            self.newer.get(&at.id).and_then(|newer| newer.iter().find(|newer| self.applies(newer)))
        {
            if !seen.insert(&next.id) {
                break;
            }
            newest = Some(*next);
            at = next;
        }
        newest
    }

    /// The restart that is owed, over all deployments: one for all of them.
    fn restart_owed(&self) -> Option<RestartOwed> {
        let mut owed: Option<RestartOwed> = None;
        for (key, record) in self.facts.history.runs() {
            let RunOutcome::RestartOwed { boot } = &record.outcome else { continue };
            if **boot != *self.facts.boot {
                continue;
            }
            let one = self.known(&key.deployment);
            let at = one.and_then(|one| self.restart_at(one, record.at));
            let is_ours = one.is_some_and(|one| one.program.restart != RestartRule::ByItself);
            let none = RestartOwed { of: Vec::new(), since: record.at, at: None, asked: None };
            let owed = owed.get_or_insert(none);
            owed.of.push(key.deployment.clone());
            owed.since = owed.since.min(record.at);
            owed.at = owed.at.into_iter().chain(at).min();
            owed.asked = owed.asked.into_iter().chain(at.filter(|_| is_ours)).min();
        }
        if let Some(at) = owed.as_ref().and_then(|owed| owed.at) {
            self.look_at(at);
        }
        owed
    }

    /// When the machine restarts by itself after a program: a countdown, and inside of a window where windows count.
    fn restart_at(&self, one: &Deployment, ended: Timestamp) -> Option<Timestamp> {
        let countdown = match one.program.restart {
            RestartRule::Leave => return None,
            RestartRule::ByItself => 0,
            _ if !self.facts.can_restart => return None,
            RestartRule::IfAsked { countdown } | RestartRule::Always { countdown } => countdown,
        };
        // A clock that was set back must not put it off.
        let ended = ended.min(self.now());
        let at = ended.checked_add(SignedDuration::from_secs(countdown.into())).ok()?;
        if !self.windows_count(one) || one.program.restart == RestartRule::ByItself {
            return Some(at);
        }
        match self.opening.at(at) {
            Openness::Always | Openness::Open(_) => Some(at),
            Openness::Closed(next) => next.map(|next| next.from),
        }
    }

    fn windows_count(&self, one: &Deployment) -> bool {
        match one.windows {
            WindowRule::Ignore => false,
            WindowRule::Inside => true,
            WindowRule::UntilDeadline => !self.deadline_passed(one),
        }
    }

    /// What keeps the machine from starting anything now, or this one.
    fn machine_is_free(&self, one: &Deployment, since: Option<Timestamp>) -> Result<(), Wait> {
        if self.facts.shutting_down {
            return Err(Wait::on(WaitFor::Shutdown));
        }
        if let Some(owed) = &self.restart
            && let (Some(at), Some(of)) = (owed.at, owed.of.first())
        {
            let wait = WaitFor::Restart { of: of.clone(), by_itself: true };
            return Err(Wait::on(wait).since(owed.since).until(Some(at)));
        }
        if !self.windows_count(one) {
            return Ok(());
        }
        self.window_is_open(one.program.estimate.unwrap_or(0), since)
    }

    fn window_is_open(&self, estimate: u32, since: Option<Timestamp>) -> Result<(), Wait> {
        let fit = self.fits.borrow().get(&estimate).cloned();
        let fit = fit.unwrap_or_else(|| {
            let fit = self.opening.fit(self.now(), estimate);
            self.fits.borrow_mut().insert(estimate, fit.clone());
            fit
        });
        let wait = match fit {
            Fit::Always => return Ok(()),
            Fit::Fits(stretch) if stretch.from <= self.now() => {
                // It fits until then, and a second later no more.
                let last = stretch.until.as_second().saturating_sub(i64::from(estimate));
                if let Ok(late) = Timestamp::from_second(last.saturating_add(1)) {
                    self.look_at(late.min(stretch.until));
                }
                return Ok(());
            }
            Fit::Fits(stretch) => {
                self.look_at(stretch.from);
                let name = Some(stretch.window);
                Wait::on(WaitFor::Window { name }).until(Some(stretch.from))
            }
            Fit::Never(never) => match never.longest {
                Some(_) => Wait::on(WaitFor::LongerWindow(Box::new(never))),
                None => match self.opening.unknown().first() {
                    Some(unknown) => Wait::on(WaitFor::Zone(unknown.clone())),
                    None => Wait::on(WaitFor::Window { name: None }),
                },
            },
        };
        Err(Wait { since, ..wait })
    }

    /// Items of the document nobody can read.
    fn unreadable(&self) -> Vec<Item> {
        let bad = self.document.quarantined.iter().filter(|bad| bad.kind == ItemKind::Deployment);
        bad.filter_map(|bad| {
            let id = DeploymentId::new(&bad.name).ok()?;
            let reason = bad.reason.clone();
            Some(Item {
                key: key(&id, None, RunKind::Program, 0),
                action: None,
                standing: Standing::Impossible(Impossible::Unreadable(reason)),
                rank: (Timestamp::MAX, Timestamp::MAX, id),
            })
        })
        .collect()
    }

    /// One program at a time: the first that is due starts, the others wait for their turn.
    fn finish(self, mut items: Vec<Item>) -> Agenda {
        items.sort_by(|a, b| (&a.rank, &a.key).cmp(&(&b.rank, &b.key)));
        let first = items.iter().find(|item| item.standing == Standing::Due).map(|item| &item.key);
        let start = if self.facts.running.is_some() { None } else { first.cloned() };
        if let Some(ahead) = self.facts.running.or(start.as_ref()) {
            for item in &mut items {
                if item.standing == Standing::Due && item.key != *ahead {
                    item.standing =
                        Standing::Waiting(Wait::on(WaitFor::Turn(Box::new(ahead.clone()))));
                }
            }
        }
        Agenda {
            items,
            start,
            questions: self.questions.into_inner(),
            restart: self.restart,
            next: self.instants.into_inner().first().copied(),
        }
    }

    /// Available programs that a required or requested one needs, with the urgency of what needs them.
    fn pulled(&self) -> BTreeMap<&'a DeploymentId, Rank> {
        let mut pulled: BTreeMap<&DeploymentId, Rank> = BTreeMap::new();
        for at in self.order.sorted.iter().rev() {
            let one = &self.document.deployments[*at];
            let asked = self.facts.requested.iter().any(|(id, _)| *id == one.id);
            let wanted = one.purpose == Purpose::Required
                || asked
                || pulled.contains_key(&one.id)
                || self.deadline_passed(one);
            if !wanted || !self.applies(one) {
                continue;
            }
            let own = self.rank(one);
            let rank = pulled.get(&one.id).cloned().map_or(own.clone(), |given| given.min(own));
            for need in &one.depends_on {
                if let Some((need, _)) = self.index.get_key_value(need) {
                    let urgency = (rank.0, rank.1, (*need).clone());
                    pulled
                        .entry(need)
                        .and_modify(|known| *known = known.clone().min(urgency.clone()))
                        .or_insert(urgency);
                }
            }
        }
        pulled
    }

    /// Every deployment of the document, for everybody it is for.
    fn programs(&self) -> Vec<Item> {
        let pulled = self.pulled();
        let mut items: Vec<Item> = Vec::new();
        let mut known: BTreeMap<(&DeploymentId, Option<Box<str>>), Standing> = BTreeMap::new();
        let stuck = self.document.deployments.iter().enumerate();
        let stuck = stuck.filter(|(_, one)| self.order.circles.contains_key(&one.id));
        let all: Vec<usize> =
            self.order.sorted.iter().copied().chain(stuck.map(|(at, _)| at)).collect();
        for at in all {
            let one = &self.document.deployments[at];
            let own = self.rank(one);
            let rank = pulled.get(&one.id).cloned().map_or(own.clone(), |given| given.min(own));
            let is_pulled = pulled.contains_key(&one.id);
            for user in self.subjects(one) {
                let subject = subject::Subject { one, user: user.as_deref(), is_pulled };
                let (occurrence, standing) = self.standing(subject, &known);
                known.insert((&one.id, user.clone()), standing.clone());
                let key = key(&one.id, user.as_deref(), RunKind::Program, occurrence);
                items.push(Item { key, action: None, standing, rank: rank.clone() });
            }
        }
        items
    }

    /// Whom a deployment is for here: the machine, or users by name.
    fn subjects(&self, one: &Deployment) -> Vec<Option<Box<str>>> {
        match &one.audience {
            Audience::Machine => vec![None],
            Audience::Users(users) => users.iter().cloned().map(Some).collect(),
            Audience::EveryUser => {
                let sessions = self.facts.sessions.unwrap_or_default().iter();
                let users: BTreeSet<Box<str>> = sessions.map(|one| one.user.clone()).collect();
                if users.is_empty() { vec![None] } else { users.into_iter().map(Some).collect() }
            }
        }
    }
}

fn key(id: &DeploymentId, user: Option<&str>, kind: RunKind, occurrence: i64) -> RunKey {
    RunKey { deployment: id.clone(), user: user.map(Into::into), kind, occurrence }
}
