use std::collections::BTreeMap;

use model::{Entry, MachinePath};
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
