//! One machine and what is deployed to it, in memory: its journal, its programs, power cuts, kills, a site that is not
//! always there. The decisions are `running`'s.

mod machine;
mod program;

use std::collections::{BTreeMap, BTreeSet};

use running::{Event, Outcome, Rerun, RunId, Stage, Word};

use crate::Dice;
pub use machine::Careless;
use machine::{Cut, RunMachine};
use program::{Program, some_programs};

/// What came of a machine's history.
#[derive(Clone, Debug, Default)]
pub struct RunHistory {
    /// What happened, if a transcript was wanted.
    pub transcript: Vec<String>,
    /// Promises that were broken.
    pub broken: Vec<String>,
    /// Power cuts and kills.
    pub crashes: u64,
    /// Programs that began.
    pub starts: u64,
    /// Ends nobody saw.
    pub ambiguous: u64,
}

/// One whole history of a machine: trouble, then calm, then everything must be right. One seed, one history.
pub fn run_machine_seed(seed: u64, transcript: bool) -> RunHistory {
    run_careless_seed(seed, transcript, None)
}

/// The same, by an agent with a fault.
pub fn run_careless_seed(seed: u64, transcript: bool, careless: Option<Careless>) -> RunHistory {
    let mut dice = Dice::new(seed);
    let programs = some_programs(&mut dice);
    let mut machine = RunMachine::new(programs, transcript, careless);
    let trouble = 20 + dice.below(200);
    for _ in 0..trouble {
        if dice.chance(12) {
            let cut = if dice.chance(50) { Cut::Power } else { Cut::Kill };
            // Not now, but at one of the next things the agent does.
            machine.fuse = Some((dice.below(6), cut));
        }
        machine.is_online = dice.chance(70);
        machine.step(&mut dice);
    }
    machine.fuse = None;
    machine.is_online = true;
    // Calm: as long as anything still happens, and a little longer than that.
    let mut quiet = 0;
    for _ in 0..20_000 {
        let before = machine.changes;
        machine.step(&mut dice);
        machine.decide(&mut dice);
        quiet = if machine.changes == before { quiet + 1 } else { 0 };
        if quiet > 60 {
            if !machine.restart_if_wanted(&mut dice) {
                break;
            }
            quiet = 0;
        }
    }
    let mut history = machine.history.clone();
    if quiet <= 60 {
        history.broken.push("it never comes to rest".to_owned());
    }
    finally(&machine, &mut history);
    history
}

/// What must be right when all is calm.
fn finally(machine: &RunMachine, history: &mut RunHistory) {
    let mut broken = Vec::new();
    let Some(book) = machine.book() else {
        history.broken.push("no agent runs".to_owned());
        return;
    };
    for program in &machine.programs {
        let id = &program.order.id;
        let Some(run) = book.run(id) else {
            broken.push(format!("{id} was never begun"));
            continue;
        };
        let Stage::Finished { outcome, .. } = &run.stage else {
            broken.push(format!("{id} is {}", run.stage.word()));
            continue;
        };
        let done = matches!(outcome, Outcome::Done { .. });
        if done && program.order.detects && !program.is_there && !program.was_accepted {
            broken.push(format!("{id} is said to be done, and is not there"));
        }
        let told = machine.site.last_result(id);
        let expected = if done { Word::Done } else { Word::Failed };
        if told != Some(expected) {
            broken.push(format!("{id}: the site heard {told:?}, and it is {expected:?}"));
        }
    }
    broken.extend(machine.site.complaints(book.series()));
    let labelled: BTreeSet<(RunId, u32)> = machine.site.interrupted();
    for (id, attempt) in &machine.ambiguous {
        if !labelled.contains(&(id.clone(), *attempt)) {
            broken.push(format!("nobody was told that attempt {attempt} of {id} was cut off"));
        }
    }
    history.ambiguous = machine.ambiguous.len() as u64;
    history.broken.extend(broken);
}

/// Whether a program may begin, by what is known of those before: the promise itself, without the agent's reasoning.
fn may_begin(program: &Program) -> Result<(), String> {
    let id = &program.order.id;
    if program.succeeded {
        return Err(format!("{id} begins again after it succeeded"));
    }
    if program.order.detects && program.is_there {
        return Err(format!("{id} begins, and is there already"));
    }
    if program.was_cut && program.order.rerun == Rerun::Ask && !program.is_allowed {
        return Err(format!("{id} begins again, and nobody decided that it may"));
    }
    Ok(())
}

/// What an operator answers to what is held.
fn answer(dice: &mut Dice, program: &Program) -> Event {
    // Who looks sees what is there.
    match (program.is_there, dice.below(3)) {
        (true, _) => Event::Accept,
        (false, 0) => Event::GiveUp,
        (false, _) => Event::Again,
    }
}

/// What a site heard of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    heard: BTreeMap<u64, Vec<running::Message>>,
}

impl Heard {
    /// Takes messages in, each once; answers how far it got.
    pub(crate) fn take(&mut self, messages: &[running::Message]) -> u64 {
        let mut through = 0;
        for message in messages {
            let series = self.heard.entry(message.series).or_default();
            if series.last().is_none_or(|last| last.sequence < message.sequence) {
                series.push(message.clone());
            }
            through = message.sequence;
        }
        through
    }

    fn all(&self) -> impl Iterator<Item = &running::Message> {
        self.heard.values().flatten()
    }

    fn last_result(&self, id: &RunId) -> Option<Word> {
        let of_run = self.all().filter(|message| message.said.run.as_ref() == Some(id));
        of_run
            .map(|message| message.said.word)
            .filter(|word| matches!(word, Word::Done | Word::Failed | Word::Withdrawn))
            .last()
    }

    fn interrupted(&self) -> BTreeSet<(RunId, u32)> {
        self.all()
            .filter(|message| message.said.word == Word::Interrupted)
            .filter_map(|message| Some((message.said.run.clone()?, message.said.attempt)))
            .collect()
    }

    /// Gaps, and results that came twice.
    fn complaints(&self, series: u64) -> Vec<String> {
        let mut broken = Vec::new();
        for (number, messages) in &self.heard {
            let numbers: Vec<u64> = messages.iter().map(|message| message.sequence).collect();
            if *number == series
                && numbers.iter().zip(1..).any(|(sequence, expected)| *sequence != expected)
            {
                broken.push(format!("messages are missing: {numbers:?}"));
            }
        }
        let mut results = BTreeSet::new();
        for message in self.all().filter(|message| message.said.word == Word::Done) {
            if !results.insert(message.said.run.clone()) {
                broken.push(format!("two successes of {:?}", message.said.run));
            }
        }
        broken
    }
}
