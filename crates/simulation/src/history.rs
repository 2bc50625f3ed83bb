use model::PackageName;
use policy::{RetryRule, Settings};

use crate::{Clocks, Dice, Faults, World, world::Happening};

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct History {
    /// The seed.
    pub seed: u64,
    /// What was broken; empty is good.
    pub broken: Vec<String>,
    /// Events decided.
    pub events: u64,
    /// Attempts begun.
    pub attempts: u64,
    /// Units of content that crossed the network.
    pub units: u64,
    /// What happened, if asked for.
    pub transcript: Vec<String>,
}

/// Faults and operators last so long, in milliseconds.
const TROUBLED: u64 = 3 * 3_600_000;
/// Then everything has so long to come right.
const CALM: u64 = 12 * 3_600_000;

/// The settings of [`run_seed`]: much happens in little time.
pub fn settings() -> Settings {
    Settings {
        retry: RetryRule { first: 5_000, longest: 600_000, attempts: 1_000 },
        slots: 6,
        ..Settings::default()
    }
}

/// One history from its seed.
pub fn run_seed(seed: u64, with_transcript: bool) -> History {
    run_seed_with(seed, with_transcript, settings())
}

/// One history from its seed, with settings of one's own as far as [`run_seed`]'s are not needed.
pub fn run_seed_with(seed: u64, with_transcript: bool, settings: Settings) -> History {
    run(seed, with_transcript, settings, Clocks::Apart, None)
}

/// The history of [`run_seed`], in a world whose clocks all show the same.
pub fn run_seed_in_step(seed: u64) -> History {
    run(seed, false, settings(), Clocks::Agree, None)
}

/// A history in which each site is of two processes that decide in turns, and read of each other's rows what changed.
pub fn run_seed_of_two(seed: u64, with_transcript: bool) -> History {
    run(seed, with_transcript, settings(), Clocks::Apart, Some(Dice::new(seed.rotate_left(32))))
}

fn run(
    seed: u64,
    with_transcript: bool,
    settings: Settings,
    clocks: Clocks,
    turns: Option<Dice>,
) -> History {
    let mut dice = Dice::new(!seed);
    let faults = Faults {
        loss: dice.below(20),
        twice: dice.below(20),
        slow: dice.below(20),
        zombie: dice.below(10),
    };
    let mut world = World::with_clocks(seed, settings, faults, 0, clocks);
    world.turns = turns;
    if with_transcript {
        world.transcript = Some(Vec::new());
    }
    let sites = 2 + dice.index(5);
    for number in 1..=sites {
        let parent = dice.index(number);
        world.add_site(&format!("S{number}"), Some(parent), settings);
    }
    for site in 0..=sites {
        // At least one in each world: without any there is nothing to do.
        let least = u64::from(site == sites);
        for point in 0..dice.below(4).max(least) {
            world.add_point(site, &format!("d{point}"));
        }
    }
    for number in 0..3 {
        let Ok(package) = PackageName::new(&format!("p{number}")) else { continue };
        let units = world.new_units(&package);
        world.publish(&package, units);
        let points = world.all_points();
        world.event(0, policy::Event::Assign { package, points });
    }
    world.calm_at = TROUBLED;
    world.at(60_000, Happening::Fault);
    world.at(30_000, Happening::Operator);
    world.run_until(TROUBLED);
    if world.checks.broken.is_empty() {
        world.calm_down();
        world.run_until(TROUBLED + CALM);
    }
    if world.checks.broken.is_empty() {
        world.check_beliefs();
        world.check_end();
    }
    History {
        seed,
        broken: world.checks.broken,
        events: world.checks.events,
        attempts: world.checks.attempts,
        units: world.units_sent.values().sum(),
        transcript: world.transcript.unwrap_or_default(),
    }
}

impl World {
    /// The last fault is over: servers run, disks answer and have room.
    pub fn calm_down(&mut self) {
        self.say(|| "calm".to_owned());
        self.calm_at = self.now;
        for site in 0..self.machines.len() {
            if !self.machines[site].up {
                self.at(1, Happening::Restart { site });
            }
            self.machines[site].full_until = 0;
            for disk in self.machines[site].points.values_mut() {
                (disk.dead_until, disk.full_until, disk.in_use_until) = (0, 0, 0);
            }
        }
    }
}
