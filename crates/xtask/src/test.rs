//! All that CI runs, cheap first. `.ci/run` calls this and nothing else.

use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::{
    command::{self, command},
    debian, prove, prove_windows, windows, workspace,
};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask test --without-proof")]
pub(crate) struct Args {
    /// Leave out the shortened proof on real software, which needs root and the package registries.
    #[arg(long)]
    without_proof: bool,
}

/// What the tests start besides our own programs.
const NEEDS: [debian::Need; 16] = [
    ("cc", "gcc"),
    ("cpio", "cpio"),
    ("dbus-daemon", "dbus-daemon"),
    ("gdbus", "libglib2.0-bin"),
    ("git", "git"),
    ("ip", "iproute2"),
    ("nginx", "nginx-light"),
    ("openssl", "openssl"),
    ("pg_createcluster", "postgresql"),
    ("pkcon", "packagekit-tools"),
    ("promtool", "prometheus"),
    ("setfacl", "acl"),
    ("setfattr", "attr"),
    ("swupdate", "swupdate"),
    ("tar", "tar"),
    ("zstd", "zstd"),
];

/// What a build from nothing and the proofs need on disk, in bytes (measured: 9 GB), with something to spare.
const ROOM: u64 = 12_000_000_000;

pub(crate) fn run(args: &Args) -> Result<()> {
    say_room()?;
    debian::ensure(&NEEDS)?;
    if !args.without_proof {
        debian::ensure(&prove::NEEDS)?;
        debian::ensure_files(&prove_windows::NEEDS)?;
    }
    stage("format", &["fmt", "--all", "--check"])?;
    stage("tidy", &["xtask", "tidy"])?;
    // Everything after carries it.
    println!("== the program in front of Windows installers");
    windows::stub()?;
    let lints = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    stage("lints", &lints)?;
    if debian::is_on_path("cargo-nextest") {
        stage("tests", &["nextest", "run", "--workspace", "--no-fail-fast"])?;
    } else {
        stage("tests", &["test", "--workspace", "--no-fail-fast", "--quiet"])?;
    }
    stage("examples in the documentation", &["test", "--workspace", "--doc", "--quiet"])?;
    if args.without_proof {
        println!("== the proof was left out");
        return Ok(());
    }
    println!("== shortened proof on real software");
    prove::run(&prove::Args::short()).context("the shortened proof")?;
    prove::store::run(&prove::store::Args::short()).context("the shortened proof of the store")?;
    println!("== shortened proof of sites");
    prove::sites::run(&prove::sites::Args::short()).context("the shortened proof of sites")?;
    println!("== shortened proof of agents");
    prove::agent::run(&prove::agent::Args::short()).context("the shortened proof of agents")?;
    println!("== shortened proof on Windows installers");
    prove_windows::prove(&prove_windows::Args::short()).context("the shortened proof on Windows")
}

/// A full disk shows as failures of whatever happens to write: it is better known before.
fn say_room() -> Result<()> {
    let volume = rustix::fs::statvfs(workspace::root()).context("how much room there is")?;
    let free = volume.f_bavail * volume.f_frsize;
    println!("== {:.1} GB free", free as f64 / 1e9);
    if free < ROOM {
        println!("== a first run needs {:.0} GB: make room if something fails", ROOM as f64 / 1e9);
    }
    Ok(())
}

fn stage(name: &str, words: &[&str]) -> Result<()> {
    println!("== {name}: cargo {}", words.join(" "));
    let begun = Instant::now();
    command::run(command(&workspace::cargo(), words).current_dir(workspace::root()))?;
    println!("== {name}: {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}
