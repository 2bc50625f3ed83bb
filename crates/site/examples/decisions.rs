//! Job decisions per second, durable each: eight threads end attempts, and each end begins the next attempt. An end counts
//! as one, the beginning with it.
//!
//! `decisions FOLDER SECONDS [URL]` prints how many there were, in how many seconds, and how many that is per second. With a URL, then, what
//! a second process costs: milliseconds to read everything, and for one decision after each of the other's.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{
    collections::VecDeque,
    error::Error,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use model::{Hash, PackageName};
use policy::{Effect, Event, Features, Observed, Outcome, PointName, Settings, SiteCode, Work};
use site::{Decider, Desk, Postgres, SiteError, Sqlite, Storage};

const THREADS: usize = 8;
const POINTS: u32 = 100;
const PACKAGES: u32 = 2_000;
/// Decisions of two processes, one after the other.
const TURNS: u32 = 200;

/// Attempts under way.
type Line = Mutex<VecDeque<Work>>;

fn storage(folder: &str, url: Option<&String>) -> Result<Box<dyn Storage>, Box<dyn Error>> {
    let path = Path::new(folder).join("site.db");
    Ok(match url {
        Some(url) => Box::new(Postgres::open(url)?),
        None => Box::new(Sqlite::open(&path)?),
    })
}

/// Every package is to be at every point.
fn plan(desk: &mut Desk) -> Result<VecDeque<Work>, Box<dyn Error>> {
    let site = SiteCode::new("TOP")?;
    let mut events = Vec::new();
    for point in 0..POINTS {
        let name: Box<str> = format!("p{point}").into();
        events.push(Event::AddPoint { name: name.clone(), features: Features(u64::MAX) });
        let point = PointName { site: site.clone(), name };
        events.push(Event::Join { group: "all".into(), point });
    }
    for package in 0..PACKAGES {
        let name = PackageName::new(&format!("package-{package}"))?;
        let manifest = Hash::of(&package.to_be_bytes());
        let (critical, optional) = (Features::default(), Features::default());
        events.push(Event::Publish {
            package: name.clone(),
            manifest,
            bytes: 1,
            critical,
            optional,
        });
        events.push(Event::AssignGroup { package: name, group: "all".into() });
    }
    let events = events.into_iter().map(|event| (event, Vec::new())).collect();
    let decided = desk.events(events)?.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(starts(decided.into_iter().flatten()).collect())
}

fn starts(effects: impl IntoIterator<Item = Effect>) -> impl Iterator<Item = Work> {
    effects.into_iter().filter_map(|effect| match effect {
        Effect::Start(work) => Some(work),
        _ => None,
    })
}

/// Ends attempts until the time is over.
fn work(
    decider: &Decider,
    line: &Line,
    until: Instant,
    count: &AtomicU64,
) -> Result<(), SiteError> {
    let locked = || line.lock().unwrap_or_else(PoisonError::into_inner);
    while Instant::now() < until {
        let Some(work) = locked().pop_front() else {
            std::thread::yield_now();
            continue;
        };
        let Work { place, package, fence, version, .. } = work;
        let outcome = Outcome::Seen(Observed::Holds(version));
        let event = Event::Finished { place, package, fence, outcome };
        let next = decider.decide(event, Vec::new(), |_, decided| decided)?;
        count.fetch_add(1, Ordering::Relaxed);
        locked().extend(starts(next));
    }
    Ok(())
}

/// Two processes end attempts in turns: each has to know what the other did.
fn in_turns(
    one: &Decider,
    mut other: Desk,
    line: &mut VecDeque<Work>,
) -> Result<Duration, Box<dyn Error>> {
    let began = Instant::now();
    for turn in 0..TURNS {
        let Work { place, package, fence, version, .. } = line.pop_front().ok_or("nothing runs")?;
        let outcome = Outcome::Seen(Observed::Holds(version));
        let event = Event::Finished { place, package, fence, outcome };
        let effects = if turn % 2 == 0 { other.event(event)? } else { one.desk().event(event)? };
        line.extend(starts(effects));
    }
    let took = began.elapsed() / TURNS;
    other.event(Event::Timer)?;
    let mut one = one.desk();
    one.event(Event::Timer)?;
    if one.site().live_jobs() != other.site().live_jobs() {
        return Err("the two do not agree".into());
    }
    Ok(took)
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, seconds, rest @ ..] = words.as_slice() else {
        return Err("usage: decisions FOLDER SECONDS [URL]".into());
    };
    std::fs::create_dir_all(folder)?;
    Desk::found(&mut *storage(folder, rest.first())?, SiteCode::new("TOP")?)?;
    let mut desk = Desk::open(storage(folder, rest.first())?, Settings::default())?;
    let line = Mutex::new(plan(&mut desk)?);
    let before = desk.site().live_jobs();
    let decider = Decider::new(desk);
    let count = AtomicU64::new(0);
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds.parse()?);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| work(&decider, &line, until, &count))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Result<(), _>>()
    })?;
    let (count, took) = (count.into_inner(), began.elapsed().as_secs_f64());
    let left = decider.desk().site().live_jobs();
    if before - left != count {
        return Err(format!("{count} attempts ended and {} jobs", before - left).into());
    }
    println!("{count} {took:.3} {:.0}", count as f64 / took);
    if rest.is_empty() {
        return Ok(());
    }
    let began = Instant::now();
    let other = Desk::open(storage(folder, rest.first())?, Settings::default())?;
    let whole = began.elapsed();
    let mut line = line.into_inner().unwrap_or_else(PoisonError::into_inner);
    let turn = in_turns(&decider, other, &mut line)?;
    println!("{:.3} {:.3}", whole.as_secs_f64() * 1e3, turn.as_secs_f64() * 1e3);
    Ok(())
}
