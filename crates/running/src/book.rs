use std::collections::{BTreeMap, VecDeque};

use minicbor::{Decode, Encode};

use crate::{
    Effect, Event, Illegal, Message, Now, Order, Repeat, Run, RunId, Said, Word,
    repeat::{self, Same},
};

/// One record of the journal: everything one event led to, whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Entry {
    /// From 1, one more each time.
    #[n(0)]
    pub number: u64,
    /// Runs as they are now.
    #[n(1)]
    pub runs: Vec<Run>,
    /// Messages that came.
    #[n(2)]
    pub messages: Vec<Message>,
    /// Messages up to this one have been delivered.
    #[n(3)]
    pub delivered: Option<u64>,
    /// Runs of deployments that are gone at the site.
    #[n(4)]
    pub forgotten: Vec<RunId>,
    /// Messages up to this one lost their details.
    #[n(5)]
    pub bare: Option<u64>,
    /// Whether from now on there may have been runs that nothing here knows of.
    #[n(6)]
    pub doubt: Option<bool>,
    /// The greatest sequence number that was ever given out, where the messages do not show it.
    #[n(7)]
    pub sequence: Option<u64>,
    /// The series messages belong to from now on.
    #[n(8)]
    pub series: Option<u64>,
    /// What was said more than once, as it is now.
    #[n(9)]
    pub repeats: Option<Vec<Repeat>>,
}

/// Every run, and every message that waits to be delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    number: u64,
    runs: BTreeMap<RunId, Run>,
    messages: VecDeque<Message>,
    sequence: u64,
    delivered: u64,
    doubt: bool,
    series: u64,
    repeats: BTreeMap<Same, Repeat>,
}

/// What carries out what was decided.
pub trait Hands {
    /// Why it could not.
    type Error;
    /// Makes an entry durable, whole or not at all, before it returns.
    fn keep(&mut self, entry: &Entry) -> Result<(), Self::Error>;
    /// Carries out an effect of a run, as it is after the entry; never [`Effect::Say`].
    fn carry_out(&mut self, run: &Run, effect: Effect) -> Result<(), Self::Error>;
}

/// An order that does not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another is under way.
    #[error("`{0}` is under way")]
    UnderWay(RunId),
    /// It began before.
    #[error("`{0}` began before: what became of it stands in the history")]
    Before(RunId),
    /// There is no such run.
    #[error("no run `{0}` here; `packhorse-agent status` lists them")]
    Unknown(RunId),
    /// It means nothing now.
    #[error(transparent)]
    Illegal(#[from] Illegal),
}

impl Book {
    /// Takes an entry of the journal in; one that is not the next is left out, and answered by `false`.
    pub fn take(&mut self, entry: &Entry) -> bool {
        if entry.number <= self.number {
            return false;
        }
        self.number = entry.number;
        for run in &entry.runs {
            self.runs.insert(run.order.id.clone(), run.clone());
        }
        for id in &entry.forgotten {
            self.runs.remove(id);
            self.repeats.retain(|(_, run, _), _| run.as_ref() != Some(id));
        }
        for repeat in entry.repeats.iter().flatten() {
            let same = Repeat::same(&repeat.said);
            if repeat.is_over() {
                self.repeats.remove(&same);
            } else {
                self.repeats.insert(same, repeat.clone());
            }
        }
        for message in &entry.messages {
            self.sequence = self.sequence.max(message.sequence);
            self.messages.push_back(message.clone());
        }
        self.sequence = self.sequence.max(entry.sequence.unwrap_or(0));
        self.series = entry.series.unwrap_or(self.series);
        if let Some(delivered) = entry.delivered {
            self.delivered = self.delivered.max(delivered);
            self.sequence = self.sequence.max(delivered);
            self.messages.retain(|message| message.sequence > delivered);
        }
        if let Some(bare) = entry.bare {
            let old = self.messages.iter_mut().filter(|message| message.sequence <= bare);
            old.for_each(|message| message.detail = Vec::new());
            self.messages
                .retain(|message| message.sequence > bare || message.said.word.is_result());
        }
        if let Some(doubt) = entry.doubt {
            self.doubt = doubt;
        }
        true
    }

    /// Writes down what was decided, then does it.
    pub fn write<H: Hands>(
        &mut self,
        (entry, effects): (Entry, Vec<Effect>),
        hands: &mut H,
    ) -> Result<(), H::Error> {
        hands.keep(&entry)?;
        self.take(&entry);
        for effect in effects {
            if let Some(run) = entry.runs.first() {
                hands.carry_out(run, effect)?;
            }
        }
        Ok(())
    }

    /// The whole book as one entry.
    pub fn whole(&self) -> Entry {
        Entry {
            number: self.number,
            runs: self.runs.values().cloned().collect(),
            messages: self.messages.iter().cloned().collect(),
            delivered: Some(self.delivered),
            forgotten: Vec::new(),
            bare: None,
            doubt: Some(self.doubt),
            sequence: Some(self.sequence),
            series: Some(self.series),
            repeats: (!self.repeats.is_empty()).then(|| self.repeats.values().cloned().collect()),
        }
    }

    /// The series messages belong to now.
    pub fn series(&self) -> u64 {
        self.series
    }

    /// The first entry of a new history.
    pub fn first(series: u64) -> Entry {
        Entry { number: 1, series: Some(series), ..Entry::default() }
    }

    /// The number of the last entry.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// All runs.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    /// One of them.
    pub fn run(&self, id: &RunId) -> Option<&Run> {
        self.runs.get(id)
    }

    /// The run that is under way; there is never more than one.
    pub fn under_way(&self) -> Option<&Run> {
        self.runs.values().find(|run| run.is_under_way())
    }

    /// What waits to be delivered, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }

    /// The greatest sequence number given out, and the greatest delivered.
    pub fn sequences(&self) -> (u64, u64) {
        (self.sequence, self.delivered)
    }

    /// Whether there may have been runs that nothing here knows of.
    pub fn is_in_doubt(&self) -> bool {
        self.doubt
    }

    /// An order is to begin: what to write down, and what to do then.
    pub fn begin(
        &self,
        order: Order,
        now: Now,
        clock: i64,
    ) -> Result<(Entry, Vec<Effect>), Refused> {
        if let Some(run) = self.under_way() {
            return Err(Refused::UnderWay(run.order.id.clone()));
        }
        if self.runs.contains_key(&order.id) {
            return Err(Refused::Before(order.id));
        }
        let (run, effects) = Run::begin(order, self.doubt);
        Ok(self.entry(run, effects, now, clock, Vec::new()))
    }

    /// An order is carried out already, by whomever.
    pub fn there(
        &self,
        order: Order,
        now: Now,
        clock: i64,
    ) -> Result<(Entry, Vec<Effect>), Refused> {
        if self.runs.contains_key(&order.id) {
            return Err(Refused::Before(order.id));
        }
        let (run, effects) = Run::there(order);
        Ok(self.entry(run, effects, now, clock, Vec::new()))
    }

    /// Something happened to a run: what to write down, and what to do then.
    pub fn next(
        &self,
        id: &RunId,
        event: Event,
        happened: Happened,
    ) -> Result<(Entry, Vec<Effect>), Refused> {
        let run = self.runs.get(id).ok_or_else(|| Refused::Unknown(id.clone()))?;
        let begins = matches!(event, Event::Due | Event::Again | Event::Round(_));
        if let Some(other) = self.under_way().filter(|other| begins && other.order.id != *id) {
            return Err(Refused::UnderWay(other.order.id.clone()));
        }
        let Happened { now, clock, dice, detail } = happened;
        let (run, effects) = run.next(event, now, dice)?;
        Ok(self.entry(run, effects, now, clock, detail))
    }

    /// Something is to be told that is about no run, or about none under way.
    pub fn tell(&self, said: Said, now: Now, clock: i64) -> Entry {
        let mut entry = self.blank();
        self.say(&mut entry, said, now, clock);
        entry
    }

    /// What was said again and again, was withheld, and may be told by now; what was said long ago is not remembered.
    pub fn tell_withheld(&self, now: Now, clock: i64) -> Option<Entry> {
        let mut entry = self.blank();
        let mut repeats = Vec::new();
        for (repeat, said) in self.repeats.values().filter_map(|repeat| repeat.later(now)) {
            if let Some(said) = said {
                entry.messages.push(self.message(entry.messages.len(), said, now, clock));
            }
            repeats.push(repeat);
        }
        (!repeats.is_empty()).then_some(Entry { repeats: Some(repeats), ..entry })
    }

    /// What was said more than once.
    pub fn repeats(&self) -> impl Iterator<Item = &Repeat> {
        self.repeats.values()
    }

    /// Messages were delivered.
    pub fn delivered(&self, through: u64) -> Entry {
        Entry { delivered: Some(through), ..self.blank() }
    }

    /// The history is not whole: what begins from now on is looked for first, and messages are a new series.
    pub fn lost(&self, cause: &str, series: u64, now: Now, clock: i64) -> Entry {
        let said = Said {
            word: Word::HistoryLost,
            run: None,
            attempt: 0,
            cause: cause.into(),
            evidence: Box::default(),
            next: "what is deployed is looked for before it is run; what cannot be found waits for a decision".into(),
        };
        let message = Message { series, ..self.message(0, said, now, clock) };
        Entry { messages: vec![message], doubt: Some(true), series: Some(series), ..self.blank() }
    }

    /// Runs of deployments that are gone at the site are forgotten; those under way are not.
    pub fn forget(&self, gone: impl Fn(&RunId) -> bool) -> Option<Entry> {
        let forgotten: Vec<RunId> = self
            .runs
            .values()
            .filter(|run| run.is_finished() && gone(&run.order.id))
            .map(|run| run.order.id.clone())
            .collect();
        (!forgotten.is_empty()).then(|| Entry { forgotten, ..self.blank() })
    }

    /// If messages take more than `limit` bytes, the oldest lose their details, and those that are no results go: with a
    /// count. Results stay.
    pub fn bound(&self, limit: usize, now: Now, clock: i64) -> Option<Entry> {
        let mut held: usize = self.messages.iter().map(Message::weight).sum();
        if held <= limit {
            return None;
        }
        let (mut bare, mut details, mut dropped) = (0, 0, 0);
        for message in &self.messages {
            if held <= limit / 2 {
                break;
            }
            bare = message.sequence;
            if message.said.word.is_result() {
                held -= message.detail.len();
                details += usize::from(!message.detail.is_empty());
            } else {
                held -= message.weight();
                dropped += 1;
            }
        }
        if details + dropped == 0 {
            return None;
        }
        let said = Said {
            word: Word::DetailDropped,
            run: None,
            attempt: 0,
            cause: format!("messages wait that take more than {limit} bytes").into(),
            evidence: format!(
                "{details} lost what a program wrote, {dropped} were of no consequence and went"
            )
            .into(),
            next: "every result is kept and delivered".into(),
        };
        Some(Entry { bare: Some(bare), ..self.tell(said, now, clock) })
    }

    fn message(&self, before: usize, said: Said, now: Now, clock: i64) -> Message {
        let sequence = self.sequence + 1 + before as u64;
        Message { sequence, series: self.series, clock, at: now, said, detail: Vec::new() }
    }

    /// Puts what is said into an entry: as a message, or, where the same was told often enough, as a count. Whether it is a
    /// message.
    fn say(&self, entry: &mut Entry, said: Said, now: Now, clock: i64) -> bool {
        let said = if said.word.is_counted() {
            let before = self.repeats.get(&Repeat::same(&said));
            let (repeat, said) = Repeat::again(before, said, now);
            entry.repeats.get_or_insert_default().push(repeat);
            said
        } else {
            // What comes of a run is the end of what was said again and again about it.
            let about = |(_, run, _): &Same| said.run.is_some() && *run == said.run;
            let before: Vec<&Repeat> =
                self.repeats.iter().filter(|(same, _)| about(same)).map(|(_, one)| one).collect();
            let withheld = before.iter().map(|one| one.withheld).sum();
            if !before.is_empty() {
                entry.repeats.get_or_insert_default().extend(before.iter().map(|one| one.over()));
            }
            Some(repeat::after(&said, withheld))
        };
        let Some(said) = said else { return false };
        entry.messages.push(self.message(entry.messages.len(), said, now, clock));
        true
    }

    fn blank(&self) -> Entry {
        Entry { number: self.number + 1, ..Entry::default() }
    }

    fn entry(
        &self,
        run: Run,
        effects: Vec<Effect>,
        now: Now,
        clock: i64,
        detail: Vec<u8>,
    ) -> (Entry, Vec<Effect>) {
        let run = Run { clock, entry: self.number + 1, ..run };
        let mut entry = Entry { runs: vec![run], ..self.blank() };
        let mut rest = Vec::new();
        let mut is_last_told = false;
        for effect in effects {
            match effect {
                Effect::Say(said) => is_last_told = self.say(&mut entry, said, now, clock),
                other => rest.push(other),
            }
        }
        // What the program wrote goes with the last word about it.
        if let Some(last) = entry.messages.last_mut().filter(|_| is_last_told) {
            last.detail = detail;
        }
        (entry, rest)
    }
}

/// When an event happened, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// On the steady clock.
    pub now: Now,
    /// On the wall, in seconds since 1970.
    pub clock: i64,
    /// Any even number.
    pub dice: u64,
    /// What the program wrote, as far as it is kept.
    pub detail: Vec<u8>,
}
