//! Clients of one site over days: documents, rollouts and check-ins are `deployment`'s; time, programs and trouble are
//! simulated.

mod site;

use std::collections::BTreeSet;

use deployment::{ClientId, ClientResult, Pace, PaceEvent, RolloutStatus};

use crate::Dice;
use site::Site;

/// Seconds the wheel of the next check-ins goes around in.
const WHEEL: usize = 8_192;
/// Check-ins are counted over so many seconds.
pub const COUNTED: u32 = 10;
/// A client that ran something says so within so many seconds.
const SAYS_SO: u32 = 120;
/// The bar: in no [`COUNTED`] seconds are more than so many times the mean answered.
pub const STAMPEDE: f64 = 3.0;
/// The bar for attempts, those included that nobody answers while the site is away.
pub const KNOCKING: f64 = 4.0;

/// What is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientsScenario {
    /// How many.
    pub clients: u32,
    /// Seconds between check-ins.
    pub interval: u32,
    /// How long.
    pub days: u32,
    /// Whether the broken package makes its clients silent instead of failing.
    pub silences: bool,
    /// Of the dice.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct ClientsHistory {
    /// What was broken, by the name of the invariant. Empty is good.
    pub broken: Vec<String>,
    /// Check-ins, answered or not.
    pub check_ins: u64,
    /// Clients that ran the broken package.
    pub reached: u32,
    /// Clients in its first wave.
    pub first_wave: u32,
    /// Clients that have the good one.
    pub done: u32,
    /// Answered check-ins in the fullest stretch, against the mean.
    pub peak: f64,
    /// The same of attempts, answered or not: what a site meets that is just coming back.
    pub peak_of_attempts: f64,
    /// Seconds after the outage until every client had been heard of.
    pub recovered: u32,
    /// Why the broken rollout stopped.
    pub halted: String,
}

/// One client.
struct Client {
    id: ClientId,
    pace: Pace,
    /// When it speaks next.
    next: u32,
    /// When it was heard of last.
    heard: u32,
    /// The version of its document.
    seen: u32,
    is_on: bool,
    /// Results it has not told yet.
    told: [Option<ClientResult>; 2],
    /// How often it ran each.
    runs: [u8; 2],
    /// What its site offers to it: needs listening to.
    is_watched: [bool; 2],
}

/// When trouble comes, in seconds.
struct Trouble {
    outage: std::ops::Range<u32>,
    power: std::ops::Range<u32>,
}

struct Clients {
    scenario: ClientsScenario,
    dice: Dice,
    all: Vec<Client>,
    wheel: Vec<Vec<u32>>,
    site: Site,
    trouble: Trouble,
    now: u32,
    answered: u32,
    attempts: u32,
    history: ClientsHistory,
}

/// A week, or less, of all clients of a site. One seed, one history.
pub fn run_clients(scenario: ClientsScenario) -> ClientsHistory {
    let mut world = Clients::new(scenario);
    let end = scenario.days * 86_400;
    while world.now < end {
        world.second();
        world.now += 1;
    }
    world.finish()
}

impl Clients {
    fn new(scenario: ClientsScenario) -> Self {
        let mut dice = Dice::new(scenario.seed);
        let day = scenario.days * 86_400 / 7;
        let at = |part: u32, dice: &mut Dice| {
            part * day + u32::try_from(dice.below(u64::from(day / 2))).unwrap_or(0)
        };
        let outage = at(3, &mut dice);
        let power = at(4, &mut dice);
        let trouble = Trouble { outage: outage..outage + 600, power: power..power + 1_800 };
        let all: Vec<Client> = (0..scenario.clients)
            .map(|_| {
                let id = ClientId(
                    (u128::from(dice.roll()) << 64 | u128::from(dice.roll())).to_be_bytes(),
                );
                Client {
                    id,
                    pace: Pace::new(id, scenario.interval),
                    next: 0,
                    heard: 0,
                    seen: 0,
                    is_on: true,
                    told: [None; 2],
                    runs: [0; 2],
                    is_watched: [false; 2],
                }
            })
            .collect();
        let site = Site::new(all.iter().map(|one| one.id), day, &scenario);
        let mut world = Self {
            scenario,
            dice,
            all,
            wheel: vec![Vec::new(); WHEEL],
            site,
            trouble,
            now: 0,
            answered: 0,
            attempts: 0,
            history: ClientsHistory::default(),
        };
        world.start_all();
        world
    }

    /// All of them start in the same second: power is back.
    fn start_all(&mut self) {
        for at in 0..self.all.len() {
            if self.all[at].is_on {
                self.wait(at, PaceEvent::Started);
            }
        }
    }

    fn second(&mut self) {
        if self.now == self.trouble.power.end {
            self.start_all();
        }
        let is_back = self.trouble.outage.end;
        if self.now >= is_back && self.history.recovered == 0 && self.now.is_multiple_of(10) {
            let heard = |one: &Client| !one.is_on || one.heard >= is_back;
            if self.all.iter().all(heard) {
                self.history.recovered = self.now - is_back;
            }
        }
        self.site.timer(self.now, &self.all);
        let slot = self.now as usize % WHEEL;
        let mut due = std::mem::take(&mut self.wheel[slot]);
        for number in due.drain(..) {
            let at = number as usize;
            match self.all[at].next {
                next if next == self.now => self.check_in(at),
                next if next > self.now && next as usize % WHEEL == slot => {
                    self.wheel[slot].push(number);
                }
                _ => {}
            }
        }
        if self.wheel[slot].is_empty() {
            // Its memory is used again.
            self.wheel[slot] = due;
        }
        if self.now % COUNTED == COUNTED - 1 {
            self.count();
        }
    }

    fn count(&mut self) {
        let mean = f64::from(self.scenario.clients) * f64::from(COUNTED)
            / f64::from(self.scenario.interval);
        let peak = |count: &mut u32| f64::from(std::mem::take(count)) / mean;
        self.history.peak_of_attempts = self.history.peak_of_attempts.max(peak(&mut self.attempts));
        self.history.peak = self.history.peak.max(peak(&mut self.answered));
    }

    fn check_in(&mut self, at: usize) {
        if !self.all[at].is_on || self.trouble.power.contains(&self.now) {
            return;
        }
        self.history.check_ins += 1;
        self.attempts += 1;
        if self.trouble.outage.contains(&self.now) {
            self.wait(at, PaceEvent::Failed);
            return;
        }
        self.answered += 1;
        let ran = self.site.answer(&mut self.all[at], self.now);
        if ran && self.scenario.silences && self.all[at].runs[1] > 0 {
            self.all[at].is_on = false;
            return;
        }
        self.wait(at, PaceEvent::Answered(None));
        if ran {
            // It says how it went soon afterwards.
            let soon = 60 + u32::try_from(self.dice.below(60)).unwrap_or(0);
            self.set(at, self.now + soon.min(SAYS_SO));
        }
    }

    fn wait(&mut self, at: usize, event: PaceEvent) {
        let dice = self.dice.roll();
        let client = &mut self.all[at];
        let (pace, wait) = client.pace.next(event, i64::from(self.now), dice);
        client.pace = pace;
        self.set(at, self.now + wait.max(1));
    }

    fn set(&mut self, at: usize, next: u32) {
        self.all[at].next = next;
        if let Ok(number) = u32::try_from(at) {
            self.wheel[next as usize % WHEEL].push(number);
        }
    }

    fn finish(mut self) -> ClientsHistory {
        let count = |what: &dyn Fn(&&Client) -> bool| {
            u32::try_from(self.all.iter().filter(what).count()).unwrap_or(u32::MAX)
        };
        let reached = count(&|one| one.runs[1] > 0);
        let twice = count(&|one| one.runs[0] > 1);
        let without = count(&|one| one.is_on && one.runs[0] == 0);
        let [good, bad] = self.site.statuses();
        let halted = match bad {
            RolloutStatus::Halted { why, .. } => why.to_string(),
            _ => String::new(),
        };
        let (first, bar) = (self.site.first_wave, self.scenario.interval * 2);
        let (peak, attempts) = (self.history.peak, self.history.peak_of_attempts);
        let recovered = self.history.recovered;
        let checks = [
            (
                "C1",
                reached > 0 && reached <= first,
                format!(
                    "a broken package reached {reached} clients, {first} are in its first wave"
                ),
            ),
            ("C2", twice == 0, format!("{twice} clients ran a program twice")),
            ("C3", without == 0, format!("{without} clients never got the good package")),
            (
                "C4",
                peak <= STAMPEDE && attempts <= KNOCKING,
                format!(
                    "{peak:.2} times the mean were answered at once, {attempts:.2} times attempted"
                ),
            ),
            (
                "C5",
                (1..=bar).contains(&recovered),
                format!("{recovered} s until all were back after the outage"),
            ),
            ("C6", !halted.is_empty(), format!("the broken rollout is {bad:?}")),
            ("C7", *good == RolloutStatus::Running, format!("the good rollout is {good:?}")),
        ];
        let broken = checks.iter().filter(|(_, holds, _)| !holds);
        let history = &mut self.history;
        history.broken.extend(broken.map(|(name, _, text)| format!("{name}: {text}")));
        (history.reached, history.first_wave, history.halted) = (reached, first, halted);
        history.done = u32::try_from(self.all.len()).unwrap_or(u32::MAX) - without;
        self.history
    }
}

/// Who is to be listened to, for the share of others who are silent.
fn silent_others(all: &[Client], now: u32, silence: u32) -> u8 {
    let others: BTreeSet<usize> = (0..all.len()).step_by(all.len() / 500 + 1).collect();
    let others =
        others.into_iter().map(|at| &all[at]).filter(|one| !one.is_watched.contains(&true));
    let (mut silent, mut of) = (0_usize, 0_usize);
    for one in others {
        of += 1;
        silent += usize::from(one.heard + silence <= now);
    }
    u8::try_from(silent * 100 / of.max(1)).unwrap_or(100)
}
