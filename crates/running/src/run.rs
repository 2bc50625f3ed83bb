use minicbor::{Decode, Encode};
use model::Hash;
use serde::{Deserialize, Serialize};

use crate::{
    Cause, End, Found, Label, Now, Outcome, Pauses, Process, Question, Rerun, RunId, Said, Seen,
    Stage, Word, judge::judge,
};

/// Something to be run once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Order {
    /// Which run.
    #[n(0)]
    pub id: RunId,
    /// The digest of all that is run: an order of other content is another one.
    #[n(1)]
    pub digest: Hash,
    /// Whether it may run once more after it was cut off.
    #[n(2)]
    pub rerun: Rerun,
    /// Whether it restarts the machine, and that is its end.
    #[n(3)]
    pub restarts: bool,
    /// Whether a rule says if it is there.
    #[n(4)]
    pub detects: bool,
    /// What happens when it fails.
    #[n(5)]
    pub pauses: Pauses,
    /// Rises when the site wants it tried again.
    #[n(6)]
    pub round: u32,
    /// Whether the machine restarts when it is done, whatever its exit code says.
    #[n(7)]
    #[cbor(default)]
    #[serde(default)]
    pub restart_after: bool,
}

/// What became of an order so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Run {
    /// What is run.
    #[n(0)]
    pub order: Order,
    /// The number of the attempt that is under way, or was last; 0 before the first.
    #[n(1)]
    pub attempt: u32,
    /// How many of the attempts do not count: it met another installer, was cut off, or somebody wanted it tried again.
    #[n(2)]
    pub free: u32,
    /// How many attempts began and ended with nobody knowing how.
    #[n(3)]
    pub interrupted: u32,
    /// Whether there may have been runs that nothing here knows of.
    #[n(4)]
    pub doubt: bool,
    /// How far it has come.
    #[n(5)]
    pub stage: Stage,
    /// Since when, in seconds since 1970 by the client's clock, which may lie.
    #[n(6)]
    pub clock: i64,
    /// Since which entry of the journal: order is by this.
    #[n(7)]
    pub entry: u64,
}

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its detection rule was asked.
    Seen(Seen),
    /// It runs.
    Launched(Process),
    /// It ended, or could not be started.
    Ended(End),
    /// The agent has just started; if the run may have been started, this became of it.
    Woke(Option<Found>),
    /// Its pause is over, or what it waited for is cured.
    Due,
    /// An operator wants it tried again, whatever was before.
    Again,
    /// The site does: the round is a later one.
    Round(u32),
    /// An operator says that it is as it should be.
    Accept,
    /// An operator gives it up.
    GiveUp,
    /// It is not deployed any more.
    Withdraw,
}

/// Something to be done, once what [`Run::next`] led to is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// This is a message; it is made durable together with the run.
    Say(Said),
    /// Ask the detection rule; [`Event::Seen`] answers.
    Look,
    /// Allow it to begin, and have it started; [`Event::Launched`] or [`Event::Ended`] answers.
    Start,
    /// Wait for its end; [`Event::Ended`] answers.
    Watch(Process),
    /// Nothing of it is needed any more.
    Clear,
}

/// An event that means nothing at this stage. The run is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{id}` is {stage}: `{event}` means nothing there")]
pub struct Illegal {
    id: RunId,
    stage: &'static str,
    event: &'static str,
}

impl Run {
    /// An order is to be carried out. `doubt` is whether the history of runs was lost.
    pub fn begin(order: Order, doubt: bool) -> (Self, Vec<Effect>) {
        Self::new(order, doubt).look()
    }

    /// It was found to be there, and nothing is started.
    pub fn there(order: Order) -> (Self, Vec<Effect>) {
        let outcome = Outcome::Done { restart: None };
        Self::new(order, false).finish(outcome, Some(Label::ThereBefore), "")
    }

    fn new(order: Order, doubt: bool) -> Self {
        let stage = Stage::Looking;
        Self { order, attempt: 0, free: 0, interrupted: 0, doubt, stage, clock: 0, entry: 0 }
    }

    /// What an event leads to. `dice` is any even number; it spreads pauses.
    pub fn next(&self, event: Event, now: Now, dice: u64) -> Result<(Self, Vec<Effect>), Illegal> {
        let illegal = self.illegal(&event);
        let run = self.clone();
        match (&self.stage, event) {
            (Stage::Looking, Event::Seen(seen)) => Ok(run.looked(seen, now, dice)),
            (Stage::Intended, Event::Launched(process)) => Ok(run.launched(process)),
            (Stage::Intended | Stage::Started { .. }, Event::Ended(end)) => Ok(run.ended(end)),
            (Stage::Ended { end }, Event::Seen(seen)) => {
                let end = end.clone();
                Ok(judge(run, end, seen, now, dice))
            }
            (_, Event::Woke(found)) => Ok(run.woke(found, now)),
            (Stage::Waiting { .. }, Event::Due) => Ok(run.look()),
            (_, Event::Again) if self.may_again() => Ok(run.again()),
            (_, Event::Round(round)) if self.may_again() && round > self.order.round => {
                let order = Order { round, ..run.order.clone() };
                Ok(Self { order, ..run }.again())
            }
            (Stage::Waiting { .. } | Stage::Held { .. }, Event::Accept) => {
                Ok(run.finish(Outcome::Done { restart: None }, Some(Label::Accepted), ""))
            }
            (Stage::Waiting { .. } | Stage::Held { .. }, Event::GiveUp) => {
                Ok(run.finish(Outcome::Failed { cause: Cause::GivenUp }, None, ""))
            }
            (Stage::Looking | Stage::Waiting { .. } | Stage::Held { .. }, Event::Withdraw) => {
                Ok(run.finish(Outcome::Withdrawn, None, ""))
            }
            _ => Err(illegal),
        }
    }

    /// Milliseconds until its pause is over, if it pauses.
    pub fn due(&self, now: Now) -> Option<u64> {
        match &self.stage {
            Stage::Waiting { since, pause, .. } => Some(since.left(*pause, now)),
            _ => None,
        }
    }

    /// Whether it is under way: no other may begin.
    pub fn is_under_way(&self) -> bool {
        matches!(
            self.stage,
            Stage::Looking | Stage::Intended | Stage::Started { .. } | Stage::Ended { .. }
        )
    }

    /// Whether it may have been started, and whether it ended is to be found out.
    pub fn may_run(&self) -> bool {
        matches!(self.stage, Stage::Intended | Stage::Started { .. })
    }

    /// Whether it came to its end.
    pub fn is_finished(&self) -> bool {
        matches!(self.stage, Stage::Finished { .. })
    }

    /// Whether it may be tried again.
    pub fn may_again(&self) -> bool {
        match &self.stage {
            Stage::Waiting { .. } | Stage::Held { .. } => true,
            Stage::Finished { outcome, .. } => !matches!(outcome, Outcome::Done { .. }),
            _ => false,
        }
    }

    fn again(self) -> (Self, Vec<Effect>) {
        Self { free: self.attempt, interrupted: 0, doubt: false, ..self }.look()
    }

    fn illegal(&self, event: &Event) -> Illegal {
        let event = match event {
            Event::Seen(_) => "seen",
            Event::Launched(_) => "launched",
            Event::Ended(_) => "ended",
            Event::Woke(_) => "woke",
            Event::Due => "due",
            Event::Again => "again",
            Event::Round(_) => "a later round",
            Event::Accept => "accept",
            Event::GiveUp => "give-up",
            Event::Withdraw => "withdraw",
        };
        Illegal { id: self.order.id.clone(), stage: self.stage.word(), event }
    }

    /// Before anything is started, it is looked for.
    pub(crate) fn look(self) -> (Self, Vec<Effect>) {
        (Self { stage: Stage::Looking, ..self }, vec![Effect::Look])
    }

    fn looked(self, seen: Seen, now: Now, dice: u64) -> (Self, Vec<Effect>) {
        let ask = self.order.rerun == Rerun::Ask;
        match seen {
            Seen::Yes => {
                let label = match (self.doubt, self.interrupted > 0) {
                    (true, _) => Label::HistoryLost,
                    (false, true) => Label::Recovered,
                    (false, false) => Label::ThereBefore,
                };
                let evidence = "its detection rule finds it";
                self.finish(Outcome::Done { restart: None }, Some(label), evidence)
            }
            // What may have run is never run blindly.
            Seen::No | Seen::NoRule | Seen::Unclear(_) if self.doubt && ask => {
                self.hold(Question::HistoryLost { seen })
            }
            Seen::NoRule if self.doubt => self.hold(Question::HistoryLost { seen }),
            // An unclear answer is no `no`.
            Seen::Unclear(why) => {
                let attempt = self.attempt + 1;
                Self { attempt, ..self }.again_later(Cause::Unclear(why), now, dice)
            }
            Seen::No | Seen::NoRule => {
                let run = Self { attempt: self.attempt + 1, stage: Stage::Intended, ..self };
                let said = run.say(Word::Starting, "", "", "its end is awaited");
                (run, vec![Effect::Say(said), Effect::Start])
            }
        }
    }

    fn launched(self, process: Process) -> (Self, Vec<Effect>) {
        (Self { stage: Stage::Started { process }, ..self }, vec![Effect::Watch(process)])
    }

    fn ended(self, end: End) -> (Self, Vec<Effect>) {
        let mut effects = Vec::new();
        let mut run = self;
        if let End::Interrupted { restarted } = end {
            run.interrupted += 1;
            let cause = if restarted {
                "the machine restarted while it ran"
            } else {
                "it ended, and nobody saw how"
            };
            let next = "its detection rule decides";
            effects.push(Effect::Say(run.say(Word::Interrupted, cause, "", next)));
        }
        run.stage = Stage::Ended { end };
        effects.push(Effect::Look);
        (run, effects)
    }

    fn woke(self, found: Option<Found>, now: Now) -> (Self, Vec<Effect>) {
        match (self.stage.clone(), found) {
            (Stage::Intended | Stage::Started { .. }, Some(Found::Running(process))) => {
                self.launched(process)
            }
            (Stage::Intended | Stage::Started { .. }, Some(Found::Ended(end))) => self.ended(end),
            // Nothing of it ever ran: the same attempt begins.
            (Stage::Intended, Some(Found::NeverBegan)) => (self, vec![Effect::Start]),
            (Stage::Intended | Stage::Started { .. }, Some(Found::Gone { restarted })) => {
                self.ended(End::Interrupted { restarted })
            }
            // Started, and nothing is left that shows it: what is left is old.
            (Stage::Started { .. }, Some(Found::NeverBegan) | None) | (Stage::Intended, None) => {
                self.ended(End::Interrupted { restarted: false })
            }
            (Stage::Looking | Stage::Ended { .. }, _) => (self, vec![Effect::Look]),
            (Stage::Restarting { boot, end }, _) if boot != now.boot => {
                (Self { stage: Stage::Ended { end: end.restarted() }, ..self }, vec![Effect::Look])
            }
            _ => (self, Vec::new()),
        }
    }

    pub(crate) fn finish(
        self,
        outcome: Outcome,
        label: Option<Label>,
        evidence: &str,
    ) -> (Self, Vec<Effect>) {
        let (word, cause, next) = match &outcome {
            Outcome::Done { restart: Some(_) } => {
                (Word::Done, String::new(), "the machine should restart")
            }
            Outcome::Done { restart: None } => (Word::Done, String::new(), ""),
            Outcome::Failed { cause } => (
                Word::Failed,
                cause.to_string(),
                "nothing by itself: try it again, or mend the cause",
            ),
            Outcome::Withdrawn => (Word::Withdrawn, "it is not deployed any more".to_owned(), ""),
            Outcome::NotApplicable => {
                (Word::NotApplicable, "it is nothing for this machine".to_owned(), "")
            }
        };
        let evidence = match label {
            Some(label) if evidence.is_empty() => label.to_string(),
            Some(label) => format!("{label}; {evidence}"),
            None => evidence.to_owned(),
        };
        let run = Self { stage: Stage::Finished { outcome, label }, doubt: false, ..self };
        let said = run.say(word, &cause, &evidence, next);
        (run, vec![Effect::Say(said), Effect::Clear])
    }

    pub(crate) fn hold(self, question: Question) -> (Self, Vec<Effect>) {
        let cause = question.to_string();
        let run = Self { stage: Stage::Held { question }, ..self };
        let said = run.say(
            Word::Held,
            &cause,
            "",
            "somebody decides: try it again, accept it, give it up",
        );
        (run, vec![Effect::Say(said), Effect::Clear])
    }

    /// It did not work: again later, as long as there are attempts left.
    pub(crate) fn again_later(self, cause: Cause, now: Now, dice: u64) -> (Self, Vec<Effect>) {
        if self.spent() >= self.order.pauses.attempts {
            return self.finish(Outcome::Failed { cause }, None, "");
        }
        let pause = self.order.pauses.after(self.spent(), dice);
        self.pause(cause, pause, now)
    }

    pub(crate) fn pause(self, cause: Cause, pause: u64, now: Now) -> (Self, Vec<Effect>) {
        let text = cause.to_string();
        let next = format!(
            "attempt {} of {} in {} s",
            self.spent() + 1,
            self.order.pauses.attempts,
            pause.div_ceil(1000)
        );
        let run = Self { stage: Stage::Waiting { since: now, pause, cause }, ..self };
        let said = run.say(Word::Waiting, &text, "", &next);
        (run, vec![Effect::Say(said), Effect::Clear])
    }

    /// It is done, and only the restarted machine will show it.
    pub(crate) fn restart(self, end: End, now: Now) -> (Self, Vec<Effect>) {
        let evidence = end.to_string();
        let run = Self { stage: Stage::Restarting { boot: now.boot, end }, ..self };
        let cause = "the machine has to restart first";
        let said =
            run.say(Word::Waiting, cause, &evidence, "its detection rule is asked again then");
        (run, vec![Effect::Say(said), Effect::Clear])
    }

    /// How many attempts count.
    pub fn spent(&self) -> u32 {
        self.attempt.saturating_sub(self.free)
    }

    fn say(&self, word: Word, cause: &str, evidence: &str, next: &str) -> Said {
        Said {
            word,
            run: Some(self.order.id.clone()),
            attempt: self.attempt,
            cause: cause.into(),
            evidence: evidence.into(),
            next: next.into(),
        }
    }
}
