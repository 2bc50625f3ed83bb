//! What state a deployment is in on a client, and why.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::{DeploymentId, GateCause, RunKey, UnknownZone, opening::NeverFits};

/// What state a deployment is in, for the machine or for one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is to start now.
    Due,
    /// It runs.
    Running,
    /// It waits.
    Waiting(Wait),
    /// It is done.
    Done(DoneBy),
    /// Nobody asked for it.
    Offered,
    /// Its requirement is not met here, or its program said so.
    NotApplicable,
    /// Another took its place.
    Superseded {
        /// The newest in the chain.
        by: DeploymentId,
    },
    /// Its time is over.
    Expired {
        /// Since when.
        at: Timestamp,
    },
    /// All attempts failed; only somebody asking for another try changes that.
    GaveUp {
        /// How often it was tried.
        attempts: u32,
        /// What came of the last one.
        cause: Box<str>,
    },
    /// A person must decide.
    NeedsDecision(Undecided),
    /// It can never run as it was authored.
    Impossible(Impossible),
    /// It is gone, and what it brought was taken away.
    Removed,
    /// It is gone, and what it brought stays because another deployment wants it.
    KeptFor {
        /// The other.
        by: DeploymentId,
    },
}

/// How it came to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DoneBy {
    /// A run of ours.
    Run,
    /// It was so already: its detection rule says so.
    Detected,
}

/// What a person must decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undecided {
    /// History is lost, and no detection rule tells whether it was run.
    HistoryLost,
    /// It was cut off, and no detection rule tells how far it came.
    Interrupted,
}

/// Why something can never run as it was authored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Impossible {
    /// It waits for itself, by way of these.
    Cycle(Vec<DeploymentId>),
    /// It waits for something for users, and runs for the machine.
    DependsOnUsers(DeploymentId),
    /// The document has it, and it cannot be read.
    Unreadable(String),
}

/// A wait: for what, since when, what ends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Wait {
    /// For what or whom.
    pub what: WaitFor,
    /// Since when, if a clock can say so.
    pub since: Option<Timestamp>,
    /// Then it ends by itself; where unsaid, an event ends it.
    pub until: Option<Timestamp>,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitFor {
    /// Its start.
    Start,
    /// Its next occurrence; the last one is done.
    Occurrence,
    /// A maintenance window that is open long enough.
    Window {
        /// The window, if there is one.
        name: Option<Box<str>>,
    },
    /// A maintenance window longer than all there are.
    LongerWindow(Box<NeverFits>),
    /// A user logging on: this one, or anybody.
    User(Option<Box<str>>),
    /// A new logon.
    Logon,
    /// All users logging off.
    NobodyLoggedOn,
    /// Who is logged on cannot be found out.
    Sessions,
    /// Another deployment.
    Dependency {
        /// Which.
        on: DeploymentId,
        /// In what state it is.
        state: String,
    },
    /// What it takes the place of is taken off first.
    Removal(DeploymentId),
    /// The pause after a failed attempt.
    Retry {
        /// So many were made.
        attempts: u32,
        /// Of so many.
        of: u32,
        /// What came of the last one.
        cause: Box<str>,
    },
    /// The rollout.
    Gate {
        /// Why it is closed.
        cause: GateCause,
        /// Who closed it.
        by: Box<str>,
    },
    /// Its turn: one program runs at a time.
    Turn(Box<RunKey>),
    /// A restart of the machine that an earlier program needs.
    Restart {
        /// Whose.
        of: DeploymentId,
        /// Whether it happens by itself.
        by_itself: bool,
    },
    /// The machine goes down.
    Shutdown,
    /// Its detection rule has not been asked, or could not answer.
    Detection(Option<String>),
    /// Its requirement has not been asked, or could not answer.
    Requirement(Option<String>),
    /// A faster link, or content that is here.
    Link {
        /// Bytes per second, if measured.
        measured: Option<u64>,
        /// Bytes per second.
        least: u64,
    },
    /// A zone this machine does not know.
    Zone(UnknownZone),
    /// Its site was restored from a backup and does not name it since: that is no withdrawal.
    RestoredSite,
}

impl Wait {
    pub(crate) fn on(what: WaitFor) -> Self {
        Self { what, since: None, until: None }
    }

    pub(crate) fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
        self
    }

    pub(crate) fn until(mut self, until: Option<Timestamp>) -> Self {
        self.until = until;
        self
    }
}

impl Standing {
    /// Whether nothing will follow without news.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Due | Self::Running | Self::Waiting(_) | Self::Offered)
    }
}

impl WaitFor {
    /// What makes the wait shorter, to be typed or done.
    pub fn hasten(&self, id: &DeploymentId) -> String {
        match self {
            Self::Start | Self::Occurrence => {
                format!("give `{id}` an earlier start at its site")
            }
            Self::Window { .. } | Self::LongerWindow(_) => {
                format!("let `{id}` ignore windows, or open a longer one")
            }
            Self::User(Some(user)) => format!("`{user}` logs on"),
            Self::User(None) | Self::Logon => "log on".to_owned(),
            Self::NobodyLoggedOn => "log off".to_owned(),
            Self::Sessions => "restart the machine's session service (systemd-logind)".to_owned(),
            Self::Dependency { on, .. } | Self::Removal(on) => {
                format!("see what `{on}` waits for: `packhorse-agent status`")
            }
            Self::Retry { .. } => format!("`packhorse site deployment retry {id}`"),
            Self::Gate { cause, .. } => match cause {
                GateCause::LaterWave => format!("`packhorse site deployment next-wave {id}`"),
                GateCause::Paused | GateCause::Halted | GateCause::Stopped => {
                    format!("`packhorse site deployment resume {id}`")
                }
                GateCause::Disabled => format!("enable the program of `{id}` at its site"),
            },
            Self::Turn(key) => {
                format!("see what `{}` does: `packhorse-agent status`", key.deployment)
            }
            Self::Restart { .. } => "restart the machine".to_owned(),
            Self::Shutdown => "nothing: it goes on after the machine's next start".to_owned(),
            Self::Detection(_) => {
                format!("`packhorse-agent check-in`, or mend the detection rule of `{id}`")
            }
            Self::Requirement(_) => {
                format!("`packhorse-agent check-in`, or mend the requirement of `{id}`")
            }
            Self::Link { .. } => {
                "connect to a faster network, or bring the content by other means".to_owned()
            }
            Self::Zone(_) => "update this machine's time zone data".to_owned(),
            Self::RestoredSite => {
                format!("deploy `{id}` again at its site, or delete it there for good")
            }
        }
    }
}

impl fmt::Display for WaitFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("its start"),
            Self::Occurrence => f.write_str("its next occurrence"),
            Self::Window { name: Some(name) } => write!(f, "the maintenance window `{name}`"),
            Self::Window { name: None } => {
                f.write_str("a maintenance window: none that can be read opens any more")
            }
            Self::LongerWindow(never) => write!(f, "a longer maintenance window: {never}"),
            Self::User(Some(user)) => write!(f, "user `{user}` to log on"),
            Self::User(None) => f.write_str("a user to log on"),
            Self::Logon => f.write_str("a new logon"),
            Self::NobodyLoggedOn => f.write_str("all users to log off"),
            Self::Sessions => f.write_str("the list of who is logged on, which cannot be had"),
            Self::Dependency { on, state } => write!(f, "`{on}`, on which it depends: {state}"),
            Self::Removal(on) => write!(f, "`{on}` to be taken off first"),
            Self::Retry { attempts, of, cause } => {
                write!(f, "the pause after attempt {attempts} of {of}: {cause}")
            }
            Self::Gate { cause, by } => match cause {
                GateCause::LaterWave => write!(f, "its wave of the rollout ({by})"),
                GateCause::Paused => write!(f, "its rollout, paused by {by}"),
                GateCause::Halted => write!(f, "its rollout, which halted by itself: {by}"),
                GateCause::Stopped => write!(f, "{by}, who stopped all starts"),
                GateCause::Disabled => write!(f, "its program, disabled by {by}"),
            },
            Self::Turn(key) => write!(f, "its turn behind `{}`", key.deployment),
            Self::Restart { of, by_itself: true } => write!(f, "the restart `{of}` needs"),
            Self::Restart { of, by_itself: false } => {
                write!(f, "the restart `{of}` needs, which somebody must do")
            }
            Self::Shutdown => f.write_str("the machine to start again: it is going down"),
            Self::Detection(None) => f.write_str("its detection rule to be asked"),
            Self::Detection(Some(why)) => write!(f, "its detection rule, which cannot tell: {why}"),
            Self::Requirement(None) => f.write_str("its requirement to be asked"),
            Self::Requirement(Some(why)) => write!(f, "its requirement, which cannot tell: {why}"),
            Self::Link { measured: Some(measured), least } => {
                write!(f, "a link of {least} bytes/s: {measured} were measured")
            }
            Self::Link { measured: None, least } => {
                write!(f, "a link of {least} bytes/s: none was measured yet")
            }
            Self::Zone(unknown) => write!(f, "a time zone: {unknown}"),
            Self::RestoredSite => {
                f.write_str("its site, which was restored from a backup and does not name it since")
            }
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waits for {}", self.what)?;
        if let Some(since) = self.since {
            write!(f, ", since {since}")?;
        }
        match self.until {
            Some(until) => write!(f, ", until {until}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Due => f.write_str("due"),
            Self::Running => f.write_str("running"),
            Self::Waiting(wait) => wait.fmt(f),
            Self::Done(DoneBy::Run) => f.write_str("done"),
            Self::Done(DoneBy::Detected) => f.write_str("done: it was so already"),
            Self::Offered => f.write_str("offered: runs when somebody asks for it"),
            Self::NotApplicable => f.write_str("not applicable here"),
            Self::Superseded { by } => write!(f, "superseded by `{by}`"),
            Self::Expired { at } => write!(f, "expired at {at}"),
            Self::GaveUp { attempts, cause } => {
                write!(f, "given up after {attempts} attempts: {cause}")
            }
            Self::NeedsDecision(Undecided::HistoryLost) => f.write_str(
                "needs a decision: the history of runs was lost, and no detection rule tells whether it was run",
            ),
            Self::NeedsDecision(Undecided::Interrupted) => f.write_str(
                "needs a decision: it was cut off, and no detection rule tells how far it came",
            ),
            Self::Impossible(Impossible::Cycle(ids)) => {
                write!(f, "impossible: it depends on itself by way of {}", listed(ids))
            }
            Self::Impossible(Impossible::DependsOnUsers(on)) => {
                write!(f, "impossible: it runs for the machine and depends on `{on}`, which runs for users")
            }
            Self::Impossible(Impossible::Unreadable(reason)) => {
                write!(f, "impossible: it cannot be read: {reason}")
            }
            Self::Removed => f.write_str("withdrawn, and taken off"),
            Self::KeptFor { by } => write!(f, "withdrawn, and kept for `{by}`"),
        }
    }
}

fn listed(ids: &[DeploymentId]) -> String {
    let quoted: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
    quoted.join(", ")
}
