//! Histories of a tree of sites, many of them, or one in words.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use anyhow::{Result, bail};
use simulation::run_seed;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask simulate --seeds 100000\n  cargo xtask simulate --seed 77 --transcript"
)]
pub(crate) struct Args {
    /// How many histories, from seed 0.
    #[arg(long, default_value = "100000", value_name = "N")]
    seeds: u64,
    /// This one only.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Tell all that happened.
    #[arg(long, requires = "seed")]
    transcript: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(seed) = args.seed {
        return one(seed, args.transcript);
    }
    let begun = Instant::now();
    let (next, events) = (AtomicU64::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let broken: Vec<(u64, Vec<String>)> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| some(args.seeds, &next, &events))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
    });
    let done = next.load(Ordering::Relaxed).min(args.seeds);
    let events = events.load(Ordering::Relaxed);
    println!("{done} histories, {events} events, {:.0} s", begun.elapsed().as_secs_f64());
    match broken.first() {
        None => Ok(()),
        Some((seed, broken)) => bail!(
            "seed {seed}: {}\nreplay: cargo xtask simulate --seed {seed} --transcript",
            broken.join("; ")
        ),
    }
}

fn some(seeds: u64, next: &AtomicU64, events: &AtomicU64) -> Option<(u64, Vec<String>)> {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds {
            return None;
        }
        let history = run_seed(seed, false);
        events.fetch_add(history.events, Ordering::Relaxed);
        if !history.broken.is_empty() {
            next.fetch_add(seeds, Ordering::Relaxed);
            return Some((seed, history.broken));
        }
    }
}

fn one(seed: u64, transcript: bool) -> Result<()> {
    let history = run_seed(seed, transcript);
    for line in &history.transcript {
        println!("{line}");
    }
    println!("seed {seed}: {} events, {} attempts", history.events, history.attempts);
    match history.broken.as_slice() {
        [] => Ok(()),
        broken => bail!("seed {seed}: {}", broken.join("\n")),
    }
}
