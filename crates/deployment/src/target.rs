use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Action, DeploymentId, InvalidRecurrence, PackageRef, Program, Recurrence, When, wire};

/// A program that is to run, or may, on this client: when, for whom, and what follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Deployment {
    /// Its id.
    #[n(0)]
    pub id: DeploymentId,
    /// What people call it.
    #[n(1)]
    pub title: Box<str>,
    /// What is used.
    #[n(2)]
    pub package: PackageRef,
    /// What is done with it.
    #[n(3)]
    pub program: Program,
    /// For whom it runs.
    #[n(4)]
    pub audience: Audience,
    /// Whether it must.
    #[n(5)]
    pub purpose: Purpose,
    /// What lets it begin.
    #[n(6)]
    pub trigger: Trigger,
    /// Who must be there.
    #[n(7)]
    pub presence: Presence,
    /// Not before; at once where unsaid.
    #[n(8)]
    pub start: Option<When>,
    /// By then it is to be done: what is due first goes first, an available program becomes required, and windows
    /// may no longer count ([`WindowRule::UntilDeadline`]).
    #[n(9)]
    pub deadline: Option<When>,
    /// Not any longer; what runs then ends in peace.
    #[n(10)]
    pub expiry: Option<When>,
    /// Runs again at each occurrence; once where unsaid.
    #[n(11)]
    pub recurrence: Option<Recurrence>,
    /// Whether maintenance windows count.
    #[n(12)]
    pub windows: WindowRule,
    /// What must be done before, by the ids of deployments in the same document.
    #[n(13)]
    pub depends_on: Vec<DeploymentId>,
    /// What it takes the place of.
    #[n(14)]
    pub supersedes: Vec<Supersedence>,
    /// What happens when it is withdrawn.
    #[n(15)]
    pub withdrawal: Withdrawal,
    /// How failures are answered.
    #[n(16)]
    pub retry: RetryLimits,
    /// Rises when somebody asks for another try: attempts made under a lower number count no more.
    #[n(17)]
    pub retry_round: u32,
    /// Whether its rollout has come to this client.
    #[n(18)]
    pub gate: Gate,
}

/// For whom a program runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Audience {
    /// Once for the machine.
    #[n(0)]
    Machine,
    /// Once for every user who logs on.
    #[n(1)]
    EveryUser,
    /// Once for each of these users, by name.
    #[n(2)]
    Users(#[n(0)] Vec<Box<str>>),
}

/// Whether a program must run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Purpose {
    /// It runs by itself.
    #[n(0)]
    Required,
    /// It runs when a person or a dependency asks for it; from its deadline on it is required.
    #[n(1)]
    Available,
}

/// What lets a program begin, once it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Trigger {
    /// Its time.
    #[default]
    #[n(0)]
    Time,
    /// Somebody logging on after its time.
    #[n(1)]
    Logon,
}

/// Who must be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Presence {
    /// Whoever.
    #[default]
    #[n(0)]
    Any,
    /// A user.
    #[n(1)]
    User,
    /// Nobody.
    #[n(2)]
    Nobody,
}

/// Whether maintenance windows count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum WindowRule {
    /// It runs only inside of one.
    #[default]
    #[n(0)]
    Inside,
    /// Until its deadline only inside of one, then at once.
    #[n(1)]
    UntilDeadline,
    /// They do not.
    #[n(2)]
    Ignore,
}

/// A deployment whose place another takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Supersedence {
    /// It does not run any more where the newer one applies.
    #[n(0)]
    pub deployment: DeploymentId,
    /// What takes the old one off before the new one runs, if it was run here; in place where unsaid.
    #[n(1)]
    pub first: Option<Action>,
}

/// What happens once a deployment is withdrawn: no longer named by a newer document of the same epoch, or expired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Withdrawal {
    /// What it brought stays.
    #[default]
    #[n(0)]
    Leave,
    /// This is run, once.
    #[n(1)]
    Run(#[n(0)] Action),
}

/// How failures are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct RetryLimits {
    /// The longest pause after the first failure, in seconds; it doubles with each further one.
    #[n(0)]
    pub first: u32,
    /// No pause is longer, in seconds.
    #[n(1)]
    pub longest: u32,
    /// After so many attempts it gives up, visibly, until somebody asks for another try.
    #[n(2)]
    pub attempts: u32,
}

/// Whether a rollout has come to this client. The site decides; the client says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// It has.
    #[n(0)]
    Open,
    /// It has not, or not any more.
    #[n(1)]
    Closed {
        /// Why.
        #[n(0)]
        cause: GateCause,
        /// Who or what closed it: `wave 3`, the name of an administrator, the failure rate.
        #[n(1)]
        by: Box<str>,
        /// Since when, by the site's clock.
        #[n(2)]
        #[cbor(with = "wire::instant")]
        since: Timestamp,
    },
}

/// Why a gate is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum GateCause {
    /// A later wave than the one under way.
    #[n(0)]
    LaterWave,
    /// An administrator paused the rollout.
    #[n(1)]
    Paused,
    /// The rollout stopped by itself: failures, or silence.
    #[n(2)]
    Halted,
    /// An administrator stopped all starts.
    #[n(3)]
    Stopped,
    /// The program is disabled.
    #[n(4)]
    Disabled,
}

impl Default for RetryLimits {
    /// Ten attempts, five minutes to a day apart.
    fn default() -> Self {
        Self { first: 300, longest: 86_400, attempts: 10 }
    }
}

impl RetryLimits {
    /// The pause after attempt number `attempts`, in seconds: exponential, bounded, and anywhere below that (full
    /// jitter).
    pub fn pause(&self, attempts: u32, dice: u64) -> u64 {
        policy::RetryRule {
            first: self.first.into(),
            longest: self.longest.into(),
            attempts: self.attempts,
        }
        .pause(attempts, dice)
    }
}

/// What makes a deployment impossible to understand, though every field of it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDeployment {
    /// Its recurrence.
    #[error("its recurrence: {0}")]
    Recurrence(#[from] InvalidRecurrence),
    /// A command without a program.
    #[error("its command line is empty: give a program")]
    EmptyCommand,
    /// It waits for itself.
    #[error("it depends on itself")]
    OwnDependency,
    /// It makes way for itself.
    #[error("it supersedes itself")]
    OwnSupersedence,
}

impl Deployment {
    /// Required, once for the machine, at once, in maintenance windows; all else is left unsaid.
    pub fn new(id: DeploymentId, package: PackageRef, program: Program) -> Self {
        Self {
            title: id.as_str().into(),
            id,
            package,
            program,
            audience: Audience::Machine,
            purpose: Purpose::Required,
            trigger: Trigger::Time,
            presence: Presence::Any,
            start: None,
            deadline: None,
            expiry: None,
            recurrence: None,
            windows: WindowRule::Inside,
            depends_on: Vec::new(),
            supersedes: Vec::new(),
            withdrawal: Withdrawal::Leave,
            retry: RetryLimits::default(),
            retry_round: 0,
            gate: Gate::Open,
        }
    }

    pub fn check(&self) -> Result<(), InvalidDeployment> {
        if let Some(recurrence) = &self.recurrence {
            recurrence.check()?;
        }
        let first = self.supersedes.iter().filter_map(|old| old.first.as_ref());
        let withdrawal = match &self.withdrawal {
            Withdrawal::Run(action) => Some(action),
            Withdrawal::Leave => None,
        };
        if [&self.program.action].into_iter().chain(first).chain(withdrawal).any(Action::is_empty) {
            return Err(InvalidDeployment::EmptyCommand);
        }
        if self.depends_on.contains(&self.id) {
            return Err(InvalidDeployment::OwnDependency);
        }
        if self.supersedes.iter().any(|old| old.deployment == self.id) {
            return Err(InvalidDeployment::OwnSupersedence);
        }
        Ok(())
    }
}
