//! Everything about an agent, for one screen.

use std::fmt::Write as _;

use deployment::{Item, Standing};
use running::{Book, Event, Message, Run, RunId, Stage};
use serde::{Deserialize, Serialize};

use super::{Agent, choose::run_id};
use crate::{
    clock,
    control::{Asked, Request},
};

/// Everything about an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process; none if it does not run.
    pub process: Option<u32>,
    /// For how many seconds it runs.
    pub seconds: Option<u64>,
    /// Who this client is.
    pub client: String,
    /// Whose it is.
    pub site: String,
    /// Seconds since the site was asked last.
    pub asked: Option<u64>,
    /// Why it did not answer.
    pub unreachable: Option<String>,
    /// Seconds until it is asked again.
    pub asks_in: u64,
    /// Which policy document is in force.
    pub policy: Option<String>,
    /// The installer that is waited for, and for how many seconds.
    pub waits_for: Option<(String, u64)>,
    /// Why nothing is decided: the disk is full, since so many seconds.
    pub full: Option<(String, u64)>,
    /// The restart of the machine that is owed: for what, and when it happens.
    #[serde(default)]
    pub restart: Option<String>,
    /// What was run, is run, and waits.
    pub runs: Vec<Listed>,
    /// What is deployed here and neither runs nor is done.
    pub deployed: Vec<Deployed>,
    /// How many messages wait to be delivered.
    pub messages: usize,
    /// Whether there may have been runs that nothing here knows of.
    pub history_lost: bool,
    /// What else should be known.
    pub notes: Vec<String>,
}

/// A run, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listed {
    /// Which.
    pub id: RunId,
    /// In what stage.
    pub state: String,
    /// Which attempt.
    pub attempt: u32,
    /// Why, and what happens next.
    pub text: String,
    /// As which process it runs.
    pub process: Option<u32>,
    /// Milliseconds until it is tried again.
    pub due: Option<u64>,
}

/// Something deployed, and why it does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deployed {
    /// Which.
    pub id: RunId,
    /// What it waits for, since when, until when; or in what state it is.
    pub text: String,
    /// What makes the wait shorter.
    pub hasten: Option<String>,
}

impl Deployed {
    /// Unless a run says it already.
    fn of(item: &Item, book: &Book) -> Option<Self> {
        let id = run_id(&item.key);
        let is_run = book.run(&id).is_some();
        let hasten = match &item.standing {
            Standing::Due | Standing::Running | Standing::Done(_) => return None,
            Standing::Waiting(wait) => Some(wait.what.hasten(&item.key.deployment)),
            _ if is_run => return None,
            _ => None,
        };
        Some(Self { id, text: item.standing.to_string(), hasten })
    }
}

impl Listed {
    fn of(run: &Run) -> Self {
        let (text, process) = match &run.stage {
            Stage::Waiting { cause, .. } => (cause.to_string(), None),
            Stage::Held { question } => (question.to_string(), None),
            Stage::Finished { outcome: running::Outcome::Failed { cause }, .. } => {
                (cause.to_string(), None)
            }
            Stage::Finished { label: Some(label), .. } => (label.to_string(), None),
            Stage::Restarting { end, .. } | Stage::Ended { end } => (end.to_string(), None),
            Stage::Started { process } => (String::new(), Some(process.pid)),
            Stage::Looking | Stage::Intended | Stage::Finished { .. } => (String::new(), None),
        };
        Self {
            id: run.order.id.clone(),
            state: run.stage.word().to_owned(),
            attempt: run.attempt,
            text,
            process,
            due: run.due(clock::now()),
        }
    }
}

impl Status {
    /// What the history alone says, where no agent runs.
    pub fn of_book(book: &Book) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            runs: book.runs().map(Listed::of).collect(),
            messages: book.messages().count(),
            history_lost: book.is_in_doubt(),
            ..Self::default()
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = match (self.process, self.seconds) {
            (Some(process), Some(seconds)) => {
                writeln!(text, "agent {}, process {process}, for {}", self.version, span(seconds))
            }
            _ => writeln!(text, "no agent runs here; what follows is its history"),
        };
        if !self.client.is_empty() {
            let _ = writeln!(text, "client {} of site {}", self.client, self.site);
            let _ = match (&self.asked, &self.unreachable) {
                (None, _) => writeln!(text, "site: not asked yet"),
                (Some(asked), None) => writeln!(
                    text,
                    "site: answered {} ago; is asked again in {}",
                    span(*asked),
                    span(self.asks_in)
                ),
                (Some(asked), Some(why)) => writeln!(
                    text,
                    "site: {why}, {} ago; is asked again in {}, or now: packhorse-agent check-in",
                    span(*asked),
                    span(self.asks_in)
                ),
            };
        }
        if let Some(policy) = &self.policy {
            let _ = writeln!(text, "policy document {policy}");
        }
        if self.messages > 0 {
            let _ = writeln!(text, "{} messages wait to be delivered", self.messages);
        }
        if self.history_lost {
            let _ = writeln!(
                text,
                "the history of runs was lost: what cannot be found waits for a decision"
            );
        }
        if let Some((why, seconds)) = &self.full {
            let _ = writeln!(
                text,
                "waits for {} for room on the disk: {why}; looks again by itself, or now: packhorse-agent check-in",
                span(*seconds)
            );
        }
        if let Some((who, seconds)) = &self.waits_for {
            let _ = writeln!(text, "waits for {}: {who}; goes on when it ends", span(*seconds));
        }
        if let Some(restart) = &self.restart {
            let _ = writeln!(text, "{restart}");
        }
        for run in &self.runs {
            let _ = write!(text, "  {:28} {}", run.id.to_string(), run.state);
            if run.attempt > 1 {
                let _ = write!(text, " (attempt {})", run.attempt);
            }
            if let Some(process) = run.process {
                let _ = write!(text, " as process {process}");
            }
            if let Some(due) = run.due {
                let _ = write!(text, ", again in {}", span(due.div_ceil(1000)));
            }
            if !run.text.is_empty() {
                let _ = write!(text, ": {}", run.text);
            }
            let _ = writeln!(text);
        }
        for one in &self.deployed {
            let _ = write!(text, "  {:28} {}", one.id.to_string(), one.text);
            if let Some(hasten) = &one.hasten {
                let _ = write!(text, "; sooner: {hasten}");
            }
            let _ = writeln!(text);
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

impl Agent {
    /// Everything about it.
    pub fn status(&self) -> Status {
        let now = clock::steady();
        let ago = |at: u64| now.saturating_sub(at) / 1000;
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: Some(std::process::id()),
            seconds: crate::platform::process::age(std::process::id()),
            client: self.identity.client.to_string(),
            site: self.identity.site.to_string(),
            asked: self.asked.as_ref().map(|(at, _)| ago(*at)),
            unreachable: self.asked.as_ref().and_then(|(_, why)| why.clone()),
            asks_in: self.ask_at.saturating_sub(now) / 1000,
            policy: self.document.as_ref().map(|document| document.stamp.to_string()),
            full: self.full.as_ref().map(|full| (full.why.clone(), ago(full.since))),
            waits_for: self.blocked.as_ref().map(|(busy, since)| (busy.sentence(), ago(since.at))),
            restart: self.agenda.restart.as_ref().map(super::restarts::sentence),
            runs: self.book.runs().map(Listed::of).collect(),
            deployed: self
                .agenda
                .items
                .iter()
                .filter_map(|item| Deployed::of(item, &self.book))
                .collect(),
            messages: self.book.messages().count(),
            history_lost: self.book.is_in_doubt(),
            notes: self.notes.clone(),
        }
    }

    /// What it does, in a few words.
    pub(super) fn doing(&self) -> String {
        match (self.book.under_way(), &self.blocked) {
            _ if self.full.is_some() => "waits for room on the disk".to_owned(),
            (Some(run), _) => format!("{}: {}", run.order.id, run.stage.word()),
            (None, Some((busy, _))) => busy.sentence(),
            (None, None) => "idle".to_owned(),
        }
    }

    /// Answers whoever asks.
    pub(super) fn take_control(&mut self) {
        while let Some(Asked { request, answer }) = self.control.next() {
            let said = match request {
                Request::Status => serde_json::to_value(self.status()).unwrap_or_default(),
                Request::Messages => {
                    let messages: Vec<&Message> = self.book.messages().collect();
                    serde_json::to_value(messages).unwrap_or_default()
                }
                Request::CheckIn => {
                    self.ask_now();
                    serde_json::json!({ "done": "the site is asked now" })
                }
                Request::Again { run } => self.decided(&run, Event::Again),
                Request::Accept { run } => self.decided(&run, Event::Accept),
                Request::GiveUp { run } => self.decided(&run, Event::GiveUp),
                Request::Stop { run } => {
                    match self.stop(&run, "somebody asked `packhorse-agent stop`") {
                        Ok(true) => {
                            serde_json::json!({ "done": format!("`{run}` is being stopped") })
                        }
                        Ok(false) => {
                            serde_json::json!({ "refused": format!("`{run}` does not run") })
                        }
                        Err(error) => serde_json::json!({ "refused": model::with_causes(&error) }),
                    }
                }
            };
            answer.give(&said);
        }
    }

    fn decided(&mut self, run: &RunId, event: Event) -> serde_json::Value {
        let now = running::Happened {
            now: clock::now(),
            clock: clock::wall(),
            dice: 0,
            detail: Vec::new(),
        };
        if let Some(full) = &self.full {
            let why = format!("there is no room on the disk: {}", full.why);
            return serde_json::json!({ "refused": why });
        }
        match self.book.next(run, event.clone(), now) {
            Ok(_) => {
                self.events.push_back((run.clone(), event, Vec::new()));
                serde_json::json!({ "done": format!("`{run}` goes on") })
            }
            Err(refused) => serde_json::json!({ "refused": refused.to_string() }),
        }
    }
}
