use crate::{ChangeSet, Rules};

/// Rules for what changed while no installer ran.
pub fn propose(_: &ChangeSet, _: &Rules) -> String {
    String::new()
}
