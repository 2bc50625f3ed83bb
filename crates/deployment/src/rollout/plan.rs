use model::Hasher;
use serde::{Deserialize, Serialize};

use crate::{ClientId, DeploymentId};

/// In what steps a deployment reaches its clients, and when it stops by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RolloutPlan {
    /// One after the other; what the last one does not have never gets it.
    pub waves: Vec<Wave>,
    /// When it stops by itself.
    pub halt: HaltRule,
}

/// A wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wave {
    /// Who is in it, those of earlier waves included.
    pub share: Share,
    /// What lets the next one begin.
    #[serde(default)]
    pub then: WaveGate,
}

/// Who is in a wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// So many of 100 clients, those of earlier waves included.
    Percent(u8),
    /// So many clients, those of earlier waves included.
    Count(u32),
    /// The members of a collection.
    Collection(Box<str>),
}

/// What lets the next wave begin: all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct WaveGate {
    /// So many milliseconds since this one began.
    pub soak: u64,
    /// So many clients of it done.
    pub successes: u32,
    /// Somebody's word.
    pub approval: bool,
}

/// When a rollout stops by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HaltRule {
    /// Where so many of 100 that reported failed.
    pub failures: u8,
    /// Where so many more of 100 than of other clients were not heard of.
    pub silent: u8,
    /// Nothing is judged by fewer clients.
    pub minimum: u32,
    /// A client is silent after so many milliseconds: a few check-in intervals.
    pub silence: u64,
}

impl Default for HaltRule {
    /// A tenth failed, or a fifth silent for an hour; by no fewer than ten.
    fn default() -> Self {
        Self { failures: 10, silent: 20, minimum: 10, silence: 3_600_000 }
    }
}

/// A plan nobody can have meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRollout {
    /// Nobody gets it.
    #[error("the rollout has no wave: give at least one, `100 %` for everybody at once")]
    NoWaves,
    /// A wave of nobody, or of more than everybody.
    #[error("wave {wave} has {share}: give 1 to 100 %, or at least 1 client")]
    Share {
        /// From 1.
        wave: usize,
        /// As given.
        share: String,
    },
    /// A later wave is smaller.
    #[error("wave {wave} is no larger than the one before: shares include those of earlier waves")]
    Shrinks {
        /// From 1.
        wave: usize,
    },
    /// The next wave begins at once.
    #[error(
        "after wave {wave} the next one would begin at once: give a time to soak, successes to wait for, or ask for approval"
    )]
    NoGate {
        /// From 1.
        wave: usize,
    },
    /// Never, or always.
    #[error("it halts at {0} %: give 1 to 100")]
    Halt(u8),
    /// Everybody is silent at once.
    #[error("a client would be silent after 0 ms: give a few check-in intervals")]
    Silence,
}

impl RolloutPlan {
    /// Everybody at once, and still with an eye on failures.
    pub fn at_once() -> Self {
        let all = Wave { share: Share::Percent(100), then: WaveGate::default() };
        Self { waves: vec![all], halt: HaltRule::default() }
    }

    /// Whether it can have been meant.
    pub fn check(&self) -> Result<(), InvalidRollout> {
        if self.waves.is_empty() {
            return Err(InvalidRollout::NoWaves);
        }
        for (number, wave) in (1..).zip(&self.waves) {
            let share = match &wave.share {
                Share::Percent(percent) if !(1..=100).contains(percent) => format!("{percent} %"),
                Share::Count(0) => "0 clients".to_owned(),
                _ => continue,
            };
            return Err(InvalidRollout::Share { wave: number, share });
        }
        for (number, pair) in (1..).zip(self.waves.windows(2)) {
            let shrinks = match (&pair[0].share, &pair[1].share) {
                (Share::Percent(one), Share::Percent(two)) => two <= one,
                (Share::Count(one), Share::Count(two)) => two <= one,
                _ => false,
            };
            if shrinks {
                return Err(InvalidRollout::Shrinks { wave: number + 1 });
            }
            if pair[0].then == WaveGate::default() {
                return Err(InvalidRollout::NoGate { wave: number });
            }
        }
        for percent in [self.halt.failures, self.halt.silent] {
            if !(1..=100).contains(&percent) {
                return Err(InvalidRollout::Halt(percent));
            }
        }
        if self.halt.silence == 0 { Err(InvalidRollout::Silence) } else { Ok(()) }
    }

    /// The greatest place of each wave, which is that of the last member that is in, and its size. A percentage of
    /// somebody is somebody.
    pub(super) fn thresholds(
        &self,
        deployment: &DeploymentId,
        members: impl IntoIterator<Item = ClientId>,
    ) -> (Vec<Option<u64>>, Vec<Option<u32>>) {
        let mut places: Vec<u64> =
            members.into_iter().map(|client| place(deployment, client)).collect();
        places.sort_unstable();
        let all = places.len();
        let below = |wave: &Wave| {
            let count = match &wave.share {
                Share::Percent(100) => return Some((u64::MAX, all)),
                Share::Percent(percent) if all == 0 => {
                    return Some((u64::MAX / 100 * u64::from(*percent), 0));
                }
                Share::Percent(percent) => (all * usize::from(*percent)).div_ceil(100),
                Share::Count(count) => usize::try_from(*count).unwrap_or(usize::MAX),
                Share::Collection(_) => return None,
            };
            let last = places.get(count.saturating_sub(1)).copied();
            Some((last.unwrap_or(u64::MAX), count.min(all)))
        };
        let both: Vec<Option<(u64, usize)>> = self.waves.iter().map(below).collect();
        let sizes = both.iter().map(|wave| wave.and_then(|(_, size)| u32::try_from(size).ok()));
        (both.iter().map(|wave| wave.map(|(below, _)| below)).collect(), sizes.collect())
    }
}

/// A client's place in the rollout of a deployment: evenly spread, always the same, another for each deployment.
pub fn place(deployment: &DeploymentId, client: ClientId) -> u64 {
    let hash = Hasher::new().update(deployment.as_str().as_bytes()).update(&client.0).finish();
    hash.0.first_chunk().map_or(0, |head| u64::from_le_bytes(*head))
}
