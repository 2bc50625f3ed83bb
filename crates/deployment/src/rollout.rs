//! A deployment reaching its clients in waves, and stopping by itself.

mod course;
mod plan;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use policy::Moment;
use serde::{Deserialize, Serialize};

use crate::{ClientId, DeploymentId, Gate};

pub use course::RolloutCourse;
pub use plan::{HaltRule, InvalidRollout, RolloutPlan, Share, Wave, WaveGate, place};
pub use watch::Offer;
use watch::Watch;

/// A rollout under way: its course, and what is known of each client it was offered to.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    course: RolloutCourse,
    clients: BTreeMap<ClientId, Watch>,
    /// When to look whether a client was heard of.
    looks: BTreeSet<(Moment, ClientId)>,
    tally: RolloutTally,
}

/// What follows from an event, and is to be durable before it counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decided {
    /// The course, where it changed.
    pub course: Option<RolloutCourse>,
    /// What is known of one client, where that changed.
    pub offer: Option<(ClientId, Offer)>,
    /// What is to be done then.
    pub effects: Vec<RolloutEffect>,
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
    /// Successes since the last wave began.
    pub in_wave: u32,
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
        RolloutCourse::start(deployment, plan, members, now.at).map(Self::of)
    }

    /// A rollout of which no client has learned yet.
    pub fn of(course: RolloutCourse) -> Self {
        let (clients, looks) = (BTreeMap::new(), BTreeSet::new());
        Self { course, clients, looks, tally: RolloutTally::default() }
    }

    /// What was decided of it.
    pub fn course(&self) -> &RolloutCourse {
        &self.course
    }

    /// What was decided since.
    pub fn take_course(&mut self, course: RolloutCourse) {
        if course.resumed > self.course.resumed {
            self.clients.values_mut().for_each(Watch::forgive);
        }
        self.tally = self.tally_by(&course);
        self.course = course;
    }

    /// What a client's document says of it. The same client is always in the same wave.
    pub fn gate(
        &self,
        client: ClientId,
        in_collection: impl Fn(&str) -> bool,
        wall: Timestamp,
    ) -> Gate {
        self.course.gate(client, in_collection, wall)
    }

    /// The round of attempts a client is in ([`crate::Deployment::retry_round`]).
    pub fn round_of(&self, client: ClientId) -> u32 {
        self.course.round_of(client)
    }

    /// Whether it goes on.
    pub fn status(&self) -> &RolloutStatus {
        &self.course.status
    }

    /// Open waves.
    pub fn open_waves(&self) -> usize {
        self.course.open
    }

    /// How it goes.
    pub fn tally(&self) -> RolloutTally {
        self.tally
    }

    /// The next moment at which something may change without an event.
    pub fn next_wake(&self) -> Option<Moment> {
        if self.course.status != RolloutStatus::Running {
            return None;
        }
        let soaked = self.course.soaked_at(self.tally);
        self.looks.first().map(|(at, _)| *at).into_iter().chain(soaked).min()
    }

    /// What the next wave waits for, in words; `None` where all are open.
    pub fn waits_for(&self, now: Moment) -> Option<String> {
        self.course.waits_for(self.tally, now)
    }

    /// What follows from an event, taken into account at once: [`Rollout::decide`] for those who keep nothing.
    ///
    /// # Errors
    /// It means nothing in this state; nothing is changed.
    pub fn next(
        &mut self,
        event: RolloutEvent,
        now: SiteNow,
    ) -> Result<Vec<RolloutEffect>, RolloutRefused> {
        match &event {
            RolloutEvent::Heard(client) => {
                self.hear(*client, now.at);
                return Ok(Vec::new());
            }
            RolloutEvent::Offered(client) | RolloutEvent::Reported(client, _) => {
                self.hear(*client, now.at);
            }
            RolloutEvent::Timer { .. } => self.look(now.at),
            _ => {}
        }
        let decided = self.decide(&event, now)?;
        if let Some((client, offer)) = decided.offer {
            self.take_offer(client, offer);
        }
        if let Some(course) = decided.course {
            self.take_course(course);
        }
        Ok(decided.effects)
    }

    /// What follows from an event. Nothing is changed: what was decided counts once it was taken in
    /// ([`Rollout::take_offer`], [`Rollout::take_course`]). Of time only what was looked at counts ([`Rollout::look`]).
    ///
    /// # Errors
    /// It means nothing in this state.
    pub fn decide(&self, event: &RolloutEvent, now: SiteNow) -> Result<Decided, RolloutRefused> {
        let mut course = self.course.clone();
        let mut tally = self.tally;
        let mut decided = Decided::default();
        let effects = &mut decided.effects;
        match event {
            RolloutEvent::Heard(_) => return Ok(decided),
            RolloutEvent::Offered(client) => {
                decided.offer = self.offered(*client, now.at).map(|offer| (*client, offer));
            }
            RolloutEvent::Reported(client, result) => {
                decided.offer =
                    self.reported(*client, *result, now.at).map(|offer| (*client, offer));
            }
            RolloutEvent::Timer { others_silent } => {
                course.judge_silence(tally, *others_silent, now, effects);
            }
            RolloutEvent::Pause(by) => {
                let status = RolloutStatus::Paused { by: by.clone(), since: now.wall };
                course.hold(status, effects)?;
            }
            RolloutEvent::Stop(by) => {
                let status = RolloutStatus::Stopped { by: by.clone(), since: now.wall };
                course.hold(status, effects)?;
            }
            RolloutEvent::Resume => {
                course.resume(now.at, effects)?;
                tally = self.tally_by(&course);
                (tally.silent, tally.answered) = (0, 0);
            }
            RolloutEvent::Approve => course.approve()?,
            RolloutEvent::NextWave => course.begin_next_by_hand(now.at, effects)?,
            RolloutEvent::Retry(whom) => {
                course.retry(whom, effects)?;
                tally = self.tally_by(&course);
            }
        }
        if let Some((client, offer)) = &decided.offer {
            let before = self.clients.get(client).map(|watch| watch.offer);
            tally = tally.with(
                before.map(|offer| self.course.count(*client, offer)),
                self.course.count(*client, *offer),
            );
        }
        course.judge_failures(tally, now, effects);
        course.open_next(tally, now.at, effects);
        decided.course = (course != self.course).then_some(course);
        Ok(decided)
    }
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
