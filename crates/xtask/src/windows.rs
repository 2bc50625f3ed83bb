//! The Windows programs, built on Linux: with rustup's own Windows target where that is installed, else with Debian's
//! second compiler, which ships the standard library's source.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{command::output, debian, workspace};

const TARGET: &str = "x86_64-pc-windows-gnu";
const PROFILE: &str = "stub";
/// The standard library's source, as Debian ships it.
const LIBRARY: &str = "/usr/lib/rustlib/src/rust/library";

/// Builds the program in front of Windows installers to where `compile` embeds it from.
pub(crate) fn stub() -> anyhow::Result<PathBuf> {
    let built = build(&["--package", "setup"], "setup.exe")?;
    let to = workspace::root().join("target/windows/setup.exe");
    std::fs::copy(&built, &to).with_context(|| format!("copy to `{}`", to.display()))?;
    Ok(to)
}

/// Builds the `packhorse` command for Windows, with the programs it puts in front of installers.
pub(crate) fn packhorse() -> anyhow::Result<PathBuf> {
    stub()?;
    build(&["--package", "cli"], "packhorse.exe")
}

/// Builds the program that walks the registry, for the benchmark; as what is shipped is built.
pub(crate) fn walk() -> anyhow::Result<PathBuf> {
    build(&["--package", "machine-windows", "--example", "walk"], "examples/walk.exe")
}

/// As programs of proofs are built.
const QUICK: &str = "stub-quick";
const AGENT: &str = "packhorse-agent.exe";

/// Builds the agent and its guardian, quickly: for proofs.
pub(crate) fn agent() -> anyhow::Result<PathBuf> {
    build_as(QUICK, &["--package", "agent", "--package", "guardian"], AGENT)
}

/// The guardian, as it was built last with the agent.
pub(crate) fn built_guardian() -> PathBuf {
    built_agent().with_file_name("packhorse-guardian.exe")
}

/// The agent as it was built last.
pub(crate) fn built_agent() -> PathBuf {
    folder().join(TARGET).join(QUICK).join(AGENT)
}

/// Builds the tests of the Windows machine itself; answers the program.
pub(crate) fn units() -> anyhow::Result<PathBuf> {
    let mut cargo = cargo("test", "dev", "std,panic_unwind,test")?;
    cargo.args(["--package", "machine-windows", "--features", "observe", "--lib", "--no-run"]);
    let said = output(cargo.args(["--quiet", "--message-format", "json"]))?;
    let program = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = program.filter(|message| message["target"]["name"] == "machine_windows");
    let mut program = program.filter_map(|message| Some(message["executable"].as_str()?.into()));
    program.next().context("the tests of the Windows machine have no program")
}

/// Builds what cargo's words name for Windows, as it is shipped.
fn build(words: &[&str], file: &str) -> anyhow::Result<PathBuf> {
    build_as(PROFILE, words, file)
}

/// Builds what cargo's words name for Windows; answers the program, which is `file` below the folder of the profile.
fn build_as(profile: &str, words: &[&str], file: &str) -> anyhow::Result<PathBuf> {
    let mut cargo = cargo("build", profile, "std,panic_abort")?;
    ensure!(cargo.args(words).status()?.success(), "`{file}` does not build for Windows");
    Ok(folder().join(TARGET).join(profile).join(file))
}

fn folder() -> PathBuf {
    workspace::root().join("target/windows")
}

/// Cargo, about to build for Windows; where the standard library is to be built too, `parts` of it.
fn cargo(word: &str, profile: &str, parts: &str) -> anyhow::Result<Command> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace::root()).args([word, "--locked"]);
    cargo.args(["--target", TARGET, "--profile", profile]).arg("--target-dir").arg(folder());
    cargo.env("CC_x86_64_pc_windows_gnu", "x86_64-w64-mingw32-gcc");
    // The cryptography's assembler comes ready made: there may be no nasm.
    cargo.env("AWS_LC_SYS_PREBUILT_NASM", "1");
    if !has_rustup_target() {
        debian::ensure_files(&[
            ("/usr/bin/rustc", "rustc-web"),
            (LIBRARY, "rust-web-src"),
            ("/usr/bin/x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64-posix"),
        ])?;
        ensure!(
            Path::new(LIBRARY).exists(),
            "no Windows target: `rustup target add {TARGET}`, or \
             `apt-get install rustc-web rust-web-src gcc-mingw-w64-x86-64-posix`"
        );
        cargo.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
        cargo.arg(format!("-Zbuild-std={parts}"));
    }
    Ok(cargo)
}

fn has_rustup_target() -> bool {
    let listed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).contains(TARGET))
}
