//! Updates and first installs: bytes and processor time beside the tools people use for it, on real software.

pub(crate) mod data;
pub(super) mod peers;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use self::{
    data::Pair,
    peers::{Cost, Took},
};
use crate::{command::command, debian, workspace};

const NEEDS: [debian::Need; 9] = [
    ("/usr/bin/time", "time"),
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
    /// The pairs nothing was tuned on: scipy, duckdb, nodejs, next.
    #[arg(long)]
    judged: bool,
    /// Two folders of your own instead, the older first.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with_all = ["only", "judged"])]
    folders: Option<Vec<PathBuf>>,
    /// Leave the peers out.
    #[arg(long)]
    alone: bool,
}

/// What was measured of one pair.
struct Measured {
    name: String,
    bytes: u64,
    changed: u64,
    ours: Ours,
    peers: Vec<(&'static str, Cost)>,
}

/// What we need.
struct Ours {
    update: u64,
    requests: u64,
    whole: u64,
    /// Making the package of the newer folder.
    compile: Took,
    /// Publishing it with no delta, and with one.
    publish: Took,
    delta: Took,
    /// Bytes of the update made in half the time, and what that took.
    hurried: (u64, Took),
    /// The update from what is at hand: a package file, and straight onto a machine.
    fetch: Took,
    install: Took,
    /// Bytes of an update over frames, no delta being there.
    frames: u64,
}

/// Runs the bench.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.alone {
        debian::ensure(&NEEDS)?;
        peers::ensure_bita()?;
    }
    let build = ["build", "--quiet", "--release", "--package", "cli"];
    crate::command::run(command(&workspace::cargo(), build).current_dir(workspace::root()))?;
    let folder = data::folder()?;
    let pairs = match &args.folders {
        Some(folders) => vec![Pair::of_folders(&folders[0], &folders[1])],
        None => data::pairs(&folder, args.judged, args.only.as_deref())?,
    };
    ensure!(!pairs.is_empty(), "there is no pair of that name");
    let mut all = Vec::new();
    for pair in pairs {
        println!("{}", pair.name);
        let run = tempfile::tempdir_in(&folder)?;
        let ours = ours(&pair, run.path())?;
        let peers = if args.alone { Vec::new() } else { peers::all(&pair, run.path())? };
        let (bytes, changed) = (data::size(&pair.new)?, data::changed(&pair)?);
        all.push(Measured { name: pair.name, bytes, changed, ours, peers });
    }
    tell(args, &all)
}

/// Packages both, publishes both, updates from one to the other.
fn ours(pair: &Pair, run: &Path) -> Result<Ours> {
    let program = workspace::root().join("target/release/packhorse");
    let place = |name: &str| run.join(name).to_string_lossy().into_owned();
    let (old, _) = data::package(&program, &pair.old, "1", run)?;
    let (new, compile) = data::package(&program, &pair.new, "2", run)?;
    let packhorse = |words: &[&str]| {
        let mut command = command(program.as_os_str().to_str().unwrap_or_default(), words);
        peers::measured(command.arg("--json"))
    };
    let (old, new) = (old.to_string_lossy().into_owned(), new.to_string_lossy().into_owned());
    let number = |text: &str, field: &str| -> Result<u64> {
        let answer: serde_json::Value = serde_json::from_str(text)?;
        answer[field].as_u64().with_context(|| format!("no `{field}` in {text}"))
    };
    let (dp, plain, hurried) = (place("dp"), place("plain"), place("hurried"));
    for point in [&dp, &plain, &hurried] {
        packhorse(&["publish", &old, "--to", point])?;
    }
    let (_, publish) = packhorse(&["publish", &new, "--to", &plain, "--no-base"])?;
    let (_, delta) = packhorse(&["publish", &new, "--to", &dp])?;
    // What it takes to publish at all is not what the budget is for.
    let budget = (delta.wall / 2.0 - publish.wall).floor().max(1.0);
    let words = ["publish", &new, "--to", &hurried, "--budget", &budget.to_string()];
    let (_, hurry) = packhorse(&words)?;
    let made = place("made.package");
    let fetch = |point: &str, have: &[&str]| {
        packhorse(&[&["fetch", "bench", "--from", point, "-o", &made], have].concat())
    };
    let (frames, _) = fetch(&plain, &["--have", &old])?;
    let (quick, _) = fetch(&hurried, &["--have", &old])?;
    let (whole, _) = fetch(&dp, &[])?;
    let (updated, fetched) = fetch(&dp, &["--have", &old])?;
    // Onto a machine that has the older one: fetched, applied, installed.
    let root = place("root");
    fs::create_dir_all(&root)?;
    packhorse(&["install", "bench@1", "--from", &dp, "--root", &root])?;
    let (_, install) = packhorse(&["install", "bench@2", "--from", &dp, "--root", &root])?;
    peers::same_trees(&pair.new, &Path::new(&root).join("opt/bench"))?;
    fs::remove_dir_all(&root)?;
    Ok(Ours {
        update: number(&updated, "received-bytes")?,
        requests: number(&updated, "requests")?,
        whole: number(&whole, "received-bytes")?,
        compile,
        publish,
        delta,
        hurried: (number(&quick, "received-bytes")?, hurry),
        fetch: fetched,
        install,
        frames: number(&frames, "received-bytes")?,
    })
}

/// Prints the table and keeps it; fails when a bar is missed.
fn tell(args: &Args, all: &[Measured]) -> Result<()> {
    let (of, how) =
        if args.judged { (" on software nothing was tuned on", " --judged") } else { ("", "") };
    let mut text = format!(
        "# Updates and first installs{of}, measured\n\nThe last output of `cargo xtask bench store{how}`. Bytes are \
those received, index and manifest included; seconds are processor time.\n\n| pair | method | update, bytes | \
first install, bytes | seconds to make the update |\n|---|---|---|---|---|\n"
    );
    for pair in all {
        let ours = &pair.ours;
        writeln!(
            text,
            "| {} | **packhorse** | **{}** | **{}** | **{:.1}** |",
            pair.name, ours.update, ours.whole, ours.delta.seconds
        )?;
        for (name, cost) in &pair.peers {
            let whole = cost.whole.map_or_else(|| "–".to_owned(), |whole| whole.to_string());
            writeln!(text, "| | {name} | {} | {whole} | {:.1} |", cost.update, cost.seconds)?;
        }
    }
    text += "\nProcessor seconds and peak memory (pages of files included) of each step; to make the package, to publish it \
without and with the update, to make the file of the newer version from that of the older and the update, to install the update \
over the older version.\n\n| pair | MB | of them changed | update without a delta, bytes | package | publish | publish with update | \
fetch | install | requests |\n|---|---|---|---|---|---|---|---|---|---|\n";
    for pair in all {
        let ours = &pair.ours;
        let took = |took: &Took| format!("{:.1} s, {:.0} MiB", took.seconds, took.peak);
        writeln!(
            text,
            "| {} | {:.1} | {:.1} | {} | {} | {} | {} | {} | {} | {} |",
            pair.name,
            pair.bytes as f64 / 1e6,
            pair.changed as f64 / 1e6,
            ours.frames,
            took(&ours.compile),
            took(&ours.publish),
            took(&ours.delta),
            took(&ours.fetch),
            took(&ours.install),
            ours.requests
        )?;
    }
    let missed = bars(all, &mut text)?;
    println!("{text}");
    if !args.alone && args.only.is_none() && args.folders.is_none() {
        let name = if args.judged { "docs/bench-store-judged.md" } else { "docs/bench-store.md" };
        fs::write(workspace::root().join(name), &text)?;
    }
    ensure!(missed == 0, "{missed} bars are missed");
    Ok(())
}

/// Holds the sums against the bars; says how many are missed.
fn bars(all: &[Measured], text: &mut String) -> Result<usize> {
    const CHUNKERS: [&str; 6] = ["casync", "zchunk", "bita", "restic", "borg", "rsync -z"];
    let sum = |name: &str| -> Option<u64> {
        all.iter()
            .map(|pair| Some(pair.peers.iter().find(|(peer, _)| *peer == name)?.1.update))
            .sum()
    };
    let seconds = |name: &str| -> Option<f64> {
        all.iter()
            .map(|pair| Some(pair.peers.iter().find(|(peer, _)| *peer == name)?.1.seconds))
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
    if let Some(ostree) = seconds("ostree") {
        let ours: f64 = all.iter().map(|pair| pair.ours.delta.seconds).sum();
        rows.push(("processor time of the updates, of ostree's".into(), ours / ostree, 0.3));
    }
    for pair in all {
        rows.extend(bars_of(pair));
    }
    *text += "\n| what | ratio | at most |\n|---|---|---|\n";
    for (what, ratio, bar) in &rows {
        let mark = if ratio <= bar { "" } else { " **missed**" };
        writeln!(text, "| {what} | {ratio:.2}{mark} | {bar} |")?;
    }
    Ok(rows.iter().filter(|(_, ratio, bar)| ratio > bar).count())
}

/// The bars of one pair: what, ratio, at most.
fn bars_of(pair: &Measured) -> Vec<(String, f64, f64)> {
    let ours = &pair.ours;
    let mut rows = Vec::new();
    let mut row = |what: &str, ratio: f64, bar: f64| {
        rows.push((format!("{}: {what}", pair.name), ratio, bar));
    };
    let wholes = pair.peers.iter().filter_map(|(_, cost)| Some((cost.whole?, cost.seconds)));
    if let Some((first, seconds)) = wholes.min_by_key(|(whole, _)| *whole) {
        row("first install, of the best", ours.whole as f64 / first as f64, 1.0);
        row("publish, processor time of the same tool", ours.publish.seconds / seconds, 1.0);
    }
    let wall = pair.peers.iter().filter_map(|(_, cost)| cost.wall).min_by(f64::total_cmp);
    if let Some(wall) = wall {
        row("publish without deltas, wall, of the fastest", ours.publish.wall / wall, 0.5);
    }
    let allowed = 5.0 + ours.update as f64 / f64::from(4 << 20);
    row("requests, of those allowed", ours.requests as f64 / allowed, 1.0);
    let ostree = pair.peers.iter().find(|(name, _)| *name == "ostree" && pair.name == "kernel");
    if let Some((_, ostree)) = ostree {
        row("update, of ostree's delta", ours.update as f64 / ostree.update as f64, 1.0);
    }
    // What takes less is not a matter of rate.
    if ours.delta.seconds >= 2.0 {
        let rate = pair.changed as f64 / 1e6 / ours.delta.seconds;
        row("10 MB/s of changed input per core, of what it did", 10.0 / rate, 1.0);
    }
    if ours.delta.wall >= 4.0 {
        let (bytes, took) = ours.hurried;
        row("half the time: time, of the whole", took.wall / ours.delta.wall, 0.5);
        row("half the time: bytes, of the whole", bytes as f64 / ours.update as f64, 1.15);
    }
    let rate = |took: &Took| pair.bytes as f64 / 1e6 / took.seconds;
    row("150 MB/s of output per core, of what an install did", 150.0 / rate(&ours.install), 1.0);
    row("peak of a publish, of 1 GiB", ours.delta.peak / 1024.0, 1.0);
    row("peak of a fetch, of 64 MiB", ours.fetch.peak / 64.0, 1.0);
    row("peak of an install, of 64 MiB", ours.install.peak / 64.0, 1.0);
    rows
}
