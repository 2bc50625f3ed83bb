use std::fmt;

use minicbor::{Decode, Encode};
use model::ExitMeaning;
use serde::{Deserialize, Serialize};

use crate::{BootId, Now, Process};

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Its detection rule is asked, before anything is started.
    #[n(0)]
    Looking,
    /// It may be started, and may have been.
    #[n(1)]
    Intended,
    /// It runs.
    #[n(2)]
    Started {
        /// As which process.
        #[n(0)]
        process: Process,
    },
    /// It ended; its detection rule is asked.
    #[n(3)]
    Ended {
        /// How.
        #[n(0)]
        end: End,
    },
    /// It is done when the machine has restarted.
    #[n(4)]
    Restarting {
        /// In which start of the machine it ended.
        #[n(0)]
        boot: BootId,
        /// How.
        #[n(1)]
        end: End,
    },
    /// It is tried again after a pause.
    #[n(5)]
    Waiting {
        /// Since when.
        #[n(0)]
        since: Now,
        /// How long, in milliseconds.
        #[n(1)]
        pause: u64,
        /// Why.
        #[n(2)]
        cause: Cause,
    },
    /// Somebody has to decide.
    #[n(6)]
    Held {
        /// What.
        #[n(0)]
        question: Question,
    },
    /// It came to its end.
    #[n(7)]
    Finished {
        /// Which.
        #[n(0)]
        outcome: Outcome,
        /// What should be known about it.
        #[n(1)]
        label: Option<Label>,
    },
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// By itself, and all it started with it.
    #[n(0)]
    Exit {
        /// Its exit code; none if a signal ended it.
        #[n(0)]
        code: Option<i32>,
        /// What that means.
        #[n(1)]
        meaning: ExitMeaning,
        /// The same in words.
        #[n(2)]
        text: Box<str>,
    },
    /// It found another installer at work. That costs no attempt.
    #[n(1)]
    Busy {
        /// Whom.
        #[n(0)]
        who: Box<str>,
    },
    /// It took longer than it may, and was stopped.
    #[n(2)]
    Limit {
        /// How long it may take, in seconds.
        #[n(0)]
        seconds: u32,
    },
    /// Somebody had it stopped.
    #[n(3)]
    Stopped {
        /// Who, and why.
        #[n(0)]
        why: Box<str>,
    },
    /// It began, and nobody saw how it ended.
    #[n(4)]
    Interrupted {
        /// Whether the machine restarted meanwhile.
        #[n(0)]
        restarted: bool,
    },
    /// It could not be started: nothing of it ever ran.
    #[n(5)]
    NotStarted {
        /// Why.
        #[n(0)]
        why: Box<str>,
    },
    /// It says that it is nothing for this machine.
    #[n(6)]
    NotApplicable {
        /// In words.
        #[n(0)]
        text: Box<str>,
    },
}

/// What a detection rule answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// It is there.
    #[n(0)]
    Yes,
    /// It is not.
    #[n(1)]
    No,
    /// The rule has no answer, and that is not a no.
    #[n(2)]
    Unclear(#[n(0)] Box<str>),
    /// There is no rule.
    #[n(3)]
    NoRule,
}

/// What became of a program that may have been started, as one finds it later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It never began, and will not any more: what allowed it was taken back.
    NeverBegan,
    /// It runs.
    Running(Process),
    /// It ended, and left word how.
    Ended(End),
    /// It began, does not run, and left no word.
    Gone {
        /// Whether the machine restarted since it began.
        restarted: bool,
    },
}

/// Why something is tried again, or was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The program ended in a way that is no success.
    #[n(0)]
    Ended(#[n(0)] End),
    /// It says that it is done, and its detection rule does not find it.
    #[n(1)]
    NotFoundAfter(#[n(0)] End),
    /// The detection rule has no answer.
    #[n(2)]
    Unclear(#[n(0)] Box<str>),
    /// An operator gave it up.
    #[n(3)]
    GivenUp,
}

/// What somebody has to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// It was cut off: may it run once more?
    #[n(0)]
    Interrupted {
        /// What the detection rule said.
        #[n(0)]
        seen: Seen,
    },
    /// The history of runs was lost: did it run?
    #[n(1)]
    HistoryLost {
        /// What the detection rule said.
        #[n(0)]
        seen: Seen,
    },
}

/// How a run came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is as it should be.
    #[n(0)]
    Done {
        /// In which start of the machine, if it counts once the machine has restarted.
        #[n(0)]
        restart: Option<BootId>,
    },
    /// It is not, and is not tried again by itself.
    #[n(1)]
    Failed {
        /// Why.
        #[n(0)]
        cause: Cause,
    },
    /// It is not wanted any more; it had not been started.
    #[n(2)]
    Withdrawn,
    /// It is nothing for this machine, and no failure.
    #[n(3)]
    NotApplicable,
}

/// What should be known about an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Label {
    /// It was there before anything was started.
    #[n(0)]
    ThereBefore,
    /// It was cut off, and its detection rule finds it.
    #[n(1)]
    Recovered,
    /// It was cut off by the restart of the machine that was said to be its end.
    #[n(2)]
    RestartedAsSaid,
    /// Its exit code says that it failed, and its detection rule finds it.
    #[n(3)]
    ExitOverruled,
    /// The history of runs was lost; its detection rule finds it.
    #[n(4)]
    HistoryLost,
    /// Somebody said so.
    #[n(5)]
    Accepted,
    /// It had been cut off before, and was run once more.
    #[n(6)]
    RanAgain,
}

impl Stage {
    /// The stage in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Looking => "looked for",
            Self::Intended => "about to start",
            Self::Started { .. } => "running",
            Self::Ended { .. } => "looked for after its end",
            Self::Restarting { .. } => "waiting for a restart of the machine",
            Self::Waiting { .. } => "waiting to be tried again",
            Self::Held { .. } => "held",
            Self::Finished { outcome: Outcome::Done { .. }, .. } => "done",
            Self::Finished { outcome: Outcome::Failed { .. }, .. } => "failed",
            Self::Finished { outcome: Outcome::Withdrawn, .. } => "withdrawn",
            Self::Finished { outcome: Outcome::NotApplicable, .. } => "not applicable",
        }
    }
}

impl End {
    /// The same, after the machine restarted.
    pub(crate) fn restarted(self) -> Self {
        match self {
            Self::Exit { code, meaning: ExitMeaning::Restart, text } => {
                Self::Exit { code, meaning: ExitMeaning::Done, text }
            }
            other => other,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit { code: Some(code), text, .. } => write!(f, "exit code {code}: {text}"),
            Self::Exit { code: None, text, .. } | Self::NotApplicable { text } => f.write_str(text),
            Self::Busy { who } => write!(f, "{who} was at work"),
            Self::Limit { seconds } => {
                write!(
                    f,
                    "it took longer than {seconds} s and was stopped, with all it had started"
                )
            }
            Self::Stopped { why } => write!(f, "it was stopped: {why}"),
            Self::Interrupted { restarted: true } => {
                f.write_str("the machine restarted while it ran")
            }
            Self::Interrupted { restarted: false } => f.write_str("it ended, and nobody saw how"),
            Self::NotStarted { why } => write!(f, "it could not be started: {why}"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("its detection rule finds it"),
            Self::No => f.write_str("its detection rule does not find it"),
            Self::Unclear(why) => write!(f, "its detection rule has no answer: {why}"),
            Self::NoRule => f.write_str("it has no detection rule"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(end) => end.fmt(f),
            Self::NotFoundAfter(end) => write!(f, "{end}; and its detection rule does not find it"),
            Self::Unclear(why) => write!(f, "its detection rule has no answer: {why}"),
            Self::GivenUp => f.write_str("it was given up by hand"),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted { seen } => write!(f, "it was cut off, and {seen}"),
            Self::HistoryLost { seen } => {
                write!(f, "the history of runs was lost, and {seen}: it may have run")
            }
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ThereBefore => "it was there before, and nothing was started",
            Self::Recovered => "it was cut off, and is there all the same",
            Self::RestartedAsSaid => "the machine restarted while it ran, as it was said to",
            Self::ExitOverruled => "its detection rule finds it, whatever its exit code says",
            Self::HistoryLost => "the history of runs was lost; it is there",
            Self::Accepted => "accepted by hand",
            Self::RanAgain => "it had been cut off, and ran once more",
        })
    }
}
