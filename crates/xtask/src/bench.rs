//! Speed and size, each against a peer or a floor measured in the same run.
//!
//! Contestants take turns, and medians are compared: what else the machine does meanwhile hits both.

pub(crate) mod agent;
mod installers;
pub(crate) mod memory;
mod observers;
pub(crate) mod sites;
pub(crate) mod store;
mod trees;
pub(crate) mod wan;
pub(crate) mod windows;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    command::{self, command, run_quietly},
    debian, workspace,
};

/// Where trees are made, unless it is below `target`.
const FOLDER: &str = "PACKHORSE_BENCH_DIR";

const NEEDS: [debian::Need; 4] =
    [("makeself", "makeself"), ("xz", "xz-utils"), ("zstd", "zstd"), ("tar", "tar")];

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench capture\n  cargo xtask bench capture --files 100000\n\n\
Trees are made below target/bench, or where PACKHORSE_BENCH_DIR says, and removed afterwards."
)]
pub(crate) struct Args {
    /// Files of the large tree; the bars are meant for a million.
    #[arg(long, default_value = "1000000", value_name = "N")]
    files: usize,
    /// Turns each contestant has.
    #[arg(long, default_value = "5", value_name = "N")]
    turns: usize,
    /// Only the rows of observers, or of installers.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Measure in this very program; it was built for speed.
    #[arg(long, hide = true)]
    here: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Observers,
    Installers,
}

/// One line of the table.
pub(crate) struct Row {
    what: String,
    measured: String,
    peer: String,
    ratio: f64,
    bar: f64,
    unit: &'static str,
}

impl Row {
    fn is_met(&self) -> bool {
        self.ratio <= self.bar
    }
}

/// What every row needs.
pub(crate) struct Bench {
    folder: PathBuf,
    files: usize,
    turns: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(debian::is_root(), "overlays and owners: run it as root");
    if !args.here {
        return in_release(args);
    }
    let folder = match std::env::var_os(FOLDER) {
        Some(folder) => PathBuf::from(folder),
        None => workspace::root().join("target/bench"),
    };
    let folder = std::path::absolute(folder)?;
    let bench = Bench { folder: folder.join("run"), files: args.files, turns: args.turns };
    remove(&bench.folder)?;
    fs::create_dir_all(&bench.folder).with_context(|| bench.folder.display().to_string())?;
    let rows = rows(args, &bench);
    remove(&bench.folder)?;
    tell(args, &rows?)
}

/// Builds what is measured as it is shipped, and measures there.
fn in_release(args: &Args) -> Result<()> {
    debian::ensure(&NEEDS)?;
    let build = ["build", "--quiet", "--release", "--package", "cli", "--package", "xtask"];
    command::run(command(&workspace::cargo(), build).current_dir(workspace::root()))?;
    let mut ours = command(&built("xtask").to_string_lossy(), ["bench", "capture", "--here"]);
    ours.arg("--files").arg(args.files.to_string()).arg("--turns").arg(args.turns.to_string());
    match args.only {
        Some(Part::Observers) => drop(ours.args(["--only", "observers"])),
        Some(Part::Installers) => drop(ours.args(["--only", "installers"])),
        None => {}
    }
    command::run(&mut ours)
}

/// A program of the release profile.
fn built(name: &str) -> PathBuf {
    workspace::target().join("release").join(name)
}

fn rows(args: &Args, bench: &Bench) -> Result<Vec<Row>> {
    // Installers first: observers remove a million files, which writers of files feel for minutes.
    let mut rows = Vec::new();
    if args.only != Some(Part::Observers) {
        rows.extend(installers::rows(bench)?);
    }
    if args.only != Some(Part::Installers) {
        rows.extend(observers::rows(bench)?);
    }
    Ok(rows)
}

/// Rows as people read them.
fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| what | measured | against | result | at most | |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.2}{unit} | {:.2}{unit} | {} |",
            row.what,
            row.measured,
            row.peer,
            row.ratio,
            row.bar,
            if row.is_met() { "met" } else { "**missed**" },
            unit = row.unit,
        );
    }
    text
}

fn tell(args: &Args, rows: &[Row]) -> Result<()> {
    let text = table(rows);
    println!("\n{text}");
    if args.only.is_none() && args.files >= 1_000_000 {
        let file = workspace::root().join("docs/bench-capture.md");
        fs::write(&file, document(&text)).with_context(|| file.display().to_string())?;
    }
    match rows.iter().filter(|row| !row.is_met()).count() {
        0 => Ok(()),
        missed => bail!("{missed} bars missed"),
    }
}

fn document(table: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "# Speed and size of capture and installers\n\n\
         Written by `cargo xtask bench capture`. Every figure is a median; contestants took turns on the same \
         machine ({cores} cores) in the same run, so it is the ratios that count.\n\n{table}"
    )
}

/// The middle one.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64().max(1e-9)
}

fn seconds(time: Duration) -> String {
    if time < Duration::from_millis(100) {
        format!("{:.2} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}

fn remove(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    run_quietly(command("rm", ["-rf", "--one-file-system"]).arg(folder))
}
