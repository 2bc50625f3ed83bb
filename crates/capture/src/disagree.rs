//! Two observers of one run must say the same.

use std::{collections::BTreeSet, fmt};

use model::MachinePath;
use serde::{Deserialize, Serialize};

use crate::{Change, ChangeSet, Touch};

/// A path about which two observers disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// Where.
    pub path: MachinePath,
    /// What the first says: nothing, touched, or changed.
    pub first: Option<Seen>,
    /// What the second says.
    pub second: Option<Seen>,
}

/// What an observer says about a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// It was touched and ended as it began.
    Touched,
    /// It differs.
    Changed(Box<Change>),
}

/// Compares what two observers saw. Opening leaves no trace on disk: only what was written counts.
pub fn disagreements(first: &ChangeSet, second: &ChangeSet) -> Vec<Disagreement> {
    let paths: BTreeSet<&MachinePath> = [first, second]
        .into_iter()
        .flat_map(|set| set.changes.keys().chain(set.touched.keys()))
        .collect();
    paths
        .into_iter()
        .map(|path| Disagreement {
            path: path.clone(),
            first: seen(first, path),
            second: seen(second, path),
        })
        .filter(|both| both.first != both.second)
        .collect()
}

fn seen(set: &ChangeSet, path: &MachinePath) -> Option<Seen> {
    let changed = set.changes.get(path).map(|change| Seen::Changed(Box::new(change.clone())));
    let touched = set.touched.get(path) == Some(&Touch::Rewritten);
    changed.or(touched.then_some(Seen::Touched))
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |seen: &Option<Seen>| match seen {
            None => "nothing",
            Some(Seen::Touched) => "touched",
            Some(Seen::Changed(change)) => match (&change.before, &change.after) {
                (None, _) => "created",
                (_, None) => "removed",
                _ => "changed",
            },
        };
        write!(
            f,
            "`{}`: overlay says {}, snapshots say {}",
            self.path,
            word(&self.first),
            word(&self.second)
        )?;
        if let (Some(Seen::Changed(a)), Some(Seen::Changed(b))) = (&self.first, &self.second) {
            write!(f, " ({a:?} ≠ {b:?})")?;
        }
        Ok(())
    }
}
