//! The content store on real software: published, updated, cut off, damaged, killed; and never a wrong byte.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, bail, ensure};

use crate::{
    bench::store::data::{Pair, package, pairs},
    command::{captured, command, run_quietly, tail},
    workspace,
};

/// Where data is kept between runs, unless it is below `target`.
const FOLDER: &str = "PACKHORSE_BENCH_DIR";

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask prove store\n  cargo xtask prove store --only typescript --kills 10"
)]
pub(crate) struct Args {
    /// One pair: kernel, pyside, polars, ruff, typescript.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// At how many random moments a publish and a collection are killed, and a fetch is.
    #[arg(long, default_value = "50", value_name = "N")]
    kills: u64,
    /// Where the random moments come from.
    #[arg(long, default_value = "1", value_name = "N")]
    seed: u64,
}

/// What is proved on.
struct Stage {
    program: PathBuf,
    run: tempfile::TempDir,
    old: PathBuf,
    new: PathBuf,
    seed: u64,
}

/// Runs the proof.
pub(crate) fn run(args: &Args) -> Result<()> {
    let build = ["build", "--quiet", "--package", "cli"];
    crate::command::run(command(&workspace::cargo(), build).current_dir(workspace::root()))?;
    let folder = match std::env::var_os(FOLDER) {
        Some(folder) => PathBuf::from(folder),
        None => workspace::root().join("target/bench/store"),
    };
    let pairs = pairs(&folder, args.only.as_deref())?;
    ensure!(!pairs.is_empty(), "there is no pair of that name");
    println!("| software | update is the same | cut and gone on | damaged and mended | killed |");
    println!("|---|---|---|---|---|");
    for pair in pairs {
        let mut stage = stage(&pair, &folder, args.seed)?;
        stage.updates()?;
        let cuts = stage.cuts(args.kills)?;
        let mended = stage.repairs()?;
        let kills = stage.kills(args.kills)?;
        println!("| {} | yes | {cuts} | {mended} | {kills} |", pair.name);
    }
    Ok(())
}

fn stage(pair: &Pair, folder: &Path, seed: u64) -> Result<Stage> {
    let program = workspace::root().join("target/debug/packhorse");
    let run = tempfile::tempdir_in(folder)?;
    let old = package(&program, &pair.old, "1", run.path())?;
    let new = package(&program, &pair.new, "2", run.path())?;
    Ok(Stage { program, run, old, new, seed })
}

impl Stage {
    fn packhorse(&self, words: &[&str]) -> Command {
        let mut command = command(&self.program.to_string_lossy(), words);
        command.current_dir(self.run.path());
        command
    }

    /// Must succeed, or have had nothing to do.
    fn must(&self, words: &[&str]) -> Result<()> {
        let output = captured(&mut self.packhorse(words))?;
        match output.status.code() {
            Some(0 | 9) => Ok(()),
            _ => bail!("packhorse {}: {}\n{}", words.join(" "), output.status, tail(&output)),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (self.seed >> 33) % below.max(1)
    }

    fn publish(&self, file: &Path) -> Result<()> {
        self.must(&["publish", &file.to_string_lossy(), "--to", "dp"])
    }

    /// What is fetched holds, entry by entry and byte by byte, what was published.
    fn compare(&self, made: &Path, wanted: &Path) -> Result<()> {
        let roots = ["made", "wanted"].map(|name| self.run.path().join(name));
        for (package, root) in [made, wanted].iter().zip(&roots) {
            fs::create_dir(root)?;
            self.must(&[
                "install",
                &package.to_string_lossy(),
                "--root",
                &root.to_string_lossy(),
                "--silent",
            ])?;
        }
        let [made, wanted] = roots.each_ref().map(|root| root.join("opt"));
        let same = run_quietly(command("diff", ["-r", "--no-dereference"]).args([&made, &wanted]));
        roots.iter().try_for_each(fs::remove_dir_all)?;
        same
    }

    fn updates(&self) -> Result<()> {
        self.publish(&self.old)?;
        self.publish(&self.new)?;
        let base = self.old.to_string_lossy().into_owned();
        self.must(&["fetch", "bench", "--from", "dp", "-o", "updated", "--have", &base])?;
        self.compare(&self.run.path().join("updated"), &self.new)?;
        self.must(&["fetch", "bench@1", "--from", "dp", "-o", "first"])?;
        ensure!(fs::read(self.run.path().join("first"))? == fs::read(&self.old)?, "another first");
        Ok(())
    }

    /// A fetch, killed at random moments until one came through; what it leaves is gone on from.
    fn cuts(&mut self, count: u64) -> Result<u64> {
        let wanted = fs::read(&self.new)?;
        let (mut cut, to) = (0, self.run.path().join("cut"));
        for _ in 0..count {
            let after = Duration::from_micros(self.random(400_000));
            cut += u64::from(self.killed(&["fetch", "bench", "--from", "dp", "-o", "cut"], after)?);
            if to.exists() {
                ensure!(fs::read(&to)? == wanted, "a file with a final name is not the release");
                fs::remove_file(&to)?;
            }
        }
        self.must(&["fetch", "bench", "--from", "dp", "-o", "cut"])?;
        ensure!(fs::read(&to)? == wanted, "what was cut is not the release");
        Ok(cut)
    }

    /// Every object damaged in turn, found, and mended from a healthy point.
    fn repairs(&mut self) -> Result<usize> {
        run_quietly(command("cp", ["-a", "dp", "healthy"]).current_dir(self.run.path()))?;
        let mut objects = Vec::new();
        for kind in ["packs", "deltas", "manifests"] {
            files(&self.run.path().join("dp").join(kind), &mut objects)?;
        }
        for object in &objects {
            let whole = fs::read(object)?;
            let mut bytes = whole.clone();
            let at = usize::try_from(self.random(bytes.len() as u64))?;
            bytes[at] ^= 0x10;
            fs::write(object, bytes)?;
            let found = captured(&mut self.packhorse(&["dp", "verify", "dp"]))?;
            ensure!(found.status.code() == Some(5), "damage in {} went unseen", object.display());
            self.must(&["dp", "repair", "dp", "--from", "healthy"])?;
            ensure!(fs::read(object)? == whole, "{} was not mended", object.display());
        }
        Ok(objects.len())
    }

    /// A publish and a collection, killed at random moments: afterwards all that was published is whole, and the same
    /// command comes through.
    fn kills(&mut self, count: u64) -> Result<u64> {
        let new = self.new.to_string_lossy().into_owned();
        let base = self.old.to_string_lossy().into_owned();
        let mut killed = 0;
        for round in 0..count {
            fs::remove_dir_all(self.run.path().join("dp"))?;
            self.publish(&self.old)?;
            let after = Duration::from_micros(self.random(1_500_000));
            killed += u64::from(self.killed(&["publish", &new, "--to", "dp"], after)?);
            let after = Duration::from_micros(self.random(30_000));
            killed += u64::from(self.killed(&["dp", "collect", "dp", "--grace", "0"], after)?);
            self.must(&["dp", "collect", "dp", "--grace", "0"])?;
            self.must(&["dp", "verify", "dp"])?;
            self.must(&["fetch", "bench@1", "--from", "dp", "-o", "first"])?;
            if round % 10 == 0 {
                self.publish(&self.new)?;
                self.must(&["fetch", "bench", "--from", "dp", "-o", "updated", "--have", &base])?;
                self.must(&["dp", "verify", "dp"])?;
            }
        }
        Ok(killed)
    }

    /// Runs a command that is killed after a while; says whether it was still running.
    fn killed(&self, words: &[&str], after: Duration) -> Result<bool> {
        let seconds = format!("{:.6}", after.as_secs_f64().max(0.000_1));
        let mut timed = command("timeout", ["--signal=KILL", &seconds]);
        timed.arg(&self.program).args(words).current_dir(self.run.path());
        // `timeout` says 137 of what it killed.
        Ok(!matches!(captured(&mut timed)?.status.code(), Some(0..=10)))
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let mut entries: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() { files(&entry, found)? } else { found.push(entry) }
    }
    Ok(())
}
