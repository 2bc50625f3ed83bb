//! What a client knows of itself when it decides.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use policy::Stamp;
use serde::{Deserialize, Serialize};

use crate::{Deployment, DeploymentId, History, RunKey};

/// An answer that may be missing. Unknown is neither yes nor no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Truth {
    /// So.
    Yes,
    /// Not so.
    No,
    /// Nobody can say, for this reason.
    Unknown(String),
}

/// A user who is logged on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// Who.
    pub user: Box<str>,
    /// Since when.
    pub since: Timestamp,
    /// Whether the agent saw the logon happen; not so of sessions it found when it started.
    pub seen: bool,
}

/// A deployment as a document named it last; kept while anything may follow from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Remembered {
    /// What it was.
    pub deployment: Deployment,
    /// The document that named it first.
    pub first: Stamp,
    /// The document that named it last.
    pub last: Stamp,
}

/// Deployments as documents named them.
pub type Memory = BTreeMap<DeploymentId, Remembered>;

/// What a client knows of itself. Whatever is not known is left out, and is then asked for.
#[derive(Clone, Debug)]
pub struct ClientFacts<'a> {
    /// The wall clock. It may lie: nothing that is done once hangs on it.
    pub now: Timestamp,
    /// Names this start of the machine.
    pub boot: &'a str,
    /// What was run.
    pub history: &'a History,
    /// What earlier documents named.
    pub memory: &'a Memory,
    /// Who is logged on; `None` where it cannot be found out now.
    pub sessions: Option<&'a [Session]>,
    /// What the detection rules say, of deployments for users by user as well.
    pub detected: &'a BTreeMap<(DeploymentId, Option<Box<str>>), Truth>,
    /// What the requirement rules say.
    pub required: &'a BTreeMap<DeploymentId, Truth>,
    /// Available programs a person asked for, and for whom.
    pub requested: &'a BTreeSet<(DeploymentId, Option<Box<str>>)>,
    /// What is running now.
    pub running: Option<&'a RunKey>,
    /// Bytes per second to the nearest distribution point, if measured.
    pub link: Option<u64>,
    /// Deployments whose content is here already.
    pub cached: &'a BTreeSet<DeploymentId>,
    /// Whether the machine is going down.
    pub shutting_down: bool,
    /// Whether the agent can have the machine restart; not where nobody can, or where somebody called it off.
    pub can_restart: bool,
}

/// Takes note of what a document names; called once for each document that takes force.
pub fn remember(memory: &mut Memory, document: &crate::PolicyDocument) {
    for deployment in &document.deployments {
        memory
            .entry(deployment.id.clone())
            .and_modify(|known| {
                known.deployment = deployment.clone();
                known.last = known.last.max(document.stamp);
            })
            .or_insert_with(|| Remembered {
                deployment: deployment.clone(),
                first: document.stamp,
                last: document.stamp,
            });
    }
    // What cannot be read is named all the same.
    for (id, known) in memory.iter_mut() {
        if document.names(id) {
            known.last = known.last.max(document.stamp);
        }
    }
}
