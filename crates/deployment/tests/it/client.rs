//! A client in memory: it does what its agenda says, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use deployment::{
    Agenda, ClientFacts, ClientSettings, Deployment, DeploymentId, History, Memory, PolicyDocument,
    Question, RestartRule, RunKey, RunKind, RunOutcome, RunRecord, Session, Standing, Truth,
    Window, Zones, decide, remember,
};
use jiff::{
    SignedDuration, Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};
use policy::Stamp;

use crate::sample::{at, client, id, site};

/// What a program does when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Works.
    Works,
    /// Fails.
    Fails,
    /// Works, and asks for a restart.
    AsksForRestart,
    /// Is cut off.
    CutOff,
}

/// A client whose programs take no time.
pub(crate) struct Client {
    pub(crate) document: PolicyDocument,
    pub(crate) history: History,
    pub(crate) memory: Memory,
    pub(crate) now: Timestamp,
    pub(crate) boot: u32,
    pub(crate) sessions: Vec<Session>,
    pub(crate) detected: BTreeMap<(DeploymentId, Option<Box<str>>), Truth>,
    pub(crate) required: BTreeMap<DeploymentId, Truth>,
    pub(crate) requested: BTreeSet<(DeploymentId, Option<Box<str>>)>,
    pub(crate) link: Option<u64>,
    pub(crate) cached: BTreeSet<DeploymentId>,
    pub(crate) shutting_down: bool,
    pub(crate) can_restart: bool,
    pub(crate) zone: TimeZone,
    pub(crate) acts: BTreeMap<DeploymentId, Act>,
    /// What ran, when.
    pub(crate) ran: Vec<(Timestamp, RunKey)>,
    /// How often the machine was started again.
    pub(crate) restarts: u32,
    sequence: u64,
}

pub(crate) fn database() -> &'static TimeZoneDatabase {
    static DATABASE: std::sync::OnceLock<TimeZoneDatabase> = std::sync::OnceLock::new();
    DATABASE.get_or_init(TimeZoneDatabase::bundled)
}

impl Client {
    pub(crate) fn new(now: &str, deployments: Vec<Deployment>) -> Self {
        let mut new = Self {
            document: PolicyDocument {
                stamp: Stamp { epoch: 0, sequence: 0 },
                site: site(),
                client: client(),
                made: at(now),
                deployments: Vec::new(),
                windows: Vec::new(),
                settings: ClientSettings::default(),
                quarantined: Vec::new(),
            },
            history: History::default(),
            memory: Memory::default(),
            now: at(now),
            boot: 1,
            sessions: Vec::new(),
            detected: BTreeMap::new(),
            required: BTreeMap::new(),
            requested: BTreeSet::new(),
            link: None,
            cached: BTreeSet::new(),
            shutting_down: false,
            can_restart: true,
            zone: TimeZone::UTC,
            acts: BTreeMap::new(),
            ran: Vec::new(),
            restarts: 0,
            sequence: 0,
        };
        new.receive(deployments);
        new
    }

    /// A newer document arrives, with the same windows.
    pub(crate) fn receive(&mut self, deployments: Vec<Deployment>) {
        self.document.stamp.sequence += 1;
        self.document.deployments = deployments;
        remember(&mut self.memory, &self.document);
    }

    pub(crate) fn with_windows(mut self, windows: Vec<Window>) -> Self {
        self.document.windows = windows;
        self
    }

    pub(crate) fn agenda(&self) -> Agenda {
        let boot = self.boot.to_string();
        let facts = ClientFacts {
            now: self.now,
            boot: &boot,
            history: &self.history,
            memory: &self.memory,
            sessions: Some(&self.sessions),
            detected: &self.detected,
            required: &self.required,
            requested: &self.requested,
            running: None,
            link: self.link,
            cached: &self.cached,
            shutting_down: self.shutting_down,
            can_restart: self.can_restart,
        };
        decide(&self.document, &facts, Zones { database: database(), client: &self.zone })
    }

    /// In what state a deployment of the machine is, in words.
    pub(crate) fn said(&self, name: &str) -> String {
        let said = |item: &deployment::Item| match item.key.kind {
            RunKind::Program => item.standing.to_string(),
            RunKind::Removal => format!("removal: {}", item.standing),
        };
        let all: Vec<String> = self
            .agenda()
            .items
            .iter()
            .filter(|item| item.key.deployment == id(name))
            .map(said)
            .collect();
        all.join("; ")
    }

    /// Runs what is due now, restarts where that is due, until nothing is.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1_000 {
            let agenda = self.agenda();
            self.answer(&agenda);
            if let Some(key) = agenda.start {
                self.run(key);
            } else if agenda.restart.is_some_and(|owed| owed.at.is_some_and(|at| at <= self.now)) {
                self.restart();
            } else if agenda.questions.is_empty() {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.agenda());
    }

    /// Nobody has it yet, and it is for everybody, where the test does not say otherwise.
    fn answer(&mut self, agenda: &Agenda) {
        for question in agenda.questions.clone() {
            match question {
                Question::Detection(id, user) => {
                    self.detected.entry((id, user)).or_insert(Truth::No);
                }
                Question::Requirement(id) => {
                    self.required.entry(id).or_insert(Truth::Yes);
                }
            }
        }
    }

    pub(crate) fn restart(&mut self) {
        self.restarts += 1;
        self.boot += 1;
        self.sessions.clear();
    }

    pub(crate) fn run(&mut self, key: RunKey) {
        let one = self
            .document
            .deployment(&key.deployment)
            .or_else(|| self.memory.get(&key.deployment).map(|known| &known.deployment))
            .unwrap();
        let boot = self.boot.to_string().into();
        let act = self.acts.get(&key.deployment).copied().unwrap_or(Act::Works);
        let by_itself = one.program.restart == RestartRule::ByItself;
        let known = self.history.get(&key).filter(|known| known.round == one.retry_round);
        let attempts = known.map_or(0, |known| known.attempts) + 1;
        let outcome = match act {
            Act::Works => RunOutcome::Done,
            Act::AsksForRestart => RunOutcome::RestartOwed { boot },
            Act::CutOff => RunOutcome::Interrupted,
            Act::Fails => {
                let pause = one.retry.pause(attempts, u64::MAX / 3);
                let again = self.now + SignedDuration::from_secs(i64::try_from(pause).unwrap());
                RunOutcome::Failed { again }
            }
        };
        self.sequence += 1;
        let record = RunRecord {
            outcome,
            attempts,
            round: one.retry_round,
            at: self.now,
            sequence: self.sequence,
            cause: "exit code 1".into(),
        };
        self.ran.push((self.now, key.clone()));
        self.history.record(key, record);
        if by_itself && act == Act::AsksForRestart {
            self.restart();
        }
    }

    /// Lets time pass until `end`, waking only when the one timer says so.
    pub(crate) fn live_until(&mut self, end: &str) {
        let end = at(end);
        self.settle();
        while let Some(next) = self.agenda().next.filter(|next| *next <= end) {
            assert!(next > self.now, "the timer goes forward");
            self.now = next;
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    pub(crate) fn log_on(&mut self, user: &str) {
        self.sessions.push(Session { user: user.into(), since: self.now, seen: true });
    }

    pub(crate) fn log_off(&mut self) {
        self.sessions.clear();
    }

    /// What ran, by name.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.ran.iter().map(|(_, key)| key.deployment.as_str()).collect()
    }

    pub(crate) fn standing(&self, name: &str) -> Standing {
        let agenda = self.agenda();
        agenda.items.into_iter().find(|item| item.key.deployment == id(name)).unwrap().standing
    }
}
