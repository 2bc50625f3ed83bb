//! The agent's programs as machines get them: as small as they can be made.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    command::{self, command},
    workspace,
};

/// What profiles cannot say. Nobody unwinds where a panic aborts; what is compiled twice to the same is there once.
const FLAGS: &str = "-C force-unwind-tables=no -C link-arg=-Wl,--icf=all";
const PROGRAMS: [&str; 2] = ["packhorse-agent", "packhorse-guardian"];

/// The folder the programs are put in.
pub(crate) fn folder() -> PathBuf {
    workspace::target().join("shipped")
}

/// Builds them. Answers the folder.
pub(crate) fn build() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let words = ["build", "--locked", "--profile", "agent", "--target", &target];
    // With a target of its own, what runs while compiling is compiled as ever.
    let mut build = command(&workspace::cargo(), words);
    build.args(["--package", "agent", "--package", "guardian"]).env("RUSTFLAGS", FLAGS);
    command::run(build.current_dir(workspace::root()))?;
    let (from, to) = (workspace::target().join(target).join("agent"), folder());
    fs::create_dir_all(&to)?;
    for program in PROGRAMS {
        let (from, to) = (from.join(program), to.join(program));
        fs::copy(&from, &to).with_context(|| format!("copy to `{}`", to.display()))?;
    }
    Ok(to)
}
