//! Time, the network, and effects carried out. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};

use model::{Hash, PackageName};
use policy::{
    Address, Effect, Event, Exchange, Feed, Fence, Moment, Now, PlaceId, Schedule, Settings, Site,
    SiteCode, VersionNumber, Work,
};

use crate::{Dice, Machine, Units, check::Checks};

/// What can go wrong, in percent, while faults last.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Messages that never arrive.
    pub loss: u64,
    /// Messages that arrive twice.
    pub twice: u64,
    /// Messages that take up to a minute.
    pub slow: u64,
    /// Workers that stall longer than their lease, and then go on.
    pub zombie: u64,
}

impl Faults {
    /// A world without faults.
    pub const NONE: Self = Self { loss: 0, twice: 0, slow: 0, zombie: 0 };
}

/// How the clocks of sites are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clocks {
    /// All show the same.
    Agree,
    /// Years lie between them, and wall clocks jump.
    Apart,
}

/// What travels between sites.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Wake,
    Exchange(Exchange),
    Feed(Feed),
    Want { package: PackageName, version: VersionNumber, unit: usize, question: u64 },
    Unit { package: PackageName, version: VersionNumber, unit: usize, content: u64 },
    Later { package: PackageName, version: VersionNumber, milliseconds: u64, question: u64 },
    Gone { package: PackageName, version: VersionNumber },
}

/// What happens at a moment.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Arrives {
        from: usize,
        to: usize,
        message: Message,
    },
    Timer {
        site: usize,
        life: u32,
    },
    Poll {
        site: usize,
        life: u32,
    },
    /// A worker at a point has staged everything.
    Staged {
        site: usize,
        life: u32,
        work: Work,
        zombie: bool,
    },
    /// A worker at a point tells what it sees.
    Tells {
        site: usize,
        life: u32,
        work: Work,
        zombie: bool,
    },
    /// A worker that receives asks for the next unit.
    Wants {
        site: usize,
        life: u32,
        work: Work,
    },
    /// A worker that receives has heard nothing for too long.
    Silence {
        site: usize,
        life: u32,
        work: Work,
        have: usize,
    },
    /// Somebody hashes what is there.
    Scrub {
        site: usize,
        life: u32,
    },
    Fault,
    Operator,
    Restart {
        site: usize,
    },
}

/// A tree of sites.
#[derive(Clone, Debug)]
pub struct World {
    /// The seed it came from.
    pub seed: u64,
    /// Milliseconds since the beginning.
    pub now: u64,
    /// Sites; the first is the central one.
    pub machines: Vec<Machine>,
    /// All content there ever was, by manifest.
    pub contents: BTreeMap<Hash, Units>,
    /// What is watched all the time.
    pub checks: Checks,
    /// What happened, in words; kept when asked for.
    pub transcript: Option<Vec<String>>,
    /// Units that crossed the network, by receiving site.
    pub units_sent: BTreeMap<usize, u64>,
    pub(crate) clocks: Clocks,
    pub(crate) faults: Faults,
    pub(crate) dice: Dice,
    /// Whether sites are of two processes each, that decide in turns.
    pub(crate) turns: Option<Dice>,
    pub(crate) calm_at: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    count: u64,
    /// More happenings than this are a loop.
    pub busy: u64,
}

/// Silence on a line that means the other side is not there, in milliseconds.
const SILENCE: u64 = 20_000;
/// A child asks again after so many milliseconds without news.
const POLL: u64 = 60_000;
/// Bytes of one unit.
pub const UNIT: u64 = 1_000_000;

impl World {
    /// A world with one central site and no faults.
    pub fn new(seed: u64, settings: Settings, faults: Faults, calm_at: u64) -> Self {
        Self::with_clocks(seed, settings, faults, calm_at, Clocks::Apart)
    }

    /// The same, with clocks that agree or do not.
    pub fn with_clocks(
        seed: u64,
        settings: Settings,
        faults: Faults,
        calm_at: u64,
        clocks: Clocks,
    ) -> Self {
        let mut world = Self {
            clocks,
            seed,
            now: 0,
            machines: Vec::new(),
            contents: BTreeMap::new(),
            checks: Checks::default(),
            transcript: None,
            units_sent: BTreeMap::new(),
            faults,
            dice: Dice::new(seed),
            turns: None,
            calm_at,
            queue: BTreeMap::new(),
            count: 0,
            busy: 300_000,
        };
        world.add_site("TOP", None, settings);
        world
    }

    /// One more site. Every site above learns the way to it.
    pub fn add_site(&mut self, code: &str, parent: Option<usize>, settings: Settings) -> usize {
        let index = self.machines.len();
        let Ok(code) = SiteCode::new(code) else { return 0 };
        let above = parent.map(|parent| self.machines[parent].site.code().clone());
        let mut machine = Machine::new(Site::new(code.clone(), above, settings), parent);
        let (steady, wall) = (self.dice.below(1_000_000_000), self.lie());
        if self.clocks == Clocks::Apart {
            (machine.steady, machine.wall) = (steady, wall);
        }
        self.machines.push(machine);
        let (mut below, mut up) = (code.clone(), parent);
        if let Some(parent) = parent {
            self.machines[parent].children.push(index);
            let event = Event::AddChild { code: code.clone(), reach: policy::Reach::Pull };
            self.event(parent, event);
            self.connect(parent, &code);
            below = self.machines[parent].site.code().clone();
            up = self.machines[parent].parent;
            self.at(POLL, Happening::Poll { site: index, life: 0 });
        }
        while let Some(site) = up {
            self.event(site, Event::AddBelow { child: below, code: code.clone() });
            below = self.machines[site].site.code().clone();
            up = self.machines[site].parent;
        }
        self.at(600_000, Happening::Scrub { site: index, life: 0 });
        index
    }

    /// By how many seconds a wall clock is wrong.
    pub(crate) fn lie(&mut self) -> i64 {
        i64::try_from(self.dice.below(800_000_000)).unwrap_or(0) - 400_000_000
    }

    fn connect(&mut self, parent: usize, code: &SiteCode) {
        let at = self.moment(parent);
        let machine = &mut self.machines[parent];
        if let Some(place) = machine.site.child_id(code) {
            let schedule = Schedule::always();
            let address = Address { schedule, rate: 5 * UNIT, streams: 4, unit: UNIT };
            machine.sender.set_address(at, place, address);
        }
    }

    /// Adds a line to the transcript.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        let seconds = self.now as f64 / 1e3;
        if let Some(transcript) = &mut self.transcript {
            transcript.push(format!("{seconds:>10.3} {}", line()));
        }
    }

    pub(crate) fn at(&mut self, delay: u64, happening: Happening) {
        self.count += 1;
        self.queue.insert((self.now + delay, self.count), happening);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.now >= self.calm_at
    }

    fn moment(&self, site: usize) -> Moment {
        Moment(self.now + self.machines[site].steady)
    }

    /// Something happens at a site: it decides, its tables are durable, then effects are carried out.
    pub fn event(&mut self, site: usize, event: Event) -> Vec<Effect> {
        if !self.machines[site].up {
            return Vec::new();
        }
        self.take_turns(site);
        let now = Now { at: self.moment(site), dice: self.dice.roll() };
        self.say(|| format!("{}: {}", site, brief(&event)));
        let before = Checks::before(&self.machines[site], &event);
        let decided = self.machines[site].site.next(now, event);
        let effects = match decided {
            Ok(effects) => effects,
            Err(refused) => {
                self.say(|| format!("{site}:   refused: {refused}"));
                Vec::new()
            }
        };
        if !effects.is_empty() {
            self.say(|| format!("{site}:   decides {effects:?}"));
        }
        self.checks.after(&self.machines[site], before, now.at, &effects);
        self.keep(site, &effects);
        // A crash between what is durable and what is done.
        if !self.is_calm() && self.faults.loss > 0 && self.dice.below(2_000) == 0 {
            self.crash(site);
            return effects;
        }
        for effect in &effects {
            self.perform(site, effect.clone());
        }
        self.set_timer(site);
        effects
    }

    /// The site's other process decides from here on, if it is its turn: it has read what changed since it did, and nothing else.
    fn take_turns(&mut self, site: usize) {
        let Some(turns) = &mut self.turns else { return };
        let (is_its_turn, is_compared) = (turns.chance(40), turns.chance(20));
        if !is_its_turn {
            return;
        }
        let machine = &mut self.machines[site];
        let settings = machine.site.settings();
        let all = || Site::from_rows(settings, machine.rows.clone());
        let other = match machine.other.take() {
            None => all(),
            Some((mut other, changed)) => {
                let row = |key: policy::Key| (key, machine.rows.get(&key).cloned());
                other.take_rows(changed.into_iter().map(row)).map(|()| other)
            }
        };
        let difference = |other: &Site| match all() {
            Ok(whole) if is_compared => whole.difference(other),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        match other.map_err(|error| error.to_string()) {
            Ok(mut other) => {
                if let Some(text) = difference(&other) {
                    self.checks.say("I5", format!("{site}: read in parts: {text}"));
                    return;
                }
                other.remember_room(&machine.site);
                let before = std::mem::replace(&mut machine.site, other);
                machine.other = Some((before, BTreeSet::new()));
            }
            Err(error) => self.checks.say("I5", format!("{site}: {error}")),
        }
    }

    /// The one transaction in which everything an event changed becomes durable.
    fn keep(&mut self, site: usize, effects: &[Effect]) {
        let machine = &mut self.machines[site];
        for effect in effects {
            let Effect::Keep(key) = effect else { continue };
            if let Some((_, changed)) = &mut machine.other {
                changed.insert(*key);
            }
            match machine.site.row(*key) {
                Some(row) => drop(machine.rows.insert(*key, row)),
                None => drop(machine.rows.remove(key)),
            }
        }
    }

    /// The site again, from what its database has: nothing else survives.
    fn read_tables(&mut self, site: usize) {
        let machine = &mut self.machines[site];
        for key in machine.site.keys().collect::<Vec<_>>() {
            let (should, kept) = (machine.site.row(key), machine.rows.get(&key));
            if should.as_ref() != kept {
                let text = format!("{site}: {key:?} is {should:?} and was kept as {kept:?}");
                return self.checks.say("I5", text);
            }
        }
        let surplus = machine.rows.keys().find(|key| machine.site.row(**key).is_none()).copied();
        if let Some(key) = surplus {
            return self.checks.say("I5", format!("{site}: {key:?} is gone and was kept"));
        }
        let settings = machine.site.settings();
        match Site::from_rows(settings, machine.rows.clone()) {
            Ok(read) => {
                let (was, is) = (machine.site.live_jobs(), read.live_jobs());
                (machine.site, machine.other) = (read, None);
                if was != is {
                    self.checks.say("I5", format!("{site}: {was} jobs became {is} by a restart"));
                }
            }
            Err(error) => self.checks.say("I5", format!("{site}: {error}")),
        }
    }

    pub(crate) fn set_timer(&mut self, site: usize) {
        let machine = &mut self.machines[site];
        let wake = machine.site.next_wake().map(|at| at.0.saturating_sub(machine.steady));
        if wake.is_some() && machine.timer != wake {
            machine.timer = wake;
            let delay = wake.unwrap_or_default().saturating_sub(self.now);
            let life = machine.life;
            self.at(delay, Happening::Timer { site, life });
        }
    }

    /// The server stops in the middle of things and comes back later.
    pub(crate) fn crash(&mut self, site: usize) {
        self.say(|| format!("{site}: crashes"));
        let machine = &mut self.machines[site];
        machine.up = false;
        machine.life += 1;
        machine.works.clear();
        machine.timer = None;
        let delay = 1_000 + self.dice.below(600_000);
        self.at(delay, Happening::Restart { site });
    }

    /// The server ends, and stays so until [`World::start`].
    pub fn stop(&mut self, site: usize) {
        let machine = &mut self.machines[site];
        machine.up = false;
        machine.life += 1;
        machine.works.clear();
        machine.timer = None;
    }

    /// The server begins again with what its disks have.
    pub fn start(&mut self, site: usize) {
        self.restart(site);
    }

    fn restart(&mut self, site: usize) {
        if self.machines[site].up {
            return;
        }
        self.say(|| format!("{site}: starts"));
        self.read_tables(site);
        let machine = &mut self.machines[site];
        machine.up = true;
        let (life, children) = (machine.life, machine.children.clone());
        machine.sender = policy::Sender::default();
        for child in children {
            let code = self.machines[child].site.code().clone();
            self.connect(site, &code);
        }
        if self.dice.chance(50) {
            self.event(site, policy::Event::WorkersGone);
        }
        self.at(1, Happening::Timer { site, life });
        self.at(10, Happening::Poll { site, life });
        self.at(600_000, Happening::Scrub { site, life });
    }

    fn perform(&mut self, site: usize, effect: Effect) {
        match effect {
            Effect::Keep(_) | Effect::Tell(_) => {}
            Effect::Quarantine { .. } => self.checks.quarantined += 1,
            Effect::Start(work) => self.start_work(site, work),
            Effect::Cancel { place, package, fence } => {
                let machine = &mut self.machines[site];
                machine.cancelled.insert((place, package, fence));
                if machine.works.get(&(place, package)).is_some_and(|work| work.fence == fence) {
                    machine.works.remove(&(place, package));
                }
            }
            Effect::Measure(place) => self.measure(site, place),
            Effect::Wake(code) => {
                if let Some(child) = self.by_code(&code) {
                    self.send(site, child, Message::Wake);
                }
            }
            Effect::Ask => self.ask(site),
            Effect::Answer { child, feed } => {
                if let Some(child) = self.by_code(&child) {
                    self.send(site, child, Message::Feed(feed));
                }
            }
            Effect::Discard(name) => {
                self.machines[site].spool.retain(|(other, _), _| *other != name);
            }
            Effect::Collect { package, below } => self.collect(site, package, below),
        }
    }

    fn collect(&mut self, site: usize, package: policy::PackageId, below: VersionNumber) {
        let machine = &mut self.machines[site];
        let Some(name) = machine.site.package(package).map(|package| package.name.clone()) else {
            return;
        };
        machine.store.retain(|(other, version), _| *other != name || *version >= below);
        machine.spool.retain(|(other, version), _| *other != name || *version >= below);
    }

    fn measure(&mut self, site: usize, place: PlaceId) {
        let machine = &self.machines[site];
        let full_until = match machine.points.get(&place) {
            Some(disk) => disk.full_until,
            None => machine.full_until,
        };
        let free = if full_until > self.now { UNIT } else { 1_000 * UNIT };
        self.event(site, Event::Space { place, free });
    }

    fn ask(&mut self, site: usize) {
        let Some(parent) = self.machines[site].parent else { return };
        let exchange = self.machines[site].site.exchange();
        self.send(site, parent, Message::Exchange(exchange));
    }

    pub(crate) fn by_code(&self, code: &SiteCode) -> Option<usize> {
        self.machines.iter().position(|machine| machine.site.code() == code)
    }

    pub(crate) fn send(&mut self, from: usize, to: usize, message: Message) {
        let faulty = !self.is_calm();
        if faulty && self.dice.chance(self.faults.loss) {
            return;
        }
        let mut delay = 20 + self.dice.below(80);
        if faulty && self.dice.chance(self.faults.slow) {
            delay += self.dice.below(60_000);
        }
        if faulty && self.dice.chance(self.faults.twice) {
            let message = message.clone();
            let delay = delay + self.dice.below(5_000);
            self.at(delay, Happening::Arrives { from, to, message });
        }
        self.at(delay, Happening::Arrives { from, to, message });
    }

    /// Lets time pass until `until`, or until nothing more will happen.
    pub fn run_until(&mut self, until: u64) {
        while self.checks.broken.is_empty() {
            let Some((&(at, count), _)) = self.queue.first_key_value() else { break };
            if at > until {
                break;
            }
            self.now = at;
            if self.count > self.busy {
                self.checks.say(
                    "I26",
                    format!("{} things happened: somebody is busy for nothing", self.count),
                );
            }
            if let Some(happening) = self.queue.remove(&(at, count)) {
                self.happen(happening);
            }
        }
        if self.checks.broken.is_empty() {
            self.now = until.max(self.now);
        }
    }

    fn alive(&self, site: usize, life: u32) -> bool {
        self.machines[site].up && self.machines[site].life == life
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives { from, to, message } if self.machines[to].up => {
                self.arrives(from, to, message);
            }
            Happening::Timer { site, life } if self.alive(site, life) => {
                // One timer: those that were set anew are not heard.
                if self.machines[site].timer.is_some_and(|at| at > self.now) {
                    return;
                }
                self.machines[site].timer = None;
                self.event(site, Event::Timer);
            }
            Happening::Poll { site, life } if self.alive(site, life) => {
                if self.now >= self.machines[site].answered + POLL {
                    self.ask(site);
                }
                self.at(POLL, Happening::Poll { site, life });
            }
            Happening::Staged { site, life, work, zombie } if self.alive(site, life) => {
                self.staged(site, work, zombie);
            }
            Happening::Tells { site, life, work, zombie } if self.alive(site, life) => {
                self.tells(site, work, zombie);
            }
            Happening::Wants { site, life, work } if self.alive(site, life) => {
                self.wants(site, work);
            }
            Happening::Silence { site, life, work, have } if self.alive(site, life) => {
                self.silence(site, work, have);
            }
            Happening::Scrub { site, life } if self.alive(site, life) => {
                self.scrub(site);
                self.at(600_000, Happening::Scrub { site, life });
            }
            Happening::Fault => self.fault(),
            Happening::Operator => self.operator(),
            Happening::Restart { site } => self.restart(site),
            _ => {}
        }
    }

    fn arrives(&mut self, from: usize, to: usize, message: Message) {
        let code = self.machines[from].site.code().clone();
        match message {
            Message::Wake => self.ask(to),
            Message::Exchange(exchange) => {
                self.event(to, Event::FromChild { from: code, exchange });
            }
            Message::Feed(feed) => {
                self.machines[to].answered = self.now;
                self.event(to, Event::Reached(PlaceId::OWN));
                self.event(to, Event::FromParent { from: code, feed });
            }
            Message::Want { package, version, unit, question } => {
                self.serve(to, from, (package, version), unit, question);
            }
            Message::Unit { package, version, unit, content } => {
                self.received(to, &package, version, unit, content);
            }
            Message::Later { package, version, milliseconds, question } => {
                let work = self.receiving(to, &package, version);
                let work = work.filter(|work| self.is_open(to, work, question));
                if let Some(work) = work {
                    let life = self.machines[to].life;
                    let _ = self.event(to, progress(&work));
                    self.at(milliseconds.max(10), Happening::Wants { site: to, life, work });
                }
            }
            Message::Gone { package, version } => {
                if let Some(work) = self.receiving(to, &package, version) {
                    self.finish(to, work, policy::Outcome::Failed(policy::Cause::Gone));
                }
            }
        }
    }

    /// Sends `event` after a line has been silent for as long as workers wait.
    pub(crate) fn watch(&mut self, site: usize, work: Work, have: usize) {
        let life = self.machines[site].life;
        self.at(SILENCE, Happening::Silence { site, life, work, have });
    }

    /// The wall clock of a site, which lies, in seconds.
    pub(crate) fn wall(&self, site: usize) -> i64 {
        1_700_000_000 + i64::try_from(self.now / 1_000).unwrap_or(0) + self.machines[site].wall
    }

    pub(crate) fn steady(&self, site: usize) -> Moment {
        self.moment(site)
    }

    /// A fence of a work, and whether it still has its right.
    pub(crate) fn has_right(&self, site: usize, work: &Work) -> bool {
        let works = &self.machines[site].works;
        works.get(&(work.place, work.package)).is_some_and(|now: &Work| now.fence == work.fence)
    }

    pub(crate) fn finish(&mut self, site: usize, work: Work, outcome: policy::Outcome) {
        let Work { place, package, fence, .. } = work;
        if self.has_right(site, &work) {
            self.machines[site].works.remove(&(place, package));
        }
        self.checks.finished(site, &work, outcome);
        self.event(site, Event::Finished { place, package, fence, outcome });
        self.check_done(site, place, package);
    }
}

pub(crate) fn progress(work: &Work) -> Event {
    let Work { place, package, fence, .. } = *work;
    Event::Progress { place, package, fence }
}

/// A fence nobody holds.
pub(crate) const NO_FENCE: Fence = Fence { epoch: 0, number: 0 };

fn brief(event: &Event) -> String {
    let text = format!("{event:?}");
    text.chars().take(3000).collect()
}
