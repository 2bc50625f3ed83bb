use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Now, RunId};

/// What a message is about. The numbers never get another meaning.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode,
)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Word {
    /// A program is about to be started.
    #[n(1)]
    Starting,
    /// A run came to its end: done.
    #[n(2)]
    Done,
    /// A run came to its end: failed.
    #[n(3)]
    Failed,
    /// A run came to its end: not wanted any more.
    #[n(4)]
    Withdrawn,
    /// A run is tried again later.
    #[n(5)]
    Waiting,
    /// A run waits for a decision.
    #[n(6)]
    Held,
    /// A program began, and nobody saw how it ended.
    #[n(7)]
    Interrupted,
    /// The history of runs is not whole.
    #[n(8)]
    HistoryLost,
    /// A document, or a part of it, cannot be used.
    #[n(9)]
    Refused,
    /// Details of messages went, so that the disk does not fill.
    #[n(10)]
    DetailDropped,
    /// Another version of the agent is at work.
    #[n(11)]
    Upgraded,
    /// Another version of the agent was tried, and is not at work.
    #[n(12)]
    UpgradeTakenBack,
    /// Content could not be had.
    #[n(13)]
    NoContent,
    /// A run came to its end: it is nothing for this machine.
    #[n(14)]
    NotApplicable,
}

impl Word {
    /// Its number.
    pub fn number(self) -> u32 {
        match self {
            Self::Starting => 1,
            Self::Done => 2,
            Self::Failed => 3,
            Self::Withdrawn => 4,
            Self::Waiting => 5,
            Self::Held => 6,
            Self::Interrupted => 7,
            Self::HistoryLost => 8,
            Self::Refused => 9,
            Self::DetailDropped => 10,
            Self::Upgraded => 11,
            Self::UpgradeTakenBack => 12,
            Self::NoContent => 13,
            Self::NotApplicable => 14,
        }
    }

    /// Whether it is a result: it is delivered, however little room there is.
    pub fn is_result(self) -> bool {
        !matches!(self, Self::Starting | Self::Waiting)
    }

    /// Whether the same, said again and again, is told six times an hour at most, and counted otherwise. What came of a run,
    /// and what somebody has to decide, is told each time.
    pub fn is_counted(self) -> bool {
        matches!(self, Self::Starting | Self::Waiting | Self::Refused | Self::NoContent)
    }
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Said {
    /// What about.
    #[n(0)]
    pub word: Word,
    /// About which run.
    #[n(1)]
    pub run: Option<RunId>,
    /// Which attempt of it.
    #[n(2)]
    pub attempt: u32,
    /// Why.
    #[n(3)]
    pub cause: Box<str>,
    /// What shows it.
    #[n(4)]
    pub evidence: Box<str>,
    /// What happens next, or what somebody can do.
    #[n(5)]
    pub next: Box<str>,
}

/// Something said, on its way to the site: delivered once and in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Message {
    /// From 1, one more each time, never given out again in its series: with the client's identity and the series it names
    /// the message.
    #[n(0)]
    pub sequence: u64,
    /// Any number; another one when the history of runs was lost.
    #[n(5)]
    pub series: u64,
    /// Seconds since 1970 by the client's clock, which may lie.
    #[n(1)]
    pub clock: i64,
    /// When it was said, on the steady clock.
    #[n(2)]
    pub at: Now,
    /// What.
    #[n(3)]
    pub said: Said,
    /// What the program wrote: its beginning and its end.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(with = "as_text")]
    pub detail: Vec<u8>,
}

impl Message {
    /// What it takes on disk, nearly.
    pub fn weight(&self) -> usize {
        let said = &self.said;
        64 + said.cause.len() + said.evidence.len() + said.next.len() + self.detail.len()
    }
}

/// What a program wrote, for people: bytes that are no text are shown as such.
mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(detail: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&String::from_utf8_lossy(detail))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<u8>, D::Error> {
        String::deserialize(from).map(String::into_bytes)
    }
}
