//! Rules that are asked of this machine.

use std::{collections::BTreeMap, path::Path};

use model::Condition;
use running::Seen;

use crate::platform;

/// What a detection rule answers here. What has no answer is no `no`.
pub(crate) fn ask(root: &Path, rule: Option<&Condition>) -> Seen {
    let Some(rule) = rule else { return Seen::NoRule };
    match answer(root, rule) {
        Ok(true) => Seen::Yes,
        Ok(false) => Seen::No,
        Err(why) => Seen::Unclear(why.into()),
    }
}

/// Whether a condition holds here.
pub(crate) fn answer(root: &Path, condition: &Condition) -> Result<bool, String> {
    let machine = platform::machine::open(root).map_err(|error| error.to_string())?;
    let paths = install::state_paths(&machine).map_err(|error| error.to_string())?;
    let (installed, _) = install::installed(&machine, &paths).map_err(|error| error.to_string())?;
    let facts = platform::machine::facts(&machine);
    install::evaluate(condition, &machine, &facts, &installed, &BTreeMap::new())
        .map_err(|error| error.to_string())
}
