//! What is said again and again: told a few times, then counted.

use minicbor::{Decode, Encode};

use crate::{Now, RunId, Said, Word};

/// In milliseconds.
const HOUR: u64 = 3_600_000;
/// Until so many were told within an hour, each is told at once.
const AT_ONCE: usize = 3;
/// The next ones are told so many milliseconds apart: with those at once no more than six within any hour.
const APART: u64 = HOUR / 3;

/// What was said more than once: of one kind, about one run or none, with one cause.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Repeat {
    /// As it was said last.
    #[n(0)]
    pub said: Said,
    /// When it was told within the last hour, oldest first. Neither this nor anything withheld: it is over.
    #[n(1)]
    pub told: Vec<Now>,
    /// How often it was said since it was told last.
    #[n(2)]
    pub withheld: u64,
}

/// What is the same if it is said again.
pub(crate) type Same = (Word, Option<RunId>, Box<str>);

impl Repeat {
    pub(crate) fn same(said: &Said) -> Same {
        (said.word, said.run.clone(), said.cause.clone())
    }

    /// It is said, and told if it may be; `before` is what was so far.
    pub(crate) fn again(before: Option<&Self>, said: Said, now: Now) -> (Self, Option<Said>) {
        let told = before.map(|before| before.lately(now)).unwrap_or_default();
        let withheld = before.map_or(0, |before| before.withheld);
        let repeat = Self { said, told, withheld: withheld + 1 };
        if repeat.may_be_told(now) { repeat.tell(now) } else { (repeat, None) }
    }

    /// Nobody said it again, and what was withheld may be told by now, or nothing is left to be remembered.
    pub(crate) fn later(&self, now: Now) -> Option<(Self, Option<Said>)> {
        let repeat = Self { told: self.lately(now), ..self.clone() };
        match (repeat.withheld, repeat.told.is_empty()) {
            (0, true) => Some((repeat, None)),
            (0, false) => None,
            _ => repeat.may_be_told(now).then(|| repeat.tell(now)),
        }
    }

    pub(crate) fn over(&self) -> Self {
        Self { told: Vec::new(), withheld: 0, said: self.said.clone() }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.told.is_empty() && self.withheld == 0
    }

    fn lately(&self, now: Now) -> Vec<Now> {
        self.told.iter().filter(|told| told.left(HOUR, now) > 0).copied().collect()
    }

    fn may_be_told(&self, now: Now) -> bool {
        self.told.len() < AT_ONCE || self.told.last().is_none_or(|last| last.left(APART, now) == 0)
    }

    /// The message stands for the last time it was said, and tells of the others.
    fn tell(self, now: Now) -> (Self, Option<Said>) {
        let said = match self.withheld {
            0 | 1 => self.said.clone(),
            more => {
                with(&self.said, &format!("said {} times more since it was told last", more - 1))
            }
        };
        let mut told = self.told;
        told.push(now);
        (Self { said: self.said, told, withheld: 0 }, Some(said))
    }
}

/// A result says what was withheld before it.
pub(crate) fn after(said: &Said, withheld: u64) -> Said {
    match withheld {
        0 => said.clone(),
        _ => with(said, &format!("{withheld} messages before it were like others, and not told")),
    }
}

fn with(said: &Said, more: &str) -> Said {
    let evidence = match &*said.evidence {
        "" => more.into(),
        evidence => format!("{evidence}; {more}").into(),
    };
    Said { evidence, ..said.clone() }
}
