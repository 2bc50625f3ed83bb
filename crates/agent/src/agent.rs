//! The agent: one loop that sleeps until something happens.

mod choose;
mod document;
mod hands;
mod report;
mod restarts;
mod room;
mod speak;
mod wait;

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    path::PathBuf,
};

use deployment::{Memory, PolicyDocument, Question, Truth};
use running::{Book, Event, Happened, Now, Proof, Run, RunId, Seen, Stage};

use crate::{
    attempt::Attempt,
    bell::{Answers, Bell, bell},
    clock,
    control::Control,
    durable,
    identity::{Identity, IdentityError, identity},
    journal::{Journal, JournalError},
    lock::{Only, TakeError, become_only},
    platform::{Manager, Signals, Timer, Watch, launch::Keeper, others::Busy, process},
    site::Site,
    site_line::{SiteAnswer, SiteLine},
    state::StateFolder,
    upgrade::Home,
};

pub use report::Status;

/// Messages that wait take no more than this, in bytes; results stay all the same.
const MESSAGES: usize = 8 << 20;
/// A runner that did not begin by then will not, in milliseconds.
const BEGINNING: u64 = 30_000;
/// A detection rule that has no answer by then has none, in milliseconds.
const LOOKING: u64 = 60_000;

/// How an agent is set up.
pub struct Settings {
    /// Where it keeps what it must not lose.
    pub state: StateFolder,
    /// The root folder of the machine it looks after.
    pub root: PathBuf,
    /// Its site.
    pub site: Box<dyn Site>,
    /// Who looks after what it runs.
    pub keeper: Keeper,
    /// Whether it ends when there is nothing left to do, instead of waiting.
    pub once: bool,
}

/// The agent does not run, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Another one does.
    #[error(transparent)]
    Taken(#[from] TakeError),
    /// Its history cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It does not know who it is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The machine.
    #[error("{doing} stopped")]
    Machine {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl AgentError {
    /// Whether there is no room on the disk.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Journal(error) => error.is_full(),
            Self::Machine { source, .. } => durable::is_full(source),
            Self::Taken(_) | Self::Identity(_) => false,
        }
    }
}

fn machine(doing: &'static str) -> impl Fn(io::Error) -> AgentError {
    move |source| AgentError::Machine { doing, source }
}

/// What threads answer.
#[derive(Debug)]
enum Answer {
    Seen(RunId, u64, Seen),
    Truth(Question, Truth),
    Free(Result<(), String>),
    Restart(Result<(), String>),
    Site(SiteAnswer),
}

/// What is under way.
#[derive(Debug)]
struct Active {
    id: RunId,
    attempt: Attempt,
    /// Its end shows here, once it began.
    process: Option<process::Watched>,
    since: u64,
}

/// What is being looked for.
#[derive(Clone, Debug)]
struct Looking {
    id: RunId,
    number: u64,
    since: u64,
}

/// An agent at work.
pub struct Agent {
    state: StateFolder,
    root: PathBuf,
    keeper: Keeper,
    once: bool,
    _only: Only,
    identity: Identity,
    journal: Journal,
    book: Book,
    document: Option<PolicyDocument>,
    memory: Memory,
    /// What was refused of the last documents, so that it is told once.
    refused: BTreeSet<String>,
    notes: Vec<String>,
    bell: Bell<Answer>,
    answers: Answers<Answer>,
    /// Answers that came and were not taken in yet.
    came: VecDeque<Answer>,
    site: SiteLine,
    points: Vec<String>,
    /// When to ask the site again, on the steady clock.
    ask_at: u64,
    /// Whether it is to be asked at once when it has answered.
    is_asked_again: bool,
    /// When it was asked last, and what stood in the way.
    asked: Option<(u64, Option<String>)>,
    failures: u32,
    /// When the site is to hear what is on this machine, on the steady clock; never, where it does not want to.
    inventory_at: Option<u64>,
    events: VecDeque<(RunId, Event, Vec<u8>)>,
    active: Option<Active>,
    looking: Option<Looking>,
    blocked: Option<(Busy, Now)>,
    /// Nothing begins before, on the steady clock.
    not_before: u64,
    /// The disk is full, and nothing is decided.
    full: Option<room::Full>,
    agenda: choose::Agenda,
    restarts: restarts::Restarts,
    timer: Timer,
    /// Windows and starts are by clocks: what was decided by another time is decided again.
    clock_set: Timer,
    watch: Watch,
    signals: Signals,
    control: Control,
    home: Option<Home>,
    manager: Manager,
    is_ending: bool,
}

impl Agent {
    /// Becomes the agent of a machine, and finds out what became of what was under way.
    pub fn open(settings: Settings) -> Result<Self, AgentError> {
        let Settings { state, root, site, keeper, once } = settings;
        let mut tightened = state.make().map_err(machine("making the agent's state folder"))?;
        let only = become_only(state.path())?;
        let [one, two] = state.identity();
        let (identity, is_new) = identity([&one, &two])?;
        let (journal, history) = Journal::open(state.history(), !is_new, clock::dice())?;
        let signals = Signals::listen().map_err(machine("listening to signals"))?;
        let (bell, answers) = bell().map_err(machine("making an event"))?;
        let watch =
            Watch::new(site.watched().as_deref(), &root).map_err(machine("watching folders"))?;
        let points = site.points();
        let inventory_at = site.wants_inventory().then(clock::steady);
        let site = SiteLine::open(site, bell.clone(), Answer::Site)
            .map_err(machine("starting a thread"))?;
        let control =
            Control::listen(&state.socket()).map_err(machine("listening at the agent's socket"))?;
        let (document, memory, unread) = document::load(&state, &identity);
        let mut agent = Self {
            state,
            root,
            keeper,
            once,
            _only: only,
            identity,
            journal,
            book: history.book,
            document,
            memory,
            refused: BTreeSet::new(),
            notes: history.notes,
            bell,
            answers,
            came: VecDeque::new(),
            site,
            points,
            ask_at: clock::steady(),
            is_asked_again: false,
            asked: None,
            failures: 0,
            inventory_at,
            events: VecDeque::new(),
            active: None,
            looking: None,
            blocked: None,
            not_before: 0,
            full: None,
            agenda: choose::Agenda::default(),
            restarts: restarts::Restarts::default(),
            timer: Timer::sleepless().map_err(machine("making a timer"))?,
            clock_set: Timer::clock_was_set().map_err(machine("watching the clock"))?,
            watch,
            signals,
            control,
            home: Home::of_environment(),
            manager: Manager::of_environment(),
            is_ending: false,
        };
        agent.notes.extend(unread);
        if let Some(home) = &agent.home {
            tightened
                .extend(home.tighten().map_err(machine("closing the guardian's home to others"))?);
        }
        for told in tightened {
            agent.note(told);
        }
        if let Some(cause) = history.lost {
            let entry = agent.book.lost(&cause, clock::dice(), clock::now(), clock::wall());
            agent.write((entry, Vec::new()))?;
        }
        agent.wake()?;
        Ok(agent)
    }

    /// Works until it is asked to end.
    pub fn work(&mut self) -> Result<(), AgentError> {
        self.manager.ready();
        self.prove_life(Proof::Local);
        loop {
            match self.turn() {
                Ok(false) => {}
                Ok(true) => {
                    self.manager.stopping();
                    return Ok(());
                }
                Err(error) => self.wait_for_room(error)?,
            }
        }
    }

    /// Does what can be done and sleeps until something happens; whether this is the end.
    fn turn(&mut self) -> Result<bool, AgentError> {
        if self.full.is_some() {
            return self.turn_without_room();
        }
        self.settle()?;
        self.tell_verdict()?;
        // Nothing is cut off by an upgrade: it waits until nothing runs (Q283130).
        let is_free = self.book.under_way().is_none();
        self.is_ending |= is_free && self.home.as_ref().is_some_and(Home::is_wanted);
        if self.is_ending || (self.once && self.is_idle()) {
            return Ok(true);
        }
        self.sleep()?;
        Ok(false)
    }

    /// Does everything that can be done now.
    fn settle(&mut self) -> Result<(), AgentError> {
        loop {
            while let Some((id, event, detail)) = self.events.pop_front() {
                self.happened(&id, event, detail)?;
            }
            // What ended before it was watched.
            if self.active.as_ref().is_some_and(|active| active.process.is_none()) {
                self.take_active()?;
            }
            self.speak()?;
            self.choose()?;
            self.restart();
            if self.events.is_empty() {
                break;
            }
        }
        if let Some(entry) = self.book.tell_withheld(clock::now(), clock::wall()) {
            self.write((entry, Vec::new()))?;
        }
        if let Some(entry) = self.book.bound(MESSAGES, clock::now(), clock::wall()) {
            self.write((entry, Vec::new()))?;
        }
        self.journal.shorten(&self.book)?;
        Ok(())
    }

    /// Whether nothing is left to do, now or later.
    fn is_idle(&self) -> bool {
        self.asked.is_some()
            && !self.site.is_busy()
            && self.events.is_empty()
            && self.book.under_way().is_none()
            && self.blocked.is_none()
            && self.agenda.start.is_none()
            && !self.is_asking()
            && self.inventory_in() != Some(0)
            && (self.book.messages().next().is_none() || self.failures > 0)
    }

    /// What became of everything that may have been under way.
    fn wake(&mut self) -> Result<(), AgentError> {
        let is_touched =
            |run: &&Run| run.is_under_way() || matches!(run.stage, Stage::Restarting { .. });
        let runs: Vec<_> = self.book.runs().filter(is_touched).cloned().collect();
        for run in runs {
            let id = run.order.id.clone();
            let found = if run.may_run() {
                let attempt = Attempt::new(&self.state.runs(), &id, run.attempt);
                Some(
                    hands::find(&attempt, self.codes(&run))
                        .map_err(machine("finding out what became of a run"))?,
                )
            } else {
                None
            };
            let detail = found.as_ref().map(|_| self.output_of(&run)).unwrap_or_default();
            self.happened(&id, Event::Woke(found), detail)?;
        }
        self.sweep();
        Ok(())
    }

    /// Something happened to a run.
    fn happened(&mut self, id: &RunId, event: Event, detail: Vec<u8>) -> Result<(), AgentError> {
        let happened =
            Happened { now: clock::now(), clock: clock::wall(), dice: clock::dice(), detail };
        match self.book.next(id, event, happened) {
            Ok(next) => self.write(next),
            // Late words are no reason to stop.
            Err(refused) => {
                self.note(refused.to_string());
                Ok(())
            }
        }
    }

    fn write(&mut self, next: (running::Entry, Vec<running::Effect>)) -> Result<(), AgentError> {
        let mut book = std::mem::take(&mut self.book);
        let written = book.write(next, self);
        self.book = book;
        written
    }

    /// Says something to whoever looks at the agent, not to the site.
    fn note(&mut self, text: String) {
        const KEPT: usize = 20;
        if self.notes.last() != Some(&text) {
            self.notes.push(text);
        }
        let surplus = self.notes.len().saturating_sub(KEPT);
        self.notes.drain(..surplus);
    }
}
