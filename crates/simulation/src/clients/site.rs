use std::collections::{BTreeMap, BTreeSet};

use deployment::{
    Action, ClientFacts, ClientId, ClientResult, ClientSettings, CommandLine, Deployment,
    DeploymentId, Gate, HaltRule, History, Memory, PackageRef, PolicyDocument, Program, Rollout,
    RolloutEffect, RolloutEvent, RolloutPlan, RolloutStatus, Share, SiteNow, Wave, WaveGate, Whose,
    Zones, decide,
};
use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};
use model::{Hash, PackageName, Version};
use policy::{Moment, SiteCode, Stamp};

use super::{Client, ClientsScenario, silent_others};

/// What was a working day.
const BEGIN: i64 = 1_790_000_000;

/// The site: two rollouts, and the number of its documents' version.
pub(super) struct Site {
    rollouts: [Rollout; 2],
    deployments: [Deployment; 2],
    /// When each is deployed.
    begins: [u32; 2],
    version: u32,
    pub(super) first_wave: u32,
    silence: u32,
    zones: TimeZoneDatabase,
    code: SiteCode,
}

fn now(at: u32) -> SiteNow {
    let wall = Timestamp::from_second(BEGIN + i64::from(at)).unwrap_or(Timestamp::MAX);
    SiteNow { at: Moment(u64::from(at) * 1_000), wall }
}

impl Site {
    pub(super) fn new(
        clients: impl Iterator<Item = ClientId> + Clone,
        day: u32,
        scenario: &ClientsScenario,
    ) -> Self {
        let silence = 4 * scenario.interval;
        let soak = u64::from(day) * 1_000 / 8;
        let then = WaveGate { soak, successes: 20, approval: false };
        let wave = |percent, then| Wave { share: Share::Percent(percent), then };
        let last = wave(100, WaveGate::default());
        let plan = RolloutPlan {
            waves: vec![wave(1, then), wave(10, then), last],
            halt: HaltRule { silence: u64::from(silence) * 1_000, ..HaltRule::default() },
        };
        let deployments = ["GOOD", "BROKEN"].map(deployment);
        let rollouts = [0, 1].map(|which: usize| {
            let begins = now(u32::try_from(which).unwrap_or(0) * 2 * day + day / 24);
            Rollout::start(deployments[which].id.clone(), plan.clone(), clients.clone(), begins)
                .unwrap_or_else(|error| unreachable!("the plan is fixed: {error}"))
        });
        let wall = now(0).wall;
        let first_wave = clients.filter(|id| rollouts[1].gate(*id, |_| false, wall) == Gate::Open);
        let first_wave = u32::try_from(first_wave.count()).unwrap_or(u32::MAX);
        Self {
            rollouts,
            deployments,
            begins: [day / 24, 2 * day + day / 24],
            version: 0,
            first_wave,
            silence,
            zones: TimeZoneDatabase::none(),
            code: SiteCode::new("HQ").unwrap_or_else(|error| unreachable!("{error}")),
        }
    }

    pub(super) fn statuses(&self) -> [&RolloutStatus; 2] {
        [self.rollouts[0].status(), self.rollouts[1].status()]
    }

    /// Deployments begin, and rollouts are woken when they asked for it.
    pub(super) fn timer(&mut self, at: u32, all: &[Client]) {
        if self.begins.contains(&at) {
            self.version += 1;
        }
        for which in 0..2 {
            let due = self.rollouts[which].next_wake().is_some_and(|wake| wake <= now(at).at);
            if due && at >= self.begins[which] {
                let others_silent = silent_others(all, at, self.silence);
                self.tell(which, RolloutEvent::Timer { others_silent }, at);
            }
        }
    }

    fn tell(&mut self, which: usize, event: RolloutEvent, at: u32) {
        let effects = self.rollouts[which].next(event, now(at)).unwrap_or_default();
        if effects.contains(&RolloutEffect::Renew(Whose::All)) {
            self.version += 1;
        }
    }

    /// A client checks in: it tells what it has to tell, and fetches its document if there is a newer one. Says whether
    /// it ran anything then.
    pub(super) fn answer(&mut self, client: &mut Client, at: u32) -> bool {
        client.heard = at;
        for which in 0..2 {
            if let Some(result) = client.told[which].take() {
                self.tell(which, RolloutEvent::Reported(client.id, result), at);
            } else if client.is_watched[which] {
                self.tell(which, RolloutEvent::Heard(client.id), at);
            }
        }
        if client.seen == self.version {
            return false;
        }
        client.seen = self.version;
        let deployed: Vec<usize> = (0..2).filter(|which| at >= self.begins[*which]).collect();
        let mut deployments = Vec::new();
        let mut news = false;
        for which in deployed {
            let gate = self.rollouts[which].gate(client.id, |_| false, now(at).wall);
            if gate == Gate::Open && !client.is_watched[which] {
                client.is_watched[which] = true;
                news = true;
                self.tell(which, RolloutEvent::Offered(client.id), at);
            }
            deployments.push(Deployment { gate, ..self.deployments[which].clone() });
        }
        news && self.run(client, deployments, at)
    }

    /// What a client does with its document: what is due, one after the other.
    fn run(&self, client: &mut Client, deployments: Vec<Deployment>, at: u32) -> bool {
        let document = PolicyDocument {
            stamp: Stamp { epoch: 0, sequence: self.version.into() },
            site: self.code.clone(),
            client: client.id,
            made: now(at).wall,
            deployments,
            windows: Vec::new(),
            settings: ClientSettings::default(),
            quarantined: Vec::new(),
        };
        let mut history = History::default();
        for (which, runs) in client.runs.iter().enumerate() {
            if *runs > 0 {
                record(&mut history, &self.deployments[which].id, which == 0, at);
            }
        }
        let mut ran = false;
        loop {
            let started = {
                let facts = ClientFacts {
                    now: now(at).wall,
                    boot: "1",
                    history: &history,
                    memory: &Memory::default(),
                    sessions: Some(&[]),
                    detected: &BTreeMap::new(),
                    required: &BTreeMap::new(),
                    requested: &BTreeSet::new(),
                    running: None,
                    link: None,
                    cached: &BTreeSet::new(),
                    shutting_down: false,
                    can_restart: true,
                };
                let zones = Zones { database: &self.zones, client: const { &TimeZone::UTC } };
                decide(&document, &facts, zones).start
            };
            let Some(key) = started else { return ran };
            let which = usize::from(key.deployment != self.deployments[0].id);
            client.runs[which] = client.runs[which].saturating_add(1);
            let result = [ClientResult::Succeeded, ClientResult::Failed][which];
            client.told[which] = Some(result);
            record(&mut history, &key.deployment, which == 0, at);
            ran = true;
        }
    }
}

/// The good one is done; the broken one failed and gave up.
fn record(history: &mut History, id: &DeploymentId, is_done: bool, at: u32) {
    use deployment::{RunKey, RunKind, RunOutcome, RunRecord};
    let key = RunKey { deployment: id.clone(), user: None, kind: RunKind::Program, occurrence: 0 };
    let at = now(at).wall;
    let outcome = if is_done { RunOutcome::Done } else { RunOutcome::Failed { again: at } };
    let cause = "exit code 1".into();
    history.record(key, RunRecord { outcome, attempts: 10, round: 0, at, sequence: 1, cause });
}

fn deployment(name: &str) -> Deployment {
    let fixed = "a fixed name";
    let package = PackageRef {
        name: PackageName::new(&name.to_lowercase())
            .unwrap_or_else(|error| unreachable!("{fixed}: {error}")),
        version: Version::new("1.0"),
        identity: Hash::of(name.as_bytes()),
    };
    let action = Action::Command(CommandLine::Direct(vec!["./setup".to_owned()]));
    let id = DeploymentId::new(name).unwrap_or_else(|error| unreachable!("{fixed}: {error}"));
    Deployment::new(id, package, Program::new("install", action))
}
