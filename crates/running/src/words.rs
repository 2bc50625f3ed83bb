use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Which run: of which deployment, for whom, and which time of those it recurs.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode,
)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct RunId {
    /// The deployment, by the name the site gave it.
    #[n(0)]
    pub deployment: Box<str>,
    /// For which user; for the machine where unsaid.
    #[n(1)]
    pub user: Option<Box<str>>,
    /// Whether what it brought is taken away again.
    #[n(2)]
    pub removal: bool,
    /// Which occurrence; 0 where it does not recur.
    #[n(3)]
    pub occurrence: i64,
}

impl RunId {
    /// The only run of a deployment, for the machine.
    pub fn of(deployment: &str) -> Self {
        Self { deployment: deployment.into(), user: None, removal: false, occurrence: 0 }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.deployment)?;
        if self.removal {
            f.write_str(", taken away")?;
        }
        if let Some(user) = &self.user {
            write!(f, ", for {user}")?;
        }
        match self.occurrence {
            0 => Ok(()),
            occurrence => write!(f, ", time {occurrence}"),
        }
    }
}

/// One start of the machine: the first half of what the kernel calls it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Encode,
    Decode,
)]
#[serde(transparent)]
#[cbor(transparent)]
pub struct BootId(#[n(0)] pub u64);

/// A time on a machine's own steady clock: it goes on while the machine sleeps, and begins again with each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Now {
    /// Since which start.
    #[n(0)]
    pub boot: BootId,
    /// Milliseconds.
    #[n(1)]
    pub at: u64,
}

impl Now {
    /// Milliseconds until `pause` after `self` is over. What was left when the machine went down is not known: after a
    /// restart it counts from the start.
    pub fn left(self, pause: u64, now: Now) -> u64 {
        let since = if self.boot == now.boot { self.at } else { 0 };
        since.saturating_add(pause).saturating_sub(now.at)
    }
}

/// A process that cannot be mistaken for another: numbers are given out again, a number and a time are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Process {
    /// Its number.
    #[n(0)]
    pub pid: u32,
    /// When it began, in the kernel's ticks since the machine started.
    #[n(1)]
    pub began: u64,
}

/// Whether a program that was cut off may be started once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Rerun {
    /// Its author says that starting it again does no harm.
    #[n(0)]
    Safe,
    /// Somebody has to decide.
    #[n(1)]
    Ask,
}

/// How often and when what failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Pauses {
    /// The longest pause after the first failure, in milliseconds; it doubles with each further one.
    #[n(0)]
    pub first: u64,
    /// No pause is longer.
    #[n(1)]
    pub longest: u64,
    /// After so many attempts it has failed, until somebody asks for more.
    #[n(2)]
    pub attempts: u32,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { first: 60_000, longest: 4 * 3_600_000, attempts: 3 }
    }
}

impl Pauses {
    /// The pause after attempt number `attempt`: at least half of its length, the rest by the dice.
    pub fn after(&self, attempt: u32, dice: u64) -> u64 {
        let doublings = attempt.saturating_sub(1).min(40);
        let top = self.first.saturating_mul(1 << doublings).min(self.longest).max(2);
        top / 2 + dice % (top / 2)
    }
}
