//! What begins next: what `deployment` decides, one at a time, and not while another installer is at work.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
};

use deployment::{
    Action, ClientFacts, DeploymentId, DoneBy, History, Item, Question, RestartOwed, RunKey,
    RunKind, RunOutcome, RunRecord, Standing, Truth, Zones, decide,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use running::{Event, Now, Outcome, Rerun, Run, RunId, Stage};

use super::{Agent, AgentError, Answer};
use crate::{
    clock, detect, order,
    platform::{others, sessions},
};

type Detected = BTreeMap<(DeploymentId, Option<Box<str>>), Truth>;
type Required = BTreeMap<DeploymentId, Truth>;

/// What is to be done, as it was decided last.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// What is to begin.
    pub(super) start: Option<RunId>,
    /// When something may change without an event, on the steady clock.
    pub(super) next: Option<u64>,
    /// Everything deployed, and in what state it is.
    pub(super) items: Vec<Item>,
    /// The restart of the machine that is owed.
    pub(super) restart: Option<RestartOwed>,
    /// What people asked for.
    pub(super) requested: BTreeSet<(DeploymentId, Option<Box<str>>)>,
    detected: Detected,
    required: Required,
    /// Rules that are being asked.
    asked: BTreeSet<Question>,
}

impl Agenda {
    /// What a run does instead of its deployment's program, as it was decided last.
    pub(super) fn action(&self, id: &RunId) -> Option<Action> {
        self.items.iter().find(|item| run_id(&item.key) == *id).and_then(|item| item.action.clone())
    }

    /// What rules said may not hold any more.
    pub(super) fn forget(&mut self) {
        self.detected.clear();
        self.required.clear();
    }

    /// Rules that had no answer may have one now.
    pub(super) fn ask_again(&mut self) {
        self.detected.retain(|_, truth| !matches!(truth, Truth::Unknown(_)));
        self.required.retain(|_, truth| !matches!(truth, Truth::Unknown(_)));
    }
}

/// A run as the journal names it.
pub(super) fn run_id(key: &RunKey) -> RunId {
    RunId {
        deployment: key.deployment.as_str().into(),
        user: key.user.clone(),
        removal: key.kind == RunKind::Removal,
        occurrence: key.occurrence,
    }
}

fn run_key(id: &RunId) -> Option<RunKey> {
    Some(RunKey {
        deployment: DeploymentId::new(&id.deployment).ok()?,
        user: id.user.clone(),
        kind: if id.removal { RunKind::Removal } else { RunKind::Program },
        occurrence: id.occurrence,
    })
}

/// What became of a run, as `deployment` sees it; nothing while it is under way.
fn record(run: &Run, now: Now, wall: Timestamp) -> Option<RunRecord> {
    let never = Timestamp::MIN;
    let boot = |boot: running::BootId| RunOutcome::RestartOwed { boot: boot_name(boot) };
    let limit = run.order.pauses.attempts;
    let (outcome, attempts, cause) = match &run.stage {
        Stage::Finished { outcome: Outcome::Done { restart: Some(in_boot) }, .. } => {
            (boot(*in_boot), run.spent(), String::new())
        }
        Stage::Finished { outcome: Outcome::Done { restart: None }, .. } => {
            (RunOutcome::Done, run.spent(), String::new())
        }
        Stage::Finished { outcome: Outcome::NotApplicable, .. } => {
            (RunOutcome::NotApplicable, run.spent(), String::new())
        }
        Stage::Finished { outcome: Outcome::Failed { cause }, .. } => {
            (RunOutcome::Failed { again: never }, run.spent().max(limit), cause.to_string())
        }
        Stage::Waiting { cause, .. } => {
            let left = i64::try_from(run.due(now).unwrap_or(0)).unwrap_or(i64::MAX);
            let again =
                wall.saturating_add(SignedDuration::from_millis(left)).unwrap_or(Timestamp::MAX);
            let again = if left == 0 { never } else { again };
            (
                RunOutcome::Failed { again },
                run.spent().min(limit.saturating_sub(1)),
                cause.to_string(),
            )
        }
        // What may run again was cut off more than once: it waits for a decision like what may not.
        Stage::Held { question } if run.order.rerun == Rerun::Safe => {
            (RunOutcome::Failed { again: never }, run.spent().max(limit), question.to_string())
        }
        Stage::Held { question } => (RunOutcome::Interrupted, run.spent(), question.to_string()),
        Stage::Restarting { boot: in_boot, end } => (boot(*in_boot), run.spent(), end.to_string()),
        Stage::Finished { outcome: Outcome::Withdrawn, .. }
        | Stage::Looking
        | Stage::Intended
        | Stage::Started { .. }
        | Stage::Ended { .. } => return None,
    };
    Some(RunRecord {
        outcome,
        attempts,
        round: run.order.round,
        at: Timestamp::from_second(run.clock).unwrap_or(wall),
        sequence: run.entry,
        cause: cause.into(),
    })
}

fn boot_name(boot: running::BootId) -> Box<str> {
    format!("{:016x}", boot.0).into()
}

impl Agent {
    /// Begins what is to begin.
    pub(super) fn choose(&mut self) -> Result<(), AgentError> {
        if self.is_ending {
            return Ok(());
        }
        self.decide()?;
        // Before anything begins the site is asked: it may know that our history is an older one. It need not answer.
        let is_first = self.asked.is_none();
        if is_first || self.book.under_way().is_some() || self.blocked.is_some() {
            return Ok(());
        }
        let Some(id) = self.agenda.start.clone() else { return Ok(()) };
        if self.not_before > clock::steady() {
            return Ok(());
        }
        if let Some(busy) = others::busy(&self.root) {
            self.wait_for(busy);
            return Ok(());
        }
        let Some(deployment) = self.deployment(&id) else { return Ok(()) };
        let round = deployment.retry_round;
        if let Some(run) = self.book.run(&id) {
            let event = if run.order.round < round { Event::Round(round) } else { Event::Due };
            self.events.push_back((id, event, Vec::new()));
            return Ok(());
        }
        let action = self.agenda.action(&id).unwrap_or_else(|| deployment.program.action.clone());
        let order = order::order(deployment, &action, id);
        match self.book.begin(order, clock::now(), clock::wall()) {
            Ok(begun) => self.write(begun),
            Err(refused) => {
                self.note(refused.to_string());
                Ok(())
            }
        }
    }

    fn decide(&mut self) -> Result<(), AgentError> {
        self.agenda.start = None;
        self.agenda.next = None;
        let Some(document) = &self.document else { return Ok(()) };
        let (now, wall) = (clock::now(), Timestamp::now());
        let history = self.history(now, wall);
        let sessions = sessions::sessions(&self.root);
        let running = self.book.under_way().and_then(|run| run_key(&run.order.id));
        let facts = ClientFacts {
            now: wall,
            boot: &boot_name(now.boot),
            history: &history,
            memory: &self.memory,
            sessions: sessions.as_deref(),
            detected: &self.agenda.detected,
            required: &self.agenda.required,
            requested: &self.agenda.requested,
            running: running.as_ref(),
            link: None,
            cached: &BTreeSet::new(),
            shutting_down: false,
            can_restart: self.can_restart(),
        };
        let zones = Zones { database: jiff::tz::db(), client: &TimeZone::system() };
        let agenda = decide(document, &facts, zones);
        self.agenda.start = agenda.start.as_ref().map(run_id).filter(|id| self.may_begin(id));
        self.agenda.next = agenda.next.map(|next| {
            let left = u64::try_from(next.duration_since(wall).as_millis()).unwrap_or(0);
            now.at.saturating_add(left).saturating_add(1)
        });
        self.agenda.items = agenda.items;
        self.agenda.restart = agenda.restart;
        self.ask(&agenda.questions);
        self.tell_detected()
    }

    /// Everything that was run, and what was lost.
    fn history(&self, now: Now, wall: Timestamp) -> History {
        let mut history = History::default();
        if self.book.is_in_doubt() {
            history.lose(wall, None);
        }
        for run in self.book.runs() {
            if let (Some(key), Some(record)) = (run_key(&run.order.id), record(run, now, wall)) {
                history.record(key, record);
            }
        }
        history
    }

    /// Whether the journal agrees that it may begin: it has the last word.
    fn may_begin(&self, id: &RunId) -> bool {
        let Some(run) = self.book.run(id) else { return true };
        let round = self.deployment(id).map_or(0, |deployment| deployment.retry_round);
        run.due(clock::now()) == Some(0) || (run.may_again() && run.order.round < round)
    }

    /// What is there without us is told, once.
    fn tell_detected(&mut self) -> Result<(), AgentError> {
        if self.book.under_way().is_some() {
            return Ok(());
        }
        let there: Vec<RunId> = self
            .agenda
            .items
            .iter()
            .filter(|item| item.standing == Standing::Done(DoneBy::Detected))
            .map(|item| run_id(&item.key))
            .filter(|id| self.book.run(id).is_none())
            .collect();
        for id in there {
            let Some(deployment) = self.deployment(&id) else { continue };
            let action =
                self.agenda.action(&id).unwrap_or_else(|| deployment.program.action.clone());
            let order = order::order(deployment, &action, id);
            if let Ok(entry) = self.book.there(order, clock::now(), clock::wall()) {
                self.write(entry)?;
            }
        }
        Ok(())
    }

    /// Rules whose answers are needed are asked by a thread each.
    fn ask(&mut self, questions: &BTreeSet<Question>) {
        for question in questions {
            if !self.agenda.asked.insert(question.clone()) {
                continue;
            }
            let (id, is_detection) = match question {
                Question::Detection(id, _) => (id, true),
                Question::Requirement(id) => (id, false),
            };
            let deployment = self.deployment(&RunId::of(id.as_str()));
            let rule = deployment.and_then(|deployment| {
                if is_detection {
                    order::detection(deployment, &deployment.program.action)
                } else {
                    deployment.program.requirement.clone()
                }
            });
            let (root, bell, asked) = (self.root.clone(), self.bell.clone(), question.clone());
            let thread = thread::Builder::new().name("rule".to_owned()).stack_size(1 << 20);
            let spawned = thread.spawn(move || {
                let truth = match rule.map(|rule| detect::answer(&root, &rule)) {
                    Some(Ok(true)) => Truth::Yes,
                    Some(Ok(false)) => Truth::No,
                    Some(Err(why)) => Truth::Unknown(why),
                    None => Truth::Unknown("there is no rule".to_owned()),
                };
                bell.ring(Answer::Truth(asked, truth));
            });
            if let Err(error) = spawned {
                self.agenda.asked.remove(question);
                self.note(format!("no thread can be started: {error}"));
            }
        }
    }

    /// A rule answered.
    pub(super) fn take_truth(&mut self, question: Question, truth: Truth) {
        self.agenda.asked.remove(&question);
        match question {
            Question::Detection(id, user) => drop(self.agenda.detected.insert((id, user), truth)),
            Question::Requirement(id) => drop(self.agenda.required.insert(id, truth)),
        }
    }

    /// Whether rules are being asked.
    pub(super) fn is_asking(&self) -> bool {
        !self.agenda.asked.is_empty()
    }

    /// Somebody else installs: the kernel says when he is done.
    fn wait_for(&mut self, busy: others::Busy) {
        let (bell, waited) = (self.bell.clone(), busy.clone());
        let thread = thread::Builder::new().name("waiting".to_owned()).stack_size(1 << 20);
        let spawned = thread.spawn(move || {
            bell.ring(Answer::Free(others::wait(&waited).map_err(|error| error.to_string())));
        });
        match spawned {
            Ok(_) => self.blocked = Some((busy, clock::now())),
            Err(error) => self.note(format!("no thread can be started: {error}")),
        }
    }
}
