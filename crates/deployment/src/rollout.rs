//! A deployment reaching its clients in waves, and stopping by itself.

mod plan;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use policy::Moment;
use serde::{Deserialize, Serialize};

use crate::{ClientId, DeploymentId, Gate, GateCause};

pub use plan::{HaltRule, InvalidRollout, RolloutPlan, Share, Wave, WaveGate, place};
use watch::Watch;

/// A rollout under way. All of it is state: a halt survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rollout {
    deployment: DeploymentId,
    plan: RolloutPlan,
    /// Of each wave: clients whose place is below belong to it; unsaid for collections.
    below: Vec<Option<u64>>,
    /// How many members each wave had at the start, those of earlier waves included; unsaid for collections.
    sizes: Vec<Option<u32>>,
    /// Waves that are open.
    open: usize,
    /// When the last of them opened.
    opened: Moment,
    approved: bool,
    status: RolloutStatus,
    #[serde(with = "pairs")]
    clients: BTreeMap<ClientId, Watch>,
    /// When to look whether a client was heard of.
    looks: BTreeSet<(Moment, ClientId)>,
    tally: RolloutTally,
    /// Successes in the last wave that is open.
    successes: u32,
    round: u32,
    #[serde(with = "pairs")]
    rounds: BTreeMap<ClientId, u32>,
}

/// Whether a rollout goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum RolloutStatus {
    /// It does.
    Running,
    /// Somebody paused it.
    Paused {
        /// Who.
        by: Box<str>,
        /// By the site's clock.
        since: Timestamp,
    },
    /// It stopped by itself.
    Halted {
        /// Why.
        why: HaltCause,
        /// By the site's clock.
        since: Timestamp,
    },
    /// Somebody stopped it for good.
    Stopped {
        /// Who.
        by: Box<str>,
        /// By the site's clock.
        since: Timestamp,
    },
}

/// Why a rollout stopped by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HaltCause {
    /// Too many failed.
    Failures {
        /// So many.
        failed: u32,
        /// Of so many that reported.
        of: u32,
    },
    /// Too many were not heard of again.
    Silence {
        /// So many.
        silent: u32,
        /// Of so many that were looked for.
        of: u32,
    },
}

/// Something that happened to a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutEvent {
    /// The client fetched a document in which its gate is open.
    Offered(ClientId),
    /// The client checked in.
    Heard(ClientId),
    /// The client said how it went.
    Reported(ClientId, ClientResult),
    /// The moment [`Rollout::next_wake`] named has come. So many of 100 clients that were offered nothing are silent as
    /// well: an outage is not the package's fault.
    Timer {
        /// 0 to 100.
        others_silent: u8,
    },
    /// The site was away for so many milliseconds and could hear nobody.
    SiteWasAway(u64),
    /// No starts until it is resumed.
    Pause(Box<str>),
    /// It goes on; what was counted so far is not counted again.
    Resume,
    /// No starts any more: the kill switch.
    Stop(Box<str>),
    /// Somebody agrees that the next wave may begin, once all else it waits for is there.
    Approve,
    /// Somebody begins the next wave, whatever it waits for.
    NextWave,
    /// Another try for those who failed.
    Retry(RetryWhom),
}

/// What a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientResult {
    /// Done.
    Succeeded,
    /// An attempt failed.
    Failed,
    /// Not for this machine: neither.
    NotApplicable,
}

/// For whom there is another try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryWhom {
    /// These.
    Some(BTreeSet<ClientId>),
    /// Everybody.
    All,
}

/// Something to be done, after the rollout is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutEffect {
    /// It changed: write it.
    Keep,
    /// Documents of these clients change.
    Renew(Whose),
    /// For the status log.
    Tell(RolloutNote),
}

/// Whose documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// These clients'.
    Some(BTreeSet<ClientId>),
    /// Those of all the deployment is for.
    All,
}

/// What somebody looking at the log should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutNote {
    /// The next wave began.
    WaveOpened {
        /// From 1.
        wave: usize,
    },
    /// It stopped by itself.
    Halted(HaltCause),
}

/// How it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutTally {
    /// Clients it was offered to.
    pub offered: u32,
    /// Said it is done.
    pub succeeded: u32,
    /// Said an attempt failed, and nothing better since.
    pub failed: u32,
    /// Were looked for and had been heard of.
    pub answered: u32,
    /// Were looked for and had not.
    pub silent: u32,
    /// Counted before it was last resumed; judged no more.
    pub forgiven_failures: u32,
    /// The same of successes.
    pub forgiven_successes: u32,
}

/// When something happens, by both of a site's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteNow {
    /// By the steady one: decides.
    pub at: Moment,
    /// By the wall's: is shown.
    pub wall: Timestamp,
}

/// Somebody asks for what cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolloutRefused {
    /// It is over.
    #[error("the rollout was stopped: deploy anew to go on")]
    Stopped,
    /// Nothing waits.
    #[error("the rollout is running: there is nothing to resume")]
    Running,
    /// All waves are open.
    #[error("all waves are open: there is nothing to approve")]
    AllOpen,
}

impl Rollout {
    /// Begins a rollout to `members`; the first wave is open.
    ///
    /// # Errors
    /// The plan cannot have been meant.
    pub fn start(
        deployment: DeploymentId,
        plan: RolloutPlan,
        members: impl IntoIterator<Item = ClientId>,
        now: SiteNow,
    ) -> Result<Self, InvalidRollout> {
        plan.check()?;
        let (below, sizes) = plan.thresholds(&deployment, members);
        Ok(Self {
            deployment,
            plan,
            below,
            sizes,
            open: 1,
            opened: now.at,
            approved: false,
            status: RolloutStatus::Running,
            clients: BTreeMap::new(),
            looks: BTreeSet::new(),
            tally: RolloutTally::default(),
            successes: 0,
            round: 0,
            rounds: BTreeMap::new(),
        })
    }

    /// What a client's document says of it. The same client is always in the same wave.
    pub fn gate(
        &self,
        client: ClientId,
        in_collection: impl Fn(&str) -> bool,
        wall: Timestamp,
    ) -> Gate {
        let closed = |cause, by: String, since| Gate::Closed { cause, by: by.into(), since };
        match &self.status {
            RolloutStatus::Running => {}
            RolloutStatus::Paused { by, since } => {
                return closed(GateCause::Paused, by.to_string(), *since);
            }
            RolloutStatus::Halted { why, since } => {
                return closed(GateCause::Halted, why.to_string(), *since);
            }
            RolloutStatus::Stopped { by, since } => {
                return closed(GateCause::Stopped, by.to_string(), *since);
            }
        }
        let of = self.plan.waves.len();
        match self.wave_of(client, in_collection) {
            Some(wave) if wave < self.open => Gate::Open,
            Some(wave) => {
                let by = format!("wave {} of {of}; {} is open", wave + 1, self.open);
                closed(GateCause::LaterWave, by, wall)
            }
            None => {
                closed(GateCause::LaterWave, format!("none of {of} waves has this client"), wall)
            }
        }
    }

    /// The wave a client belongs to, from 0: the first that has it.
    pub fn wave_of(&self, client: ClientId, in_collection: impl Fn(&str) -> bool) -> Option<usize> {
        let place = place(&self.deployment, client);
        let has = |(wave, below): (&Wave, &Option<u64>)| match (&wave.share, below) {
            (Share::Collection(name), _) => in_collection(name),
            (_, Some(below)) => place <= *below,
            (_, None) => false,
        };
        self.plan.waves.iter().zip(&self.below).position(has)
    }

    /// The round of attempts a client is in ([`crate::Deployment::retry_round`]).
    pub fn round_of(&self, client: ClientId) -> u32 {
        self.round + self.rounds.get(&client).copied().unwrap_or(0)
    }

    /// Whether it goes on.
    pub fn status(&self) -> &RolloutStatus {
        &self.status
    }

    /// Open waves.
    pub fn open_waves(&self) -> usize {
        self.open
    }

    /// How it goes.
    pub fn tally(&self) -> RolloutTally {
        self.tally
    }

    /// The next moment at which something may change without an event.
    pub fn next_wake(&self) -> Option<Moment> {
        if self.status != RolloutStatus::Running {
            return None;
        }
        let soaked = self.gate_of_next().map(|gate| self.opened + gate.soak);
        let soaked = soaked.filter(|_| self.is_ready_but_for_time());
        self.looks.first().map(|(at, _)| *at).into_iter().chain(soaked).min()
    }

    /// What follows from an event.
    ///
    /// # Errors
    /// It means nothing in this state; nothing is changed.
    pub fn next(
        &mut self,
        event: RolloutEvent,
        now: SiteNow,
    ) -> Result<Vec<RolloutEffect>, RolloutRefused> {
        let mut effects = Vec::new();
        match event {
            RolloutEvent::Offered(client) => self.offered(client, now.at, &mut effects),
            RolloutEvent::Heard(client) => self.heard(client, now.at, &mut effects),
            RolloutEvent::Reported(client, result) => {
                self.reported(client, result, now.at);
                effects.push(RolloutEffect::Keep);
            }
            RolloutEvent::Timer { others_silent } => {
                if self.look(now.at) {
                    effects.push(RolloutEffect::Keep);
                }
                self.judge_silence(others_silent, now, &mut effects);
            }
            RolloutEvent::SiteWasAway(away) => {
                let looks = std::mem::take(&mut self.looks);
                self.looks = looks.into_iter().map(|(at, client)| (at + away, client)).collect();
                self.clients.values_mut().for_each(|watch| watch.shift(away));
                effects.push(RolloutEffect::Keep);
            }
            RolloutEvent::Pause(by) => {
                self.going()?;
                self.status = RolloutStatus::Paused { by, since: now.wall };
                changed(&mut effects);
            }
            RolloutEvent::Stop(by) => {
                self.going()?;
                self.status = RolloutStatus::Stopped { by, since: now.wall };
                changed(&mut effects);
            }
            RolloutEvent::Resume => {
                self.going()?;
                if self.status == RolloutStatus::Running {
                    return Err(RolloutRefused::Running);
                }
                self.forgive(now.at);
                self.status = RolloutStatus::Running;
                changed(&mut effects);
            }
            RolloutEvent::Approve => {
                self.going()?;
                if self.open == self.plan.waves.len() {
                    return Err(RolloutRefused::AllOpen);
                }
                self.approved = true;
                effects.push(RolloutEffect::Keep);
            }
            RolloutEvent::NextWave => {
                self.going()?;
                if self.open == self.plan.waves.len() {
                    return Err(RolloutRefused::AllOpen);
                }
                self.begin_next(now.at, &mut effects);
            }
            RolloutEvent::Retry(whom) => {
                self.going()?;
                self.retry(whom, &mut effects);
            }
        }
        self.judge_failures(now, &mut effects);
        self.open_next(now.at, &mut effects);
        Ok(effects)
    }

    fn going(&self) -> Result<(), RolloutRefused> {
        match self.status {
            RolloutStatus::Stopped { .. } => Err(RolloutRefused::Stopped),
            _ => Ok(()),
        }
    }

    fn retry(&mut self, whom: RetryWhom, effects: &mut Vec<RolloutEffect>) {
        let whose = match whom {
            RetryWhom::All => {
                self.round += 1;
                Whose::All
            }
            RetryWhom::Some(clients) => {
                for client in &clients {
                    *self.rounds.entry(*client).or_default() += 1;
                }
                Whose::Some(clients)
            }
        };
        let tally = &mut self.tally;
        for (client, watch) in &mut self.clients {
            let is_meant = match &whose {
                Whose::All => true,
                Whose::Some(clients) => clients.contains(client),
            };
            if is_meant && watch.result == Some(ClientResult::Failed) {
                watch.result = None;
                tally.failed -= 1;
                // One that was forgiven is forgiven once.
                tally.forgiven_failures = tally.forgiven_failures.min(tally.failed);
            }
        }
        effects.extend([RolloutEffect::Keep, RolloutEffect::Renew(whose)]);
    }

    fn forgive(&mut self, now: Moment) {
        self.tally.forgiven_failures = self.tally.failed;
        self.tally.forgiven_successes = self.tally.succeeded;
        (self.tally.silent, self.tally.answered) = (0, 0);
        for watch in self.clients.values_mut() {
            (watch.is_silent, watch.has_answered) = (false, false);
        }
        // Time in which nothing may start is no time of soaking.
        self.opened = now;
    }

    fn judge_failures(&mut self, now: SiteNow, effects: &mut Vec<RolloutEffect>) {
        let failed = self.tally.failed.saturating_sub(self.tally.forgiven_failures);
        let succeeded = self.tally.succeeded.saturating_sub(self.tally.forgiven_successes);
        let of = failed + succeeded;
        let rule = self.plan.halt;
        if failed > 0 && of >= rule.minimum && percent(failed, of) >= f64::from(rule.failures) {
            self.halt(HaltCause::Failures { failed, of }, now, effects);
        }
    }

    fn judge_silence(&mut self, others: u8, now: SiteNow, effects: &mut Vec<RolloutEffect>) {
        let (silent, of) = (self.tally.silent, self.tally.silent + self.tally.answered);
        let rule = self.plan.halt;
        let beyond_others = percent(silent, of) - f64::from(others);
        if silent > 0 && of >= rule.minimum && beyond_others >= f64::from(rule.silent) {
            self.halt(HaltCause::Silence { silent, of }, now, effects);
        }
    }

    fn halt(&mut self, why: HaltCause, now: SiteNow, effects: &mut Vec<RolloutEffect>) {
        if self.status == RolloutStatus::Running {
            self.status = RolloutStatus::Halted { why, since: now.wall };
            changed(effects);
            effects.push(RolloutEffect::Tell(RolloutNote::Halted(why)));
        }
    }

    fn gate_of_next(&self) -> Option<WaveGate> {
        let is_last = self.open >= self.plan.waves.len();
        self.plan.waves.get(self.open - 1).filter(|_| !is_last).map(|wave| wave.then)
    }

    /// Successes the next wave waits for still. A wave smaller than that waits for all of it.
    fn successes_missing(&self, gate: WaveGate) -> u32 {
        let size = |wave: usize| self.sizes.get(wave).copied().flatten();
        let earlier = if self.open < 2 { Some(0) } else { size(self.open - 2) };
        let own =
            size(self.open - 1).zip(earlier).map(|(all, earlier)| all.saturating_sub(earlier));
        own.map_or(gate.successes, |own| gate.successes.min(own)).saturating_sub(self.successes)
    }

    fn is_ready_but_for_time(&self) -> bool {
        self.gate_of_next().is_some_and(|gate| {
            self.successes_missing(gate) == 0 && (self.approved || !gate.approval)
        })
    }

    /// What the next wave waits for, in words; `None` where all are open.
    pub fn waits_for(&self, now: Moment) -> Option<String> {
        let gate = self.gate_of_next()?;
        let mut waits: Vec<String> = Vec::new();
        if self.status != RolloutStatus::Running {
            waits.push(format!(
                "somebody to resume it (`packhorse site deployment resume {}`)",
                self.deployment
            ));
        }
        let missing = self.successes_missing(gate);
        if missing > 0 {
            waits.push(format!("{missing} more successes"));
        }
        if gate.approval && !self.approved {
            waits.push(format!(
                "approval (`packhorse site deployment approve {}`)",
                self.deployment
            ));
        }
        let left = (self.opened + gate.soak).0.saturating_sub(now.0) / 1_000;
        if left > 0 {
            let left = crate::opening::length(i64::try_from(left).unwrap_or(i64::MAX));
            waits.push(format!("{left} to pass"));
        }
        Some(format!(
            "wave {} waits for {}; `packhorse site deployment next-wave {}` begins it now",
            self.open + 1,
            waits.join(", "),
            self.deployment
        ))
    }

    /// Opens the next wave, where all its conditions are met.
    fn open_next(&mut self, now: Moment, effects: &mut Vec<RolloutEffect>) {
        let soaked = self.gate_of_next().is_some_and(|gate| now >= self.opened + gate.soak);
        if self.status != RolloutStatus::Running || !soaked || !self.is_ready_but_for_time() {
            return;
        }
        self.begin_next(now, effects);
    }

    fn begin_next(&mut self, now: Moment, effects: &mut Vec<RolloutEffect>) {
        self.open += 1;
        (self.opened, self.approved, self.successes) = (now, false, 0);
        changed(effects);
        effects.push(RolloutEffect::Tell(RolloutNote::WaveOpened { wave: self.open }));
    }
}

fn changed(effects: &mut Vec<RolloutEffect>) {
    effects.extend([RolloutEffect::Keep, RolloutEffect::Renew(Whose::All)]);
}

fn percent(part: u32, of: u32) -> f64 {
    f64::from(part) * 100.0 / f64::from(of.max(1))
}

impl fmt::Display for HaltCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failures { failed, of } => write!(f, "{failed} of {of} failed"),
            Self::Silence { silent, of } => write!(f, "{silent} of {of} were not heard of again"),
        }
    }
}

/// Maps with keys JSON has no words for.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
