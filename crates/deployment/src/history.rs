//! What was run on a client, folded from its journal.

use std::collections::BTreeMap;

use jiff::Timestamp;
use policy::Stamp;
use serde::{Deserialize, Serialize};

use crate::{DeploymentId, Memory, PolicyDocument};

/// So many occurrences of a deployment that comes again are remembered, for each user.
const OCCURRENCES_KEPT: usize = 16;

/// One thing that runs once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunKey {
    /// The deployment.
    pub deployment: DeploymentId,
    /// For whom; the machine where unsaid.
    pub user: Option<Box<str>>,
    /// Its program, or what takes it away again.
    pub kind: RunKind,
    /// Which occurrence ([`crate::Occurrence::key`]); 0 where it does not come again.
    pub occurrence: i64,
}

/// What of a deployment runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// Its program.
    Program,
    /// What takes away again what it brought: withdrawn, or superseded.
    Removal,
}

/// What came of the runs of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunRecord {
    /// How the last one ended.
    pub outcome: RunOutcome,
    /// Attempts made in this round; waiting for others is none.
    pub attempts: u32,
    /// The round they were made in ([`crate::Deployment::retry_round`]).
    pub round: u32,
    /// When it ended, by the client's clock.
    pub at: Timestamp,
    /// Its place in the client's journal: order is by this, never by time.
    pub sequence: u64,
    /// Why it ended so, for people.
    pub cause: Box<str>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// It did what it is for.
    Done,
    /// It did, and that counts once the machine has restarted.
    RestartOwed {
        /// The start of the machine it ran in.
        boot: Box<str>,
    },
    /// It did not; it is not tried again before.
    Failed {
        /// By the client's clock.
        again: Timestamp,
    },
    /// The program said there is nothing for this machine.
    NotApplicable,
    /// It was cut off, and nothing tells whether it did what it is for.
    Interrupted,
}

/// What is known of earlier runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct History {
    runs: BTreeMap<RunKey, RunRecord>,
    lost: Option<Lost>,
}

/// History that is gone: damaged, deleted, or rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lost {
    /// When that was noticed.
    pub since: Timestamp,
    /// Deployments that documents up to this one named may have run; of later ones nothing is lost. All where unsaid.
    pub through: Option<Stamp>,
}

impl History {
    /// What is known of a run.
    pub fn get(&self, key: &RunKey) -> Option<&RunRecord> {
        self.runs.get(key)
    }

    /// All that is known.
    pub fn runs(&self) -> impl Iterator<Item = (&RunKey, &RunRecord)> {
        self.runs.iter()
    }

    /// What was lost, if anything.
    pub fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    /// Takes note that history is gone: what has no record is not taken for never run.
    pub fn lose(&mut self, since: Timestamp, through: Option<Stamp>) {
        self.lost = Some(Lost { since, through });
    }

    /// Somebody decided that what is not recorded was not run.
    pub fn accept_loss(&mut self) {
        self.lost = None;
    }

    /// Takes note of what came of a run; of two words about one key the later in the journal counts. Records may come
    /// from a second copy or from the site.
    pub fn record(&mut self, key: RunKey, record: RunRecord) {
        let known = self.runs.get(&key).map(|known| known.sequence);
        if known.is_none_or(|known| known <= record.sequence) {
            self.trim(&key);
            self.runs.insert(key, record);
        }
    }

    /// Lets go of an older occurrence of what comes again, so that history does not grow.
    fn trim(&mut self, key: &RunKey) {
        if self.runs.contains_key(key) {
            return;
        }
        let same = self.of(&key.deployment, key.user.as_deref(), key.kind);
        let oldest: Option<RunKey> = same
            .clone()
            .min_by_key(|(_, record)| record.sequence)
            .filter(|_| same.count() >= OCCURRENCES_KEPT)
            .map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            self.runs.remove(&oldest);
        }
    }

    /// All occurrences of one deployment for one user or the machine.
    pub(crate) fn of<'a>(
        &'a self,
        deployment: &DeploymentId,
        user: Option<&str>,
        kind: RunKind,
    ) -> impl Iterator<Item = (&'a RunKey, &'a RunRecord)> + Clone + use<'a> {
        let from = RunKey {
            deployment: deployment.clone(),
            user: user.map(Into::into),
            kind,
            occurrence: i64::MIN,
        };
        let to = RunKey { occurrence: i64::MAX, ..from.clone() };
        self.runs.range(from..=to)
    }

    /// The last success of a program.
    pub(crate) fn last_done(&self, id: &DeploymentId, user: Option<&str>) -> Option<&RunRecord> {
        self.of(id, user, RunKind::Program)
            .map(|(_, record)| record)
            .filter(|record| record.outcome.is_done())
            .max_by_key(|record| record.sequence)
    }

    /// Whom a deployment was run for.
    pub(crate) fn users<'a>(&'a self, id: &'a DeploymentId) -> Vec<Option<&'a str>> {
        let from = RunKey {
            deployment: id.clone(),
            user: None,
            kind: RunKind::Program,
            occurrence: i64::MIN,
        };
        let runs = self.runs.range(from..).take_while(|(key, _)| key.deployment == *id);
        let mut users: Vec<Option<&str>> = runs.map(|(key, _)| key.user.as_deref()).collect();
        users.dedup();
        users
    }

    /// Lets go of what nothing can follow from any more: deployments that a newer document of the same epoch does not
    /// name, and whose withdrawal is over. What is disabled, away, or offered to somebody else is named, and stays.
    pub fn forget(
        &mut self,
        memory: &mut Memory,
        document: &PolicyDocument,
        over: impl Fn(&DeploymentId) -> bool,
    ) {
        memory.retain(|id, known| {
            let gone = !document.names(id)
                && known.last.epoch == document.stamp.epoch
                && known.last < document.stamp;
            let keep = !gone || !over(id);
            if !keep {
                self.runs.retain(|key, _| key.deployment != *id);
            }
            keep
        });
    }
}

impl RunOutcome {
    /// Whether the program did what it is for, a restart aside.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done | Self::RestartOwed { .. })
    }
}
