//! The agent's programs as machines get them: as small as they can be made.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    command::{self, command},
    workspace,
};

const PROFILE: &str = "agent";

/// The folder the programs are built in.
pub(crate) fn folder() -> PathBuf {
    workspace::target().join(PROFILE)
}

/// Builds them. Answers the folder.
pub(crate) fn build() -> Result<PathBuf> {
    let words = ["build", "--locked", "--profile", PROFILE];
    let mut build = command(&workspace::cargo(), words);
    build.args(["--package", "agent", "--package", "guardian"]);
    command::run(build.current_dir(workspace::root()))?;
    Ok(folder())
}
