use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::ExitMeaning;
use running::{
    Began, Book, BootId, Effect, End, Entry, Event, Found, Hands, Happened, Now, Process, Run,
    RunId, Seen, Stage, Traces,
};

use super::{Heard, RunHistory, answer, may_begin, program::Moment, program::Program};
use crate::Dice;

/// A crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Of the agent alone: programs go on.
    Kill,
    /// Of everything.
    Power,
}

/// A fault of the agent's hands, to see that the simulation finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Careless {
    /// It does not wait until what it wrote down is durable.
    Unsynced,
    /// It leaves permits where they are.
    LeavesPermits,
    /// It says a message is delivered before it is.
    DeliversLater,
}

/// The agent came to its end.
pub(crate) struct Crashed;

/// What an attempt has on disk. All of it is durable.
#[derive(Clone, Debug, Default)]
struct Folder {
    permit: bool,
    traces: Traces,
}

type Attempt = (RunId, u32);

/// A machine with an agent, whose decisions are the real ones.
pub(crate) struct RunMachine {
    pub(crate) programs: Vec<Program>,
    pub(crate) site: Heard,
    pub(crate) is_online: bool,
    /// The agent crashes when it has done so many more things.
    pub(crate) fuse: Option<(u64, Cut)>,
    /// Goes up with everything that happens.
    pub(crate) changes: u64,
    /// Attempts that ended with nobody seeing how.
    pub(crate) ambiguous: BTreeSet<Attempt>,
    pub(crate) history: RunHistory,
    now: Now,
    disk: Disk,
    /// Asked to start, and not begun.
    pending: VecDeque<Attempt>,
    running: Option<(Attempt, u64, Process)>,
    agent: Option<Agent>,
    transcript: bool,
    processes: u64,
    crash: Option<Cut>,
    careless: Option<Careless>,
    /// Entries that a power cut takes, if the agent is careless.
    unsynced: usize,
}

#[derive(Default)]
struct Disk {
    journal: Vec<Entry>,
    folders: BTreeMap<Attempt, Folder>,
}

/// What the agent has in memory.
#[derive(Default)]
struct Agent {
    book: Book,
    /// What its effects led to, and it has not seen yet.
    events: VecDeque<(RunId, Event)>,
    watched: Option<Attempt>,
}

impl RunMachine {
    pub(crate) fn new(
        programs: Vec<Program>,
        transcript: bool,
        careless: Option<Careless>,
    ) -> Self {
        Self {
            programs,
            site: Heard::default(),
            is_online: true,
            fuse: None,
            changes: 0,
            ambiguous: BTreeSet::new(),
            history: RunHistory::default(),
            now: Now { boot: BootId(1), at: 0 },
            disk: Disk::default(),
            pending: VecDeque::new(),
            running: None,
            agent: None,
            transcript,
            processes: 0,
            crash: None,
            careless,
            unsynced: 0,
        }
    }

    pub(crate) fn book(&self) -> Option<&Book> {
        self.agent.as_ref().map(|agent| &agent.book)
    }

    /// Something happens, whatever the dice say.
    pub(crate) fn step(&mut self, dice: &mut Dice) {
        self.now.at += 1 + dice.below(30);
        match dice.below(5) {
            0 => self.begin_pending(),
            1 if self.fuse.is_some() && dice.chance(20) => self.kill_program(),
            1 => self.go_on(dice),
            _ => {
                if self.act(dice).is_err() {
                    self.crashed(dice);
                }
            }
        }
    }

    /// An operator decides what is held.
    pub(crate) fn decide(&mut self, dice: &mut Dice) {
        let Some(held) = self.book().and_then(|book| {
            let run = book.runs().find(|run| matches!(run.stage, Stage::Held { .. }))?;
            Some(run.order.id.clone())
        }) else {
            return;
        };
        let Some(program) = self.programs.iter_mut().find(|program| program.order.id == held)
        else {
            return;
        };
        let event = answer(dice, program);
        if self.agent.as_ref().is_some_and(|agent| agent.book.under_way().is_none()) {
            program.is_allowed |= event == Event::Again;
            program.was_accepted |= event == Event::Accept;
            let _ = self.happened(&held, event, dice);
        }
    }

    fn tell(&mut self, text: impl FnOnce() -> String) {
        self.changes += 1;
        if self.transcript {
            let line = format!("{}/{:5} {}", self.now.boot.0, self.now.at, text());
            self.history.transcript.push(line);
        }
    }

    /// Goes on after what was asked, not before: a program that was asked to start takes its permit, or does not begin.
    fn begin_pending(&mut self) {
        let Some(attempt) = self.pending.pop_front() else { return };
        let Some(folder) = self.disk.folders.get_mut(&attempt).filter(|folder| folder.permit)
        else {
            self.tell(|| format!("{} {} finds no permit", attempt.0, attempt.1));
            return;
        };
        self.processes += 1;
        let process = Process { pid: 1, began: self.processes };
        folder.permit = false;
        folder.traces.began = Some(Began { boot: self.now.boot, process });
        folder.traces.is_alive = true;
        let Some(program) = self.programs.iter_mut().find(|one| one.order.id == attempt.0) else {
            return;
        };
        if let Err(broken) = may_begin(program) {
            self.history.broken.push(broken);
        }
        program.starts += 1;
        program.is_allowed = false;
        program.was_cut = false;
        self.history.starts += 1;
        if self.running.is_some() {
            self.history.broken.push(format!("{} runs beside another", attempt.0));
        }
        self.tell(|| format!("{} {} begins", attempt.0, attempt.1));
        self.running = Some((attempt, 0, process));
    }

    /// The program that runs goes on.
    fn go_on(&mut self, dice: &mut Dice) {
        let Some((attempt, step, process)) = self.running.take() else { return };
        let Some(program) = self.programs.iter_mut().find(|one| one.order.id == attempt.0) else {
            return;
        };
        let behaviour = program.behaviour();
        if step < behaviour.steps {
            self.running = Some((attempt, step + 1, process));
            self.changes += 1;
            return;
        }
        if step == behaviour.steps {
            program.is_there |= behaviour.brings;
            if behaviour.restarts == Some(Moment::Within) {
                self.running = Some((attempt, step, process));
                self.tell(|| "the program restarts the machine".to_owned());
                self.crash = Some(Cut::Power);
                self.crashed(dice);
                return;
            }
            self.running = Some((attempt, step + 1, process));
            self.changes += 1;
            return;
        }
        let success = matches!(behaviour.meaning, ExitMeaning::Done | ExitMeaning::Restart);
        // A rule that does not find it beats what the program says.
        program.succeeded |= success && (!program.order.detects || program.is_there);
        if let Some(folder) = self.disk.folders.get_mut(&attempt) {
            let text = format!("{:?}", behaviour.meaning).into();
            folder.traces.is_alive = false;
            folder.traces.end = Some(End::Exit { code: Some(0), meaning: behaviour.meaning, text });
        }
        if self.agent.as_ref().is_some_and(|agent| agent.watched.as_ref() == Some(&attempt)) {
            self.noticed(&attempt);
        }
        self.tell(|| format!("{} {} ends: {:?}", attempt.0, attempt.1, behaviour.meaning));
        if behaviour.restarts == Some(Moment::After) {
            self.crash = Some(Cut::Power);
            self.crashed(dice);
        }
    }

    /// A person restarts the machine, if that is what is waited for.
    pub(crate) fn restart_if_wanted(&mut self, dice: &mut Dice) -> bool {
        let waits = |run: &Run| matches!(run.stage, Stage::Restarting { .. });
        let is_wanted = self.book().is_some_and(|book| book.runs().any(waits));
        if is_wanted {
            self.crash = Some(Cut::Power);
            self.crashed(dice);
        }
        is_wanted
    }

    /// Somebody kills the program and what waits for its end.
    fn kill_program(&mut self) {
        let Some((attempt, ..)) = self.running.take() else { return };
        self.tell(|| format!("{} {} is killed", attempt.0, attempt.1));
        if let Some(folder) = self.disk.folders.get_mut(&attempt) {
            folder.traces.is_alive = false;
        }
        if let Some(program) = self.programs.iter_mut().find(|one| one.order.id == attempt.0) {
            program.was_cut = true;
        }
        if let Some(agent) =
            self.agent.as_mut().filter(|one| one.watched.as_ref() == Some(&attempt))
        {
            agent.watched = None;
            let end = End::Interrupted { restarted: false };
            agent.events.push_back((attempt.0.clone(), Event::Ended(end)));
        }
        self.ambiguous.insert(attempt);
    }

    fn noticed(&mut self, attempt: &Attempt) {
        let Some(folder) = self.disk.folders.get(attempt) else { return };
        let gone = folder.traces.began.is_some() && !folder.traces.is_alive;
        let cut = End::Interrupted { restarted: false };
        let end = folder.traces.end.clone().or(gone.then_some(cut));
        if let (Some(agent), Some(end)) = (&mut self.agent, end) {
            agent.watched = None;
            agent.events.push_back((attempt.0.clone(), Event::Ended(end)));
        }
    }

    /// The agent does one thing.
    fn act(&mut self, dice: &mut Dice) -> Result<(), Crashed> {
        let Some(agent) = &mut self.agent else { return self.wake(dice) };
        if let Some((id, event)) = agent.events.pop_front() {
            return self.happened(&id, event, dice);
        }
        let waiting: Vec<_> = agent.book.messages().cloned().collect();
        if self.is_online && !waiting.is_empty() && dice.chance(50) {
            let through = match (self.careless, waiting.last()) {
                (Some(Careless::DeliversLater), Some(last)) if dice.chance(50) => last.sequence,
                _ => self.site.take(&waiting),
            };
            self.tell(|| format!("{} messages are delivered", waiting.len()));
            let entry = self.agent.as_ref().map(|agent| agent.book.delivered(through));
            return entry.map_or(Ok(()), |entry| self.write((entry, Vec::new())));
        }
        if agent.book.under_way().is_some() {
            return Ok(());
        }
        let now = self.now;
        let due =
            agent.book.runs().find(|run| run.due(now) == Some(0)).map(|run| run.order.id.clone());
        if let Some(id) = due {
            return self.happened(&id, Event::Due, dice);
        }
        let book = &agent.book;
        let new = self.programs.iter().find(|one| book.run(&one.order.id).is_none());
        let begun = new.map(|program| book.begin(program.order.clone(), now, 0));
        match begun {
            Some(Ok(begun)) => self.write(begun),
            Some(Err(refused)) => {
                self.history.broken.push(refused.to_string());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The agent starts, and finds out what became of what was under way.
    fn wake(&mut self, dice: &mut Dice) -> Result<(), Crashed> {
        let mut book = Book::default();
        if self.disk.journal.is_empty() {
            self.disk.journal.push(Book::first(1));
        }
        self.disk.journal.iter().for_each(|entry| {
            book.take(entry);
        });
        self.tell(|| "the agent starts".to_owned());
        let runs: Vec<Run> = book.runs().cloned().collect();
        self.agent = Some(Agent { book, ..Agent::default() });
        for run in &runs {
            let found = run.may_run().then(|| self.find(&(run.order.id.clone(), run.attempt)));
            self.happened(&run.order.id, Event::Woke(found), dice)?;
        }
        Ok(())
    }

    /// Takes the permit back where it stands, and looks at what is left.
    fn find(&mut self, attempt: &Attempt) -> Found {
        let Some(folder) = self.disk.folders.get_mut(attempt) else { return Found::NeverBegan };
        folder.permit &= self.careless == Some(Careless::LeavesPermits);
        folder.traces.clone().found(self.now.boot)
    }

    fn happened(&mut self, id: &RunId, event: Event, dice: &mut Dice) -> Result<(), Crashed> {
        let Some(agent) = &self.agent else { return Ok(()) };
        let happened = Happened { now: self.now, clock: 0, dice: dice.roll(), detail: Vec::new() };
        match agent.book.next(id, event.clone(), happened) {
            Ok(next) => {
                self.tell(|| format!("{id}: {event:?}"));
                self.write(next)
            }
            Err(refused) => {
                self.history.broken.push(refused.to_string());
                Ok(())
            }
        }
    }

    fn write(&mut self, next: (Entry, Vec<Effect>)) -> Result<(), Crashed> {
        let Some(mut agent) = self.agent.take() else { return Ok(()) };
        self.changes += 1;
        let mut book = std::mem::take(&mut agent.book);
        self.agent = Some(agent);
        let written = book.write(next, self);
        if let Some(agent) = &mut self.agent {
            agent.book = book;
        }
        written
    }

    /// Whether the fuse has burnt down.
    fn burn(&mut self) -> Result<(), Crashed> {
        match &mut self.fuse {
            Some((0, cut)) => {
                self.crash = Some(*cut);
                self.fuse = None;
                Err(Crashed)
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn crashed(&mut self, dice: &mut Dice) {
        let cut = self.crash.take().unwrap_or(Cut::Kill);
        self.history.crashes += 1;
        self.tell(|| format!("{cut:?}"));
        self.agent = None;
        if cut == Cut::Kill {
            return;
        }
        if self.careless == Some(Careless::Unsynced) {
            let durable = self.disk.journal.len().saturating_sub(self.unsynced);
            self.disk.journal.truncate(durable);
        }
        self.unsynced = 0;
        self.now = Now { boot: BootId(self.now.boot.0 + 1), at: 0 };
        self.pending.clear();
        let Some((attempt, step, _)) = self.running.take() else { return };
        if let Some(folder) = self.disk.folders.get_mut(&attempt) {
            folder.traces.is_alive = false;
        }
        if let Some(program) = self.programs.iter_mut().find(|one| one.order.id == attempt.0) {
            let behaviour = program.behaviour();
            program.was_cut = !(program.order.restarts && behaviour.restarts.is_some());
            // What it wrote may not have reached the disk.
            if behaviour.restarts.is_none() && step == behaviour.steps + 1 && dice.chance(50) {
                program.is_there &= !behaviour.brings;
            }
        }
        self.ambiguous.insert(attempt);
    }
}

impl Hands for RunMachine {
    type Error = Crashed;

    fn keep(&mut self, entry: &Entry) -> Result<(), Crashed> {
        self.burn()?;
        self.disk.journal.push(entry.clone());
        self.unsynced = (self.unsynced + 1).min(2);
        self.burn()
    }

    fn carry_out(&mut self, run: &Run, effect: Effect) -> Result<(), Crashed> {
        self.burn()?;
        let id = run.order.id.clone();
        let attempt = (id.clone(), run.attempt);
        let answer = match effect {
            Effect::Say(_) => None,
            Effect::Look => {
                let program = self.programs.iter().find(|one| one.order.id == id);
                program.map(|program| match (program.order.detects, program.is_there) {
                    (false, _) => Event::Seen(Seen::NoRule),
                    (true, true) => Event::Seen(Seen::Yes),
                    (true, false) => Event::Seen(Seen::No),
                })
            }
            Effect::Start => {
                self.disk
                    .folders
                    .insert(attempt.clone(), Folder { permit: true, traces: Traces::default() });
                self.burn()?;
                self.pending.push_back(attempt.clone());
                self.burn()?;
                Some(Event::Launched(Process { pid: 1, began: self.processes + 1 }))
            }
            Effect::Watch(_) => {
                if let Some(agent) = &mut self.agent {
                    agent.watched = Some(attempt.clone());
                }
                self.noticed(&attempt);
                None
            }
            Effect::Clear => {
                self.disk.folders.remove(&attempt);
                None
            }
        };
        if let (Some(event), Some(agent)) = (answer, &mut self.agent) {
            agent.events.push_back((id, event));
        }
        self.burn()
    }
}
