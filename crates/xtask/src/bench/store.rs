//! Updates and first installs: bytes and processor time beside the tools people use for it, on real software.

pub(crate) mod data;
mod peers;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use self::{data::Pair, peers::Cost};
use crate::{command::command, debian, workspace};

/// Where data is kept between runs, unless it is below `target`.
const FOLDER: &str = "PACKHORSE_BENCH_DIR";

const NEEDS: [debian::Need; 8] = [
    ("casync", "casync"),
    ("zck", "zchunk"),
    ("restic", "restic"),
    ("borg", "borgbackup"),
    ("rsync", "rsync"),
    ("xdelta3", "xdelta3"),
    ("ostree", "ostree"),
    ("zstd", "zstd"),
];

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench store\n  cargo xtask bench store --only ruff\n\n\
Data comes through this machine's own apt, pip and npm, and is kept below target/bench/store, or where \
PACKHORSE_BENCH_DIR says."
)]
pub(crate) struct Args {
    /// One pair: kernel, pyside, polars, ruff, typescript.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Two folders of your own instead, the older first.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with = "only")]
    folders: Option<Vec<PathBuf>>,
    /// Leave the peers out.
    #[arg(long)]
    alone: bool,
}

/// What was measured of one pair.
struct Measured {
    name: String,
    bytes: u64,
    ours: Ours,
    peers: Vec<(&'static str, Cost)>,
}

/// What we need.
struct Ours {
    update: u64,
    requests: u64,
    whole: u64,
    delta_seconds: f64,
    publish_seconds: f64,
    apply_seconds: f64,
}

/// Runs the bench.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.alone {
        debian::ensure(&NEEDS)?;
    }
    let build = ["build", "--quiet", "--release", "--package", "cli"];
    crate::command::run(command(&workspace::cargo(), build).current_dir(workspace::root()))?;
    let folder = match std::env::var_os(FOLDER) {
        Some(folder) => PathBuf::from(folder),
        None => workspace::root().join("target/bench/store"),
    };
    let folder = std::path::absolute(folder)?;
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let pairs = match &args.folders {
        Some(folders) => vec![Pair::of_folders(&folders[0], &folders[1])],
        None => data::pairs(&folder, args.only.as_deref())?,
    };
    ensure!(!pairs.is_empty(), "there is no pair of that name");
    let mut all = Vec::new();
    for pair in pairs {
        println!("{}", pair.name);
        let run = tempfile::tempdir_in(&folder)?;
        let ours = ours(&pair, run.path())?;
        let peers = if args.alone { Vec::new() } else { peers::all(&pair, run.path())? };
        let bytes = data::size(&pair.new)?;
        all.push(Measured { name: pair.name, bytes, ours, peers });
    }
    tell(args, &all)
}

/// Packages both, publishes both, updates from one to the other.
fn ours(pair: &Pair, run: &Path) -> Result<Ours> {
    let program = workspace::root().join("target/release/packhorse");
    let (dp, made) = (run.join("dp"), run.join("made.package"));
    let old = data::package(&program, &pair.old, "1", run)?;
    let new = data::package(&program, &pair.new, "2", run)?;
    let packhorse = |words: &[&Path]| {
        let mut command = command(program.as_os_str().to_str().unwrap_or_default(), words);
        command.arg("--json");
        command
    };
    let word = Path::new;
    peers::timed(&mut packhorse(&[word("publish"), &old, word("--to"), &dp]))?;
    let without = [word("publish"), &new, word("--to"), &dp, word("--no-base")];
    let (_, publish_seconds) = peers::timed(&mut packhorse(&without))?;
    let (_, delta_seconds) = peers::timed(&mut packhorse(&without[..4]))?;
    let fetch = [word("fetch"), word("bench"), word("--from"), &dp, word("-o"), &made];
    let (whole, _) = peers::timed(&mut packhorse(&fetch))?;
    let update = [&fetch[..], &[word("--have"), &old]].concat();
    let (updated, apply_seconds) = peers::timed(&mut packhorse(&update))?;
    let number = |text: &str, field: &str| -> Result<u64> {
        let answer: serde_json::Value = serde_json::from_str(text)?;
        answer[field].as_u64().with_context(|| format!("no `{field}` in {text}"))
    };
    Ok(Ours {
        update: number(&updated, "received-bytes")?,
        requests: number(&updated, "requests")?,
        whole: number(&whole, "received-bytes")?,
        delta_seconds,
        publish_seconds,
        apply_seconds,
    })
}

/// Prints the table and keeps it; fails when a bar is missed.
fn tell(args: &Args, all: &[Measured]) -> Result<()> {
    let mut text = "# Updates and first installs, measured\n\nThe last output of `cargo xtask bench store`. Bytes are \
those received, index and manifest included; seconds are processor time.\n\n| pair | method | update, bytes | \
first install, bytes | seconds to make the update |\n|---|---|---|---|---|\n"
        .to_owned();
    for pair in all {
        let ours = &pair.ours;
        writeln!(
            text,
            "| {} | **packhorse** | **{}** | **{}** | **{:.1}** |",
            pair.name, ours.update, ours.whole, ours.delta_seconds
        )?;
        for (name, cost) in &pair.peers {
            let whole = cost.whole.map_or_else(|| "–".to_owned(), |whole| whole.to_string());
            writeln!(text, "| | {name} | {} | {whole} | {:.1} |", cost.update, cost.seconds)?;
        }
    }
    text += "\n| pair | bytes | publish without deltas, seconds | apply, seconds | apply, MB/s | requests |\n|---|---|---|---|---|---|\n";
    for pair in all {
        let ours = &pair.ours;
        let rate = pair.bytes as f64 / 1e6 / ours.apply_seconds;
        writeln!(
            text,
            "| {} | {} | {:.1} | {:.1} | {rate:.0} | {} |",
            pair.name, pair.bytes, ours.publish_seconds, ours.apply_seconds, ours.requests
        )?;
    }
    let missed = bars(all, &mut text)?;
    println!("{text}");
    if !args.alone && args.only.is_none() && args.folders.is_none() {
        fs::write(workspace::root().join("docs/bench-store.md"), &text)?;
    }
    ensure!(missed == 0, "{missed} bars are missed");
    Ok(())
}

/// Holds the sums against the bars; says how many are missed.
fn bars(all: &[Measured], text: &mut String) -> Result<usize> {
    const CHUNKERS: [&str; 5] = ["casync", "zchunk", "restic", "borg", "rsync -z"];
    let sum = |name: &str| -> Option<u64> {
        all.iter()
            .map(|pair| Some(pair.peers.iter().find(|(peer, _)| *peer == name)?.1.update))
            .sum()
    };
    let update: u64 = all.iter().map(|pair| pair.ours.update).sum();
    let mut rows: Vec<(String, f64, f64)> = Vec::new();
    if let Some(best) = CHUNKERS.iter().filter_map(|name| sum(name)).min() {
        rows.push(("updates, of the best chunk tool".into(), update as f64 / best as f64, 0.48));
    }
    if let Some(xdelta) = sum("xdelta3 -9") {
        rows.push(("updates, of xdelta3 -9".into(), update as f64 / xdelta as f64, 0.75));
    }
    for pair in all {
        let first = pair.peers.iter().filter_map(|(_, cost)| cost.whole).min();
        if let Some(first) = first {
            let ratio = pair.ours.whole as f64 / first as f64;
            rows.push((format!("{}: first install, of the best", pair.name), ratio, 1.0));
        }
        let ostree = pair.peers.iter().find(|(name, _)| *name == "ostree");
        if let Some((_, ostree)) = ostree.filter(|_| pair.name == "kernel") {
            let bytes = pair.ours.update as f64 / ostree.update as f64;
            rows.push(("kernel: update, of ostree's delta".into(), bytes, 1.0));
            let seconds = pair.ours.delta_seconds / ostree.seconds;
            rows.push(("kernel: seconds, of ostree's".into(), seconds, 0.3));
        }
    }
    *text += "\n| what | ratio | at most |\n|---|---|---|\n";
    for (what, ratio, bar) in &rows {
        let mark = if ratio <= bar { "" } else { " **missed**" };
        writeln!(text, "| {what} | {ratio:.2}{mark} | {bar} |")?;
    }
    Ok(rows.iter().filter(|(_, ratio, bar)| ratio > bar).count())
}
