//! Real programs through the whole journey, each on a fresh root of the distribution.

pub(crate) mod agent;
mod azurite;
mod expected;
pub(crate) mod exports;
mod garage;
mod journey;
mod kill;
mod programs;
mod random;
pub(crate) mod roots;
mod services;
mod simulated;
pub(crate) mod sites;
pub(crate) mod store;
mod tree;

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    command::{self, command},
    debian, workspace,
};
use journey::{Outcome, Settings, travel};
use programs::PROGRAMS;
use roots::Workshop;

/// Programs of the distribution the proof needs.
pub(crate) const NEEDS: [debian::Need; 4] = [
    ("debootstrap", "debootstrap"),
    ("makeself", "makeself"),
    ("systemd-nspawn", "systemd-container"),
    ("unshare", "util-linux"),
];

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask prove capture\n  cargo xtask prove capture --only nginx --kills 200\n\n\
Roots are kept below target/proof, or where PACKHORSE_PROOF_DIR says."
)]
pub(crate) struct Args {
    /// The two cheapest programs and six points each, as CI has it.
    #[arg(long)]
    short: bool,
    /// One program: nginx, makeself-node, redis, jupyterlab, npm-typescript.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// At how many random points install and uninstall are killed [default: 50, short: 6].
    #[arg(long, value_name = "N")]
    kills: Option<usize>,
    /// Where the random points come from.
    #[arg(long, default_value = "1", value_name = "N")]
    seed: u64,
    /// Leave the folders of each journey behind, to be looked at.
    #[arg(long)]
    keep: bool,
}

impl Args {
    /// What CI runs.
    pub(crate) fn short() -> Self {
        Self { short: true, only: None, kills: None, seed: 1, keep: false }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(debian::is_root(), "the proof mounts, changes owners and boots: run it as root");
    debian::ensure(&NEEDS)?;
    let settings = Settings {
        packhorse: build(args.short)?,
        fast: args.short,
        kills: args.kills.unwrap_or(if args.short { 6 } else { 50 }),
        seed: args.seed,
        services: true,
        keep: args.keep,
    };
    let workshop = Workshop::open()?;
    let mut outcomes = Vec::new();
    for program in &PROGRAMS {
        let is_meant = match &args.only {
            Some(name) => name == program.name,
            None => program.is_short || !args.short,
        };
        if is_meant {
            println!("{}: captured, compiled, installed, run, taken off, killed", program.name);
            let outcome = travel(&workshop, program, &settings);
            for failure in &outcome.failures {
                eprintln!("{}: {failure}", program.name);
            }
            outcomes.push(outcome);
        }
    }
    ensure!(!outcomes.is_empty(), "no such program: `--help` names them");
    let mut text = table(&outcomes);
    println!("\n{text}");
    if !args.short && args.only.is_none() {
        text.push_str(&simulated::prove()?);
        let file = workspace::root().join("docs/proof-capture.md");
        fs::write(&file, document(&text)).with_context(|| file.display().to_string())?;
        println!("{text}");
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.failures.is_empty()).count();
    if failed > 0 {
        bail!("{failed} of {} programs: not as it should be", outcomes.len());
    }
    Ok(())
}

/// The `packhorse` to try: quick to build for the short form, as it is shipped for the long one.
fn build(short: bool) -> Result<PathBuf> {
    if short {
        workspace::build_programs()?;
        return Ok(workspace::built("packhorse"));
    }
    let words = ["build", "--quiet", "--release", "--package", "cli"];
    command::run(command(&workspace::cargo(), words).current_dir(workspace::root()))?;
    Ok(workspace::target().join("release/packhorse"))
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| program | changes | left out, listed | installer | capture | install | uninstall | system calls | killed | old / new after it | service | proved |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for one in outcomes {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.1} MB | {:.1} s | {:.1} s | {:.1} s | {} | {} | {} / {} | {} | {} |",
            one.name,
            one.changes,
            one.excluded,
            one.installer_bytes as f64 / 1e6,
            one.capture.as_secs_f64(),
            one.install.as_secs_f64(),
            one.uninstall.as_secs_f64(),
            one.calls,
            one.kills,
            one.back,
            one.kills - one.back,
            one.service.as_deref().unwrap_or("–"),
            if one.failures.is_empty() { "yes" } else { "**no**" },
        );
    }
    text
}

fn document(table: &str) -> String {
    format!(
        "# Proof on real software\n\n\
         Written by `cargo xtask prove capture`. Every program was captured on a fresh root of Debian by overlay \
         and by two snapshots of the same run, with equal results; compiled; installed on a second clean root, \
         whose tree then equalled the reference but for what `capture/report.toml` lists; run there; taken off, \
         whereupon the root equalled the clean one in all that `lstat` tells but access and change times and \
         inode numbers, in extended attributes and in content; and killed at random system calls during install \
         and uninstall, after which `packhorse recover` led to the old tree or to the new one.\n\n{table}"
    )
}
