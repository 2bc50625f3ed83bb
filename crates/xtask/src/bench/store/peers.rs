//! What others need for the same update. All are asked for as few bytes as they are commonly asked for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use super::data::{Pair, size};
use crate::{
    command::{captured, command, run_quietly, tail, words},
    workspace,
};

/// What a peer needs.
pub(crate) struct Cost {
    /// Bytes of an update.
    pub(crate) update: u64,
    /// Bytes of a first install, where that is another thing than the update.
    pub(crate) whole: Option<u64>,
    /// Processor seconds to make the newer version available.
    pub(crate) seconds: f64,
    /// The same by the clock on the wall, of those that store a version as one command.
    pub(crate) wall: Option<f64>,
}

/// Asks all of them.
pub(crate) fn all(pair: &Pair, run: &Path) -> Result<Vec<(&'static str, Cost)>> {
    let (old, new) = (tar(&pair.old, &run.join("old.tar"))?, tar(&pair.new, &run.join("new.tar"))?);
    Ok(vec![
        ("casync", casync(&old, &new, run)?),
        ("zchunk", zchunk(&old, &new, run)?),
        ("restic", restic(pair, run)?),
        ("borg", borg(pair, run)?),
        ("bita", bita(&old, &new, run)?),
        ("rsync -z", rsync(pair, run)?),
        ("xdelta3 -9", xdelta3(&old, &new, run)?),
        ("ostree", ostree(pair, run)?),
    ])
}

/// What a command that must succeed printed, and the processor seconds it took.
pub(crate) fn timed(inner: &mut Command) -> Result<(String, f64)> {
    let (told, took) = measured(inner)?;
    Ok((told, took.seconds))
}

/// What a command took.
#[derive(Clone, Copy, Default)]
pub(crate) struct Took {
    /// Of a processor.
    pub(crate) seconds: f64,
    /// By the clock on the wall.
    pub(crate) wall: f64,
    /// The most memory it had at once, pages of files included, in MiB.
    pub(crate) peak: f64,
}

/// What a command that must succeed printed, and what it took.
pub(crate) fn measured(inner: &mut Command) -> Result<(String, Took)> {
    let mut outer = command("/usr/bin/time", ["-q", "-f", "took %U %S %e %M"]);
    outer.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        value.map(|value| outer.env(name, value));
    }
    if let Some(folder) = inner.get_current_dir() {
        outer.current_dir(folder);
    }
    let output = captured(&mut outer)?;
    if !output.status.success() {
        bail!("`{}`: {}\n{}", words(inner), output.status, tail(&output));
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let line = errors.lines().rev().find_map(|line| line.strip_prefix("took "));
    let numbers: Vec<f64> =
        line.context("no times")?.split(' ').filter_map(|part| part.parse().ok()).collect();
    let [user, system, wall, kilobytes] = numbers[..] else { bail!("no times in {errors}") };
    let took = Took { seconds: user + system, wall, peak: kilobytes / 1024.0 };
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), took))
}

/// Fails where two trees differ.
pub(crate) fn same_trees(left: &Path, right: &Path) -> Result<()> {
    run_quietly(command("diff", ["-r", "--no-dereference"]).args([left, right]))
}

/// The same bytes whoever makes it.
fn tar(tree: &Path, file: &Path) -> Result<PathBuf> {
    let options = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
    run_quietly(command("tar", options).arg("-cf").arg(file).arg("-C").arg(tree).arg("."))?;
    Ok(file.to_owned())
}

fn length(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| path.display().to_string())?.len())
}

fn casync(old: &Path, new: &Path, run: &Path) -> Result<Cost> {
    let make = |tar: &Path, name: &str| -> Result<(PathBuf, f64)> {
        let index = run.join(format!("{name}.caibx"));
        let mut command = command("casync", ["make", "--store"]);
        command.arg(run.join("casync")).arg(&index).arg(tar);
        Ok((index, timed(&mut command)?.1))
    };
    make(old, "old")?;
    let before = size(&run.join("casync"))?;
    let began = Instant::now();
    let (index, seconds) = make(new, "new")?;
    let wall = Some(began.elapsed().as_secs_f64());
    let update = size(&run.join("casync"))? - before + length(&index)?;
    fs::remove_dir_all(run.join("casync"))?;
    make(new, "alone")?;
    let whole = size(&run.join("casync"))? + length(&index)?;
    Ok(Cost { update, whole: Some(whole), seconds, wall })
}

fn zchunk(old: &Path, new: &Path, run: &Path) -> Result<Cost> {
    let make = |tar: &Path, name: &str| -> Result<(PathBuf, f64)> {
        let file = run.join(name);
        let mut command = command("zck", ["-o"]);
        command.arg(&file).arg(tar);
        Ok((file, timed(&mut command)?.1))
    };
    let (old, _) = make(old, "old.zck")?;
    let (new, seconds) = make(new, "new.zck")?;
    let (told, _) =
        timed(command("zck_delta_size", [old.as_os_str(), new.as_os_str()]).env("LC_ALL", "C"))?;
    // `Would download X of Y bytes`, and before it the header's own line.
    let update = told
        .lines()
        .find(|line| line.starts_with("Would download"))
        .and_then(|line| line.split(' ').find_map(|word| word.parse::<u64>().ok()))
        .with_context(|| format!("zck_delta_size said {told}"))?;
    Ok(Cost { update, whole: Some(length(&new)?), seconds, wall: None })
}

fn restic(pair: &Pair, run: &Path) -> Result<Cost> {
    let repository = |name: &str| run.join(name);
    let restic = |name: &str, words: &[&str], tree: &Path| {
        let mut command = command("restic", ["--no-cache", "--quiet", "-r"]);
        command.arg(repository(name)).args(words).current_dir(tree).env("RESTIC_PASSWORD", "bench");
        command
    };
    let backup = ["backup", "--compression=auto", "."];
    run_quietly(&mut restic("restic", &["init", "--repository-version=2"], run))?;
    run_quietly(&mut restic("restic", &backup, &pair.old))?;
    let before = size(&repository("restic"))?;
    let began = Instant::now();
    let (_, seconds) = timed(&mut restic("restic", &backup, &pair.new))?;
    let wall = Some(began.elapsed().as_secs_f64());
    let update = size(&repository("restic"))? - before;
    run_quietly(&mut restic("restic-2", &["init", "--repository-version=2"], run))?;
    run_quietly(&mut restic("restic-2", &backup, &pair.new))?;
    Ok(Cost { update, whole: Some(size(&repository("restic-2"))?), seconds, wall })
}

fn borg(pair: &Pair, run: &Path) -> Result<Cost> {
    let borg = |words: &[&str], tree: &Path| {
        let mut command = command("borg", words);
        command.current_dir(tree).env("BORG_BASE_DIR", run.join("borg-base"));
        command
    };
    let create = |name: &str, archive: &str, tree: &Path| {
        let archive = format!("{}::{archive}", run.join(name).display());
        timed(&mut borg(&["create", "--compression", "zstd,3", &archive, "."], tree))
    };
    let init = |name: &str| {
        let path = run.join(name).display().to_string();
        run_quietly(&mut borg(&["init", "--encryption", "none", &path], run))
    };
    init("borg")?;
    create("borg", "old", &pair.old)?;
    let before = size(&run.join("borg"))?;
    let began = Instant::now();
    let (_, seconds) = create("borg", "new", &pair.new)?;
    let wall = Some(began.elapsed().as_secs_f64());
    let update = size(&run.join("borg"))? - before;
    init("borg-2")?;
    create("borg-2", "new", &pair.new)?;
    Ok(Cost { update, whole: Some(size(&run.join("borg-2"))?), seconds, wall })
}

/// From its crate: no distribution has it.
pub(crate) fn ensure_bita() -> Result<()> {
    if !bita_program().is_file() {
        let mut install = command("cargo", ["install", "--quiet", "--locked", "bita", "--root"]);
        run_quietly(install.arg(tools()))?;
    }
    Ok(())
}

fn tools() -> PathBuf {
    workspace::root().join("target/bench/tools")
}

fn bita_program() -> PathBuf {
    tools().join("bin/bita")
}

fn bita(old: &Path, new: &Path, run: &Path) -> Result<Cost> {
    let program = bita_program().to_string_lossy().into_owned();
    let archive = run.join("new.cba");
    let mut compress = command(&program, ["compress", "--input"]);
    let (_, took) = measured(compress.arg(new).arg(&archive))?;
    // What is in the newer and not in the older, then the archive's own head.
    let (told, _) = timed(command(&program, ["diff"]).args([old, new]))?;
    let last = |start: &str| {
        let line = told.lines().rev().find(|line| line.trim_start().starts_with(start));
        let digits = line.and_then(|line| line.rsplit_once('(')?.1.split(' ').next());
        digits.and_then(|digits| digits.parse::<u64>().ok())
    };
    let (lacking, all) = last("Chunks not in other")
        .zip(last("Total size"))
        .with_context(|| format!("bita said {told}"))?;
    let update = lacking + length(&archive)?.saturating_sub(all);
    let whole = Some(length(&archive)?);
    Ok(Cost { update, whole, seconds: took.seconds, wall: Some(took.wall) })
}

fn rsync(pair: &Pair, run: &Path) -> Result<Cost> {
    let copy = run.join("rsync");
    run_quietly(command("cp", ["-a"]).arg(&pair.old).arg(&copy))?;
    let mut rsync =
        command("rsync", ["-a", "-z", "--no-whole-file", "--ignore-times", "--stats", "--delete"]);
    rsync.arg(format!("{}/", pair.new.display())).arg(&copy).env("LC_ALL", "C");
    let (told, seconds) = timed(&mut rsync)?;
    let number = |line: &str| {
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    };
    let both = told.lines().filter(|line| line.starts_with("Total bytes")).filter_map(number);
    Ok(Cost { update: both.sum(), whole: None, seconds, wall: None })
}

fn xdelta3(old: &Path, new: &Path, run: &Path) -> Result<Cost> {
    let file = run.join("xdelta");
    let mut command = command("xdelta3", ["-e", "-9", "-S", "lzma", "-B", "536870912", "-s"]);
    command.arg(old).arg(new).arg(&file);
    let (_, seconds) = timed(&mut command)?;
    Ok(Cost { update: length(&file)?, whole: None, seconds, wall: None })
}

fn ostree(pair: &Pair, run: &Path) -> Result<Cost> {
    let repository = format!("--repo={}", run.join("ostree").display());
    let ostree =
        |words: &[&str]| timed(&mut command("ostree", [&[&repository[..]], words].concat()));
    ostree(&["init", "--mode=archive"])?;
    let commit = |branch: &str, tree: &Path| -> Result<String> {
        let tree = format!("--tree=dir={}", tree.display());
        let words = ["commit", "--branch", branch, "--owner-uid=0", "--owner-gid=0", &tree];
        Ok(ostree(&words)?.0.trim().to_owned())
    };
    let (old, new) = (commit("old", &pair.old)?, commit("new", &pair.new)?);
    let from = format!("--from={old}");
    let to = format!("--to={new}");
    let (_, seconds) = ostree(&["static-delta", "generate", &from, &to])?;
    let mut update = size(&run.join("ostree/deltas"))?;
    // What it leaves to be fetched as whole objects.
    let name = format!("{old}-{new}");
    let (told, _) = ostree(&["static-delta", "show", &name])?;
    let fallback = told
        .lines()
        .filter(|line| line.contains("Total Fallback Size") || line.contains("Total Size"));
    update += fallback
        .filter(|line| line.contains("Fallback"))
        .filter_map(|line| {
            line.split(|c: char| !c.is_ascii_digit()).find_map(|word| word.parse::<u64>().ok())
        })
        .sum::<u64>();
    Ok(Cost { update, whole: None, seconds, wall: None })
}
