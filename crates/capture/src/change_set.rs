use std::collections::BTreeMap;

use model::{Entry, Kind, MachinePath};
use serde::{Deserialize, Serialize};

/// The difference of two machines, by path in order. A folder comes before what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeSet {
    /// Every path whose entry differs.
    pub changes: BTreeMap<MachinePath, Change>,
    /// Paths the installer touched that ended as they began.
    pub touched: BTreeMap<MachinePath, Touch>,
}

/// What became of one path. `before` and `after` are never equal, and never both `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What was there.
    pub before: Option<Entry>,
    /// What is there now.
    pub after: Option<Entry>,
}

/// How a path was touched without being changed (Q168776).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touch {
    /// Written again with the same content and metadata.
    Rewritten,
    /// Opened for reading.
    Opened,
}

impl Change {
    /// Whether there was nothing before.
    pub fn is_created(&self) -> bool {
        self.before.is_none()
    }

    /// Whether both sides hold the same content, so that only metadata changed.
    pub fn keeps_content(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => same_content(&before.kind, &after.kind),
            _ => false,
        }
    }
}

/// Whether two kinds are known to be the same; content nobody has read never is.
pub(crate) fn same_content(before: &Kind, after: &Kind) -> bool {
    match (before, after) {
        (Kind::File(before), Kind::File(after)) => {
            before == after && (before.hash.is_some() || before.length == 0)
        }
        (before, after) => before == after,
    }
}
