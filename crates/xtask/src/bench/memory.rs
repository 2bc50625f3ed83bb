//! The same memory for a package whatever its size: published, fetched, updated, installed.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use package::{Node, PackageWriter, Record, Settings};
use testkit::Sample;

use super::{
    FOLDER, built,
    store::peers::{self, Took},
};
use crate::{
    command::{self, command},
    workspace,
};

/// Bytes of each file.
const FILE: u64 = 64 << 20;
/// One file in so many differs between the versions: its head is longer, and in its middle a stretch is new.
const CHANGED: u64 = 8;
/// Content is made by blocks: some bytes that never come again, and the same again a few times, for speed.
const BLOCK: usize = 8 << 10;
const FRESH: usize = 1 << 10;
/// Blocks that are new in the newer version of a changed file.
const NEW: std::ops::Range<u64> = 4000..4016;
/// Of MiB.
const PUBLISH: f64 = 1024.0;
const APPLY: f64 = 64.0;
/// What a large package may need more than a small one, as a part and in MiB: lists of frames grow with it.
const SAME: f64 = 1.15;
const MORE: f64 = 8.0;

#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask bench memory --sizes 1 20\n\nDisk: about \
three times the largest size, below target/bench or where PACKHORSE_BENCH_DIR says.")]
pub(crate) struct Args {
    /// Sizes of the packages, in GB, smallest first.
    #[arg(long, num_args = 1.., default_values = ["1", "20"], value_name = "GB")]
    sizes: Vec<u64>,
}

/// What each step took.
struct Steps(Vec<(&'static str, f64, Took)>);

pub(crate) fn run(args: &Args) -> Result<()> {
    let build = ["build", "--quiet", "--release", "--package", "cli"];
    command::run(command(&workspace::cargo(), build).current_dir(workspace::root()))?;
    let folder = std::env::var_os(FOLDER)
        .map_or_else(|| workspace::root().join("target/bench"), PathBuf::from);
    fs::create_dir_all(&folder)?;
    let all: Vec<Steps> = args
        .sizes
        .iter()
        .map(|size| steps(*size, &folder).with_context(|| format!("{size} GB")))
        .collect::<Result<_>>()?;
    tell(args, &all)
}

fn steps(gigabytes: u64, folder: &Path) -> Result<Steps> {
    let run = tempfile::tempdir_in(folder)?;
    let place = |name: &str| run.path().join(name).to_string_lossy().into_owned();
    let (old, new, point) = (place("1.package"), place("2.package"), place("point"));
    write(gigabytes, "1", Path::new(&old))?;
    write(gigabytes, "2", Path::new(&new))?;
    let mut steps = Vec::new();
    let mut step = |name, most, words: &[&str]| -> Result<()> {
        println!("{gigabytes} GB: {name}");
        let mut packhorse = command(&built("packhorse").to_string_lossy(), words);
        let (_, took) = peers::measured(packhorse.env("TMPDIR", run.path()))?;
        steps.push((name, most, took));
        Ok(())
    };
    step("publish", PUBLISH, &["publish", &old, "--to", &point])?;
    step("publish the update", PUBLISH, &["publish", &new, "--to", &point])?;
    fs::remove_file(&new)?;
    let made = place("made");
    let fetch = ["fetch", "large@2", "--from", &point, "-o", &made];
    step("fetch the update to a file", APPLY, &[&fetch[..], &["--have", &old]].concat())?;
    fs::remove_file(&made)?;
    step("fetch it whole to a file", APPLY, &fetch)?;
    fs::remove_file(&made)?;
    fs::remove_file(&old)?;
    let root = place("root");
    fs::create_dir(&root)?;
    let install = |version| ["install", version, "--from", &point, "--root", &root];
    step("install", APPLY, &install("large@1"))?;
    step("install the update", APPLY, &install("large@2"))?;
    Ok(Steps(steps))
}

/// Writes a version of the package.
fn write(gigabytes: u64, version: &str, to: &Path) -> Result<()> {
    let mut sample = Sample::new("large", version);
    let tree = sample.tree("/opt/large");
    let file = BufWriter::new(File::create(to)?);
    let mut writer = PackageWriter::new(file, &[], Settings::fast(2))?;
    for number in 0..gigabytes * 1_000_000_000 / FILE {
        let path = format!("file-{number:05}").into_bytes();
        let is_newer = version == "2" && number % CHANGED == 0;
        let length = FILE + if is_newer { 16 } else { 0 };
        let content = Content { number, is_newer, position: 0, block: Vec::new() };
        let file = writer.content(tree, &path, length, Vec::new(), &mut content.take(length))?;
        let meta = Sample::meta(0o644);
        writer.record(&Record { tree, path, node: Node::File(file), meta })?;
    }
    writer.finish(sample.header)?;
    Ok(())
}

/// A file's bytes, from the first on, without end.
struct Content {
    number: u64,
    is_newer: bool,
    position: u64,
    /// What is left of the block begun.
    block: Vec<u8>,
}

impl Read for Content {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.block.is_empty() {
            let number = self.position;
            self.position += 1;
            let is_new = self.is_newer && NEW.contains(&number);
            self.block = block(self.number << 32 | number << 1 | u64::from(is_new));
            if self.is_newer && number == 0 {
                self.block.extend([b'+'; 16]);
            }
        }
        let taken = out.len().min(self.block.len());
        out[..taken].copy_from_slice(&self.block[..taken]);
        self.block.drain(..taken);
        Ok(taken)
    }
}

fn block(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut fresh = Vec::with_capacity(BLOCK + 16);
    while fresh.len() < FRESH {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        fresh.extend(state.to_le_bytes());
    }
    fresh.repeat(BLOCK / FRESH)
}

fn tell(args: &Args, all: &[Steps]) -> Result<()> {
    let sizes: Vec<String> = args.sizes.iter().map(|size| format!("{size} GB")).collect();
    let mut text = format!(
        "# Memory, measured\n\nThe last output of `cargo xtask bench memory --sizes {}`: the most memory a step had at once, \
         pages of mapped\nfiles included, and its time by the clock. A file in {CHANGED} differs between the versions.\n\n\
         | step | {} | at most | largest of smallest, at most {SAME} or {MORE} MiB more |\n|---|{}---|---|\n",
        args.sizes.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
        sizes.join(" | "),
        "---|".repeat(sizes.len()),
    );
    let mut missed = 0;
    let Some(first) = all.first() else { return Ok(()) };
    for (index, (name, most, smallest)) in first.0.iter().enumerate() {
        let row: Vec<&Took> = all.iter().map(|steps| &steps.0[index].2).collect();
        let peak = row.iter().map(|took| took.peak).fold(0.0, f64::max);
        let ratio = peak / smallest.peak;
        let is_same = ratio <= SAME || peak <= smallest.peak + MORE;
        let is_met = peak <= *most && is_same;
        missed += usize::from(!is_met);
        let cells: Vec<String> =
            row.iter().map(|took| format!("{:.0} MiB, {:.0} s", took.peak, took.wall)).collect();
        let met = if is_met { "" } else { " **missed**" };
        writeln!(text, "| {name} | {} | {most} MiB | {ratio:.2}{met} |", cells.join(" | "))?;
    }
    println!("\n{text}");
    fs::write(workspace::root().join("docs/bench-memory.md"), text)?;
    ensure!(missed == 0, "{missed} bars are missed");
    Ok(())
}
