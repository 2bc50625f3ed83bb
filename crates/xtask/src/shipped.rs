//! The agent's programs as machines get them: as small as they can be made.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{
    command::{self, command, output},
    workspace,
};

const PROFILE: &str = "agent";
/// The linker leaves the tables out by which a stack is walked: a panic ends these programs where it happens.
const SCRIPT: &str = "crates/setup/without-unwinding.ld";

/// The machine these programs are built for: this one.
fn target() -> Result<String> {
    let said = output(command("rustc", ["-vV"]).current_dir(workspace::root()))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what this machine is")?.to_owned())
}

/// The folder the programs are built in.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(workspace::target().join(target()?).join(PROFILE))
}

/// Builds them. Answers the folder.
pub(crate) fn build() -> Result<PathBuf> {
    // With a target of their own, flags are for the programs and not for what builds them.
    let target = target()?;
    let words = ["build", "--locked", "--profile", PROFILE, "--target", &target];
    let mut build = command(&workspace::cargo(), words);
    build.args(["--package", "agent", "--package", "guardian"]);
    let script = workspace::root().join(SCRIPT);
    let flags = [
        "-Cforce-unwind-tables=no",
        "-Clink-arg=-Wl,--no-eh-frame-hdr",
        &format!("-Clink-arg=-Wl,-T,{}", script.display()),
    ];
    build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    command::run(build.current_dir(workspace::root()))?;
    folder()
}
