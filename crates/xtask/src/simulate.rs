//! Histories of a tree of sites, many of them, or one in words.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use anyhow::{Result, bail};
use simulation::{COUNTED, ClientsScenario, KNOCKING, STAMPEDE, run_clients, run_seed};

#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  cargo xtask simulate --seeds 100000\n  cargo xtask simulate --seed 77 --transcript\n  cargo xtask simulate clients"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    whom: Option<Whom>,
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

#[derive(clap::Subcommand)]
enum Whom {
    /// A week of one site's clients: a broken package, an outage, power coming back to all at once.
    Clients(ClientsArgs),
}

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  cargo xtask simulate clients --clients 20000 --days 2 --seed 3 --silences"
)]
struct ClientsArgs {
    /// How many.
    #[arg(long, default_value = "100000", value_name = "N")]
    clients: u32,
    /// Seconds between check-ins.
    #[arg(long, default_value = "300", value_name = "SECONDS")]
    interval: u32,
    /// How long; trouble comes on the fourth and fifth seventh of it.
    #[arg(long, default_value = "7", value_name = "DAYS")]
    days: u32,
    /// The broken package makes its clients silent instead of failing.
    #[arg(long)]
    silences: bool,
    /// Of the dice.
    #[arg(long, default_value = "1", value_name = "S")]
    seed: u64,
}

fn clients(args: &ClientsArgs) -> Result<()> {
    let begun = Instant::now();
    let history = run_clients(ClientsScenario {
        clients: args.clients,
        interval: args.interval,
        days: args.days,
        silences: args.silences,
        seed: args.seed,
    });
    println!(
        "{} clients, {} days, seed {}: {} check-ins, {:.1} s",
        args.clients,
        args.days,
        args.seed,
        history.check_ins,
        begun.elapsed().as_secs_f64()
    );
    println!(
        "the broken package reached {} clients of {} in its first wave, then halted: {}",
        history.reached, history.first_wave, history.halted
    );
    println!("the good package is on {} clients", history.done);
    println!(
        "fullest {COUNTED} s: {:.2} times the mean answered (at most {STAMPEDE}), {:.2} times attempted (at most {KNOCKING})",
        history.peak, history.peak_of_attempts
    );
    println!("after the outage all clients were back within {} s", history.recovered);
    match history.broken.as_slice() {
        [] => Ok(()),
        broken => bail!("seed {}: {}", args.seed, broken.join("\n")),
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(Whom::Clients(args)) = &args.whom {
        return clients(args);
    }
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
