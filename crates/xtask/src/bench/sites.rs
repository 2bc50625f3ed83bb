//! Sites: how fast a plan is made, whether one dead site is in the way, how many decisions a database takes, what a chain of
//! sites makes of a thin line, what an idle site needs.

mod chain;
mod databases;

use std::{
    collections::VecDeque,
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use model::{Hash, PackageName};
use policy::{
    Cause, Effect, Event, Features, Moment, Now, Observed, Outcome, PointName, Settings, Site,
    SiteCode, Work,
};

use crate::workspace;

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  cargo run --release --package xtask -- bench sites\n\nThe plan is made by this very program: without `--release`, it is slow."
)]
pub(crate) struct Args {
    /// Seconds of decisions on each database.
    #[arg(long, default_value = "10", value_name = "S")]
    seconds: u64,
    /// Megabytes sent down the chain of sites.
    #[arg(long, default_value = "100", value_name = "MB")]
    size: usize,
    /// Only what travels over wires.
    #[arg(long, conflicts_with = "pure")]
    wires: bool,
    /// Only what needs no database, no network and no root.
    #[arg(long)]
    pure: bool,
}

/// One line of the table.
struct Row {
    what: &'static str,
    measured: String,
    bar: &'static str,
    met: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut rows = Vec::new();
    let mut take = |more: Vec<Row>| {
        // Said at once: all of it takes a while.
        for Row { what, measured, .. } in &more {
            println!("{what}: {measured}");
        }
        rows.extend(more);
    };
    // First, so that the most memory there ever was is the plan's.
    if !args.wires {
        take(plan()?);
        take(vec![one_dead()?]);
    }
    if !(args.pure || args.wires) {
        take(databases::decisions(args.seconds)?);
        take(vec![chain::idle()?]);
    }
    if !args.pure {
        take(chain::chain(args.size)?);
        take(vec![chain::update()?]);
    }
    let mut table = "| what | measured | bar | |\n|---|---|---|---|\n".to_owned();
    for Row { what, measured, bar, met } in &rows {
        let word = if *met { "met" } else { "**missed**" };
        writeln!(table, "| {what} | {measured} | {bar} | {word} |")?;
    }
    println!("\n{table}");
    if !(args.pure || args.wires) {
        let text = format!(
            "# Sites, measured\n\nThe last output of `cargo run --release --package xtask -- bench sites --size {}`.\n\n{table}",
            args.size
        );
        fs::write(workspace::root().join("docs/bench-sites.md"), text)?;
    }
    let missed: Vec<&str> = rows.iter().filter(|row| !row.met).map(|row| row.what).collect();
    ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}

/// A site whose clock is ours.
struct Bench {
    site: Site,
    at: u64,
}

impl Bench {
    fn new() -> Result<Self> {
        let site = Site::new(SiteCode::new("TOP")?, None, Settings::default());
        Ok(Self { site, at: 1_000 })
    }

    fn event(&mut self, event: Event) -> Result<Vec<Effect>> {
        let now = Now { at: Moment(self.at), dice: self.at.wrapping_mul(0x9E37_79B9_7F4A_7C15) };
        Ok(self.site.next(now, event)?)
    }

    fn points(&mut self, count: u32) -> Result<()> {
        for point in 0..count {
            let name: Box<str> = format!("p{point}").into();
            self.event(Event::AddPoint { name: name.clone(), features: Features(u64::MAX) })?;
            let point = PointName { site: SiteCode::new("TOP")?, name };
            self.event(Event::Join { group: "all".into(), point })?;
        }
        Ok(())
    }

    fn publish(&mut self, package: u32, content: u32) -> Result<Vec<Effect>> {
        self.event(Event::Publish {
            package: name(package)?,
            manifest: Hash::of(format!("{package} {content}").as_bytes()),
            bytes: 1_000,
            critical: Features::default(),
            optional: Features::default(),
        })
    }

    fn assign(&mut self, package: u32) -> Result<Vec<Effect>> {
        self.event(Event::AssignGroup { package: name(package)?, group: "all".into() })
    }
}

fn name(package: u32) -> Result<PackageName> {
    Ok(PackageName::new(&format!("package-{package}"))?)
}

fn starts(effects: Vec<Effect>) -> impl Iterator<Item = Work> {
    effects.into_iter().filter_map(|effect| match effect {
        Effect::Start(work) => Some(work),
        _ => None,
    })
}

fn peak_megabytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes / 1024)
}

/// 5,000 points that are to hold 1,000 packages, and then one new version.
fn plan() -> Result<Vec<Row>> {
    let (points, packages) = (5_000, 1_000);
    let mut bench = Bench::new()?;
    let began = Instant::now();
    bench.points(points)?;
    for package in 0..packages {
        bench.publish(package, 1)?;
        bench.assign(package)?;
    }
    let took = began.elapsed();
    let memory = peak_megabytes()?;
    ensure!(bench.site.live_jobs() == u64::from(points * packages), "a job for each copy");
    bench.at += 1_000;
    let mut versions = Vec::new();
    for package in 0..21 {
        let began = Instant::now();
        bench.publish(package * 7, 2)?;
        versions.push(began.elapsed());
    }
    ensure!(bench.site.live_jobs() == u64::from(points * packages), "one live job for a copy");
    let version = super::median(versions);
    Ok(vec![
        Row {
            what: "plan for 5,000 points × 1,000 packages, cold",
            measured: format!("{:.1} s, {memory} MB at most", took.as_secs_f64()),
            bar: "< 10 s, < 500 MB",
            met: took < Duration::from_secs(10) && memory < 500,
        },
        Row {
            what: "one new version there, all jobs queued",
            measured: format!("{:.1} ms", version.as_secs_f64() * 1e3),
            bar: "< 100 ms",
            met: version < Duration::from_millis(100),
        },
    ])
}

/// 1,700 sites, 400 updates each, one of them dead: an attempt takes a second, and at the dead one a minute until it is
/// given up. Against the time all the others would take with every slot busy all the time.
fn one_dead() -> Result<Row> {
    let (sites, updates, slots) = (1_700_u32, 400_u32, u64::from(Settings::default().slots));
    let mut bench = Bench::new()?;
    bench.points(sites)?;
    let dead = bench.site.point_id("p77").context("the point is there")?;
    let mut ends: std::collections::BTreeMap<u64, VecDeque<Work>> =
        std::collections::BTreeMap::new();
    let begin =
        |ends: &mut std::collections::BTreeMap<u64, VecDeque<Work>>, at: u64, work: Work| {
            let lasts = if work.place == dead { 60_000 } else { 1_000 };
            ends.entry(at + lasts).or_default().push_back(work);
        };
    for package in 0..updates {
        bench.publish(package, 1)?;
        for work in starts(bench.assign(package)?) {
            begin(&mut ends, bench.at, work);
        }
    }
    let began = bench.at;
    let (mut probes, mut most_live) = (0_u32, 0);
    let others = u64::from(sites - 1) * u64::from(updates);
    let mut done = 0;
    while done < others {
        most_live = most_live.max(bench.site.live_jobs());
        let next = ends.first_key_value().map(|(at, _)| *at);
        let wake = bench.site.next_wake().map(|Moment(at)| at.max(bench.at + 1));
        let at = [next, wake].into_iter().flatten().min().context("nothing will ever happen")?;
        bench.at = at;
        let mut begun = Vec::new();
        if next == Some(at) {
            for work in ends.remove(&at).unwrap_or_default() {
                let outcome = if work.place == dead {
                    probes += 1;
                    Outcome::Failed(Cause::Unreachable)
                } else {
                    done += 1;
                    Outcome::Seen(Observed::Holds(work.version))
                };
                let Work { place, package, fence, .. } = work;
                begun.extend(starts(bench.event(Event::Finished {
                    place,
                    package,
                    fence,
                    outcome,
                })?));
            }
        } else {
            begun.extend(starts(bench.event(Event::Timer)?));
        }
        for work in begun {
            begin(&mut ends, at, work);
        }
    }
    let took = (bench.at - began) as f64 / 1e3;
    let ideal = others as f64 / slots as f64;
    let left = bench.site.live_jobs();
    Ok(Row {
        what: "1,700 sites × 400 updates, one dead (simulated)",
        measured: format!(
            "the others are done in {:.3} of {ideal:.0} s with all slots busy; {left} jobs are left, {most_live} at most; {probes} attempts at the dead one",
            took / ideal
        ),
        bar: "no starvation (≤ 1.05); jobs left = pairs not done (400)",
        met: took <= 1.05 * ideal
            && left == u64::from(updates)
            && most_live <= u64::from(sites * updates),
    })
}
