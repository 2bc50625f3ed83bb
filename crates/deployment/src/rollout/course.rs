use std::collections::BTreeMap;

use jiff::Timestamp;
use policy::Moment;
use serde::{Deserialize, Serialize};

use super::{
    ClientResult, HaltCause, InvalidRollout, Offer, RetryWhom, RolloutEffect, RolloutNote,
    RolloutPlan, RolloutRefused, RolloutStatus, RolloutTally, Share, SiteNow, Wave, WaveGate,
    Whose, pairs, place,
};
use crate::{ClientId, DeploymentId, Gate, GateCause};

/// What was decided of a rollout. All of it is state: a halt survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutCourse {
    deployment: DeploymentId,
    plan: RolloutPlan,
    /// When it began: what was offered before belongs to another one of that name.
    #[serde(default)]
    pub(super) began: Moment,
    /// Of each wave: clients whose place is below belong to it; unsaid for collections.
    below: Vec<Option<u64>>,
    /// How many members each wave had at the start, those of earlier waves included; unsaid for collections.
    sizes: Vec<Option<u32>>,
    /// Waves that are open.
    pub(super) open: usize,
    /// When the last of them opened.
    opened: Moment,
    approved: bool,
    pub(super) status: RolloutStatus,
    round: u32,
    #[serde(with = "pairs")]
    rounds: BTreeMap<ClientId, u32>,
    /// How often it was resumed: what was said before is judged no more.
    #[serde(default)]
    pub(super) resumed: u32,
    /// When it was last: who was silent by then is judged no more.
    #[serde(default)]
    pub(super) resumed_at: Moment,
}

impl RolloutCourse {
    pub(super) fn start(
        deployment: DeploymentId,
        plan: RolloutPlan,
        members: impl IntoIterator<Item = ClientId>,
        now: Moment,
    ) -> Result<Self, InvalidRollout> {
        plan.check()?;
        let (below, sizes) = plan.thresholds(&deployment, members);
        Ok(Self {
            deployment,
            plan,
            began: now,
            below,
            sizes,
            open: 1,
            opened: now,
            approved: false,
            status: RolloutStatus::Running,
            round: 0,
            rounds: BTreeMap::new(),
            resumed: 0,
            resumed_at: Moment::default(),
        })
    }

    /// Whether it is the same rollout, and not another one of its name.
    pub fn is_of(&self, other: &Self) -> bool {
        (&self.deployment, self.began) == (&other.deployment, other.began)
    }

    /// A client is silent after so many milliseconds.
    pub fn silence(&self) -> u64 {
        self.plan.halt.silence
    }

    pub(super) fn gate(
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
    fn wave_of(&self, client: ClientId, in_collection: impl Fn(&str) -> bool) -> Option<usize> {
        let place = place(&self.deployment, client);
        let has = |(wave, below): (&Wave, &Option<u64>)| match (&wave.share, below) {
            (Share::Collection(name), _) => in_collection(name),
            (_, Some(below)) => place <= *below,
            (_, None) => false,
        };
        self.plan.waves.iter().zip(&self.below).position(has)
    }

    pub(super) fn round_of(&self, client: ClientId) -> u32 {
        self.round + self.rounds.get(&client).copied().unwrap_or(0)
    }

    /// What a client said, as far as it counts: who is given another try has not failed.
    pub(super) fn result(&self, client: ClientId, offer: Offer) -> Option<ClientResult> {
        let is_over =
            |result| result == ClientResult::Failed && offer.round < self.round_of(client);
        offer.result.filter(|result| !is_over(*result))
    }

    /// One client's part of the tally.
    pub(super) fn count(&self, client: ClientId, offer: Offer) -> RolloutTally {
        let result = self.result(client, offer);
        let is = |wanted: bool| u32::from(wanted);
        let (succeeded, failed) =
            (result == Some(ClientResult::Succeeded), result == Some(ClientResult::Failed));
        let is_forgiven = offer.resumed < self.resumed;
        RolloutTally {
            offered: 1,
            succeeded: is(succeeded),
            failed: is(failed),
            forgiven_failures: is(failed && is_forgiven),
            forgiven_successes: is(succeeded && is_forgiven),
            in_wave: is(succeeded && offer.wave == self.open),
            ..RolloutTally::default()
        }
    }

    fn going(&self) -> Result<(), RolloutRefused> {
        match self.status {
            RolloutStatus::Stopped { .. } => Err(RolloutRefused::Stopped),
            _ => Ok(()),
        }
    }

    /// Nothing starts any more, for a while or for good.
    pub(super) fn hold(
        &mut self,
        status: RolloutStatus,
        effects: &mut Vec<RolloutEffect>,
    ) -> Result<(), RolloutRefused> {
        self.going()?;
        self.status = status;
        changed(effects);
        Ok(())
    }

    pub(super) fn resume(
        &mut self,
        now: Moment,
        effects: &mut Vec<RolloutEffect>,
    ) -> Result<(), RolloutRefused> {
        self.going()?;
        if self.status == RolloutStatus::Running {
            return Err(RolloutRefused::Running);
        }
        self.resumed += 1;
        // Time in which nothing may start is no time of soaking.
        (self.resumed_at, self.opened) = (now, now);
        self.status = RolloutStatus::Running;
        changed(effects);
        Ok(())
    }

    fn more_waves(&self) -> Result<(), RolloutRefused> {
        self.going()?;
        let all_open = self.open == self.plan.waves.len();
        if all_open { Err(RolloutRefused::AllOpen) } else { Ok(()) }
    }

    pub(super) fn approve(&mut self) -> Result<(), RolloutRefused> {
        self.more_waves()?;
        self.approved = true;
        Ok(())
    }

    pub(super) fn begin_next_by_hand(
        &mut self,
        now: Moment,
        effects: &mut Vec<RolloutEffect>,
    ) -> Result<(), RolloutRefused> {
        self.more_waves()?;
        self.begin_next(now, effects);
        Ok(())
    }

    pub(super) fn retry(
        &mut self,
        whom: &RetryWhom,
        effects: &mut Vec<RolloutEffect>,
    ) -> Result<(), RolloutRefused> {
        self.going()?;
        let whose = match whom {
            RetryWhom::All => {
                self.round += 1;
                Whose::All
            }
            RetryWhom::Some(clients) => {
                for client in clients {
                    *self.rounds.entry(*client).or_default() += 1;
                }
                Whose::Some(clients.clone())
            }
        };
        effects.push(RolloutEffect::Renew(whose));
        Ok(())
    }

    pub(super) fn judge_failures(
        &mut self,
        tally: RolloutTally,
        now: SiteNow,
        effects: &mut Vec<RolloutEffect>,
    ) {
        let failed = tally.failed.saturating_sub(tally.forgiven_failures);
        let succeeded = tally.succeeded.saturating_sub(tally.forgiven_successes);
        let of = failed + succeeded;
        let rule = self.plan.halt;
        if failed > 0 && of >= rule.minimum && percent(failed, of) >= f64::from(rule.failures) {
            self.halt(HaltCause::Failures { failed, of }, now, effects);
        }
    }

    pub(super) fn judge_silence(
        &mut self,
        tally: RolloutTally,
        others: u8,
        now: SiteNow,
        effects: &mut Vec<RolloutEffect>,
    ) {
        let (silent, of) = (tally.silent, tally.silent + tally.answered);
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
        self.plan.waves.get(self.open.checked_sub(1)?).filter(|_| !is_last).map(|wave| wave.then)
    }

    /// Successes the next wave waits for still. A wave smaller than that waits for all of it.
    fn successes_missing(&self, gate: WaveGate, tally: RolloutTally) -> u32 {
        let size = |wave: usize| self.sizes.get(wave).copied().flatten();
        let earlier = if self.open < 2 { Some(0) } else { size(self.open - 2) };
        let own =
            size(self.open - 1).zip(earlier).map(|(all, earlier)| all.saturating_sub(earlier));
        own.map_or(gate.successes, |own| gate.successes.min(own)).saturating_sub(tally.in_wave)
    }

    fn is_ready_but_for_time(&self, tally: RolloutTally) -> bool {
        self.gate_of_next().is_some_and(|gate| {
            self.successes_missing(gate, tally) == 0 && (self.approved || !gate.approval)
        })
    }

    /// When the next wave begins, if it waits for nothing but time.
    pub(super) fn soaked_at(&self, tally: RolloutTally) -> Option<Moment> {
        let soaked = self.gate_of_next().map(|gate| self.opened + gate.soak);
        soaked.filter(|_| self.is_ready_but_for_time(tally))
    }

    pub(super) fn waits_for(&self, tally: RolloutTally, now: Moment) -> Option<String> {
        let gate = self.gate_of_next()?;
        let mut waits: Vec<String> = Vec::new();
        if self.status != RolloutStatus::Running {
            waits.push(format!(
                "somebody to resume it (`packhorse site deployment resume {}`)",
                self.deployment
            ));
        }
        let missing = self.successes_missing(gate, tally);
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
    pub(super) fn open_next(
        &mut self,
        tally: RolloutTally,
        now: Moment,
        effects: &mut Vec<RolloutEffect>,
    ) {
        let is_soaked = self.soaked_at(tally).is_some_and(|at| now >= at);
        if self.status == RolloutStatus::Running && is_soaked {
            self.begin_next(now, effects);
        }
    }

    fn begin_next(&mut self, now: Moment, effects: &mut Vec<RolloutEffect>) {
        self.open += 1;
        (self.opened, self.approved) = (now, false);
        changed(effects);
        effects.push(RolloutEffect::Tell(RolloutNote::WaveOpened { wave: self.open }));
    }
}

fn changed(effects: &mut Vec<RolloutEffect>) {
    effects.push(RolloutEffect::Renew(Whose::All));
}

fn percent(part: u32, of: u32) -> f64 {
    f64::from(part) * 100.0 / f64::from(of.max(1))
}
