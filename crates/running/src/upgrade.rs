use std::fmt;

use minicbor::{Decode, Encode};
use model::{Hash, Version};
use serde::{Deserialize, Serialize};

/// After so many starts that came to nothing a version is taken back for good.
const TRIES: u32 = 3;
/// After so many cuts from outside, the machine's or the guardian's, while it was tried, it is taken back, and not blamed.
const CUTS: u32 = 5;
/// So long a version has to show that it lives, in milliseconds.
const PROOF: u64 = 120_000;

/// One version of the agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Edition {
    /// The name of its folder.
    #[n(0)]
    pub name: Box<str>,
    /// The digest of its program.
    #[n(1)]
    pub digest: Hash,
}

impl Edition {
    /// Whether it comes after another one: its name is its version.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        Version::new(self.name.clone()) > Version::new(other.name.clone())
    }
}

/// Where an upgrade may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To what is newer: whoever offers what runs, or what was before it, changes nothing. So sites of different versions do
    /// not pull a client to and fro.
    Up,
    /// To what was asked for, even if it is older.
    Any,
}

/// An upgrade that is under way: written down before anything is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Upgrade {
    /// What runs.
    #[n(0)]
    pub from: Edition,
    /// What is to run.
    #[n(1)]
    pub to: Edition,
    /// How far it has come.
    #[n(2)]
    pub stage: UpgradeStage,
    /// Starts that came to nothing, one after the other.
    #[n(3)]
    pub tries: u32,
    /// Times the machine or the guardian went down while it was tried.
    #[n(4)]
    pub cuts: u32,
}

/// How far an upgrade has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum UpgradeStage {
    /// It is prepared, and has proved itself as far as it can without being at work.
    #[n(0)]
    Wanted,
    /// It is being tried.
    #[n(1)]
    Trying,
    /// It lives, and has not reached its site yet. That is no reason to take it back.
    #[n(2)]
    Provisional,
    /// It is being taken back, and is to blame.
    #[n(3)]
    Condemned,
    /// It is being taken back, and nobody knows whether it is to blame.
    #[n(4)]
    CutOff,
}

/// What a version showed of itself.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode,
)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Proof {
    /// It holds its lock and has read its history.
    #[n(0)]
    Local,
    /// Its site has answered it.
    #[n(1)]
    Site,
}

/// Something that happened to the guardian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeEvent {
    /// It has just started, for the first time or after a crash; no agent runs.
    Began,
    /// The agent ended.
    Ended,
    /// The agent showed that it lives.
    Proved(Proof),
    /// The agent did not show it in time.
    Overdue,
}

/// What the guardian does; each is durable before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Write down how far the upgrade has come; none is under way for `None`.
    Keep(Option<Upgrade>),
    /// Let what is started from now on be this one.
    Flip(Edition),
    /// Never take a program of this digest again.
    Condemn(Hash),
    /// Leave word for the agent, which tells the site.
    Tell(Verdict),
    /// End the agent.
    End,
    /// Start the agent; it has so many milliseconds to show that it lives, or no limit.
    Start(Option<u64>),
}

/// What came of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Verdict {
    /// What ran before.
    #[n(0)]
    pub from: Edition,
    /// What was tried.
    #[n(1)]
    pub to: Edition,
    /// Whether it is at work.
    #[n(2)]
    pub is_at_work: bool,
    /// Why not, or what is known of it.
    #[n(3)]
    pub cause: Box<str>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, cause, .. } = self;
        if self.is_at_work {
            write!(f, "agent {} is at work, in place of {}", to.name, from.name)
        } else {
            write!(f, "agent {} is back at work, {} is not: {cause}", from.name, to.name)
        }
    }
}

impl Upgrade {
    /// An upgrade is wanted. One that failed before is not tried again, and one at a time; back only if that is meant.
    pub fn want(
        from: Edition,
        to: Edition,
        direction: Direction,
        under_way: Option<&Self>,
        condemned: impl Fn(&Hash) -> bool,
    ) -> Option<Self> {
        let is_new = to.digest != from.digest
            && to.name != from.name
            && (direction == Direction::Any || to.is_newer_than(&from));
        (is_new && under_way.is_none() && !condemned(&to.digest)).then_some(Self {
            from,
            to,
            stage: UpgradeStage::Wanted,
            tries: 0,
            cuts: 0,
        })
    }

    /// What an event leads to. `under_way` is what was written down, read again.
    pub fn next(under_way: Option<Self>, event: UpgradeEvent) -> Vec<Act> {
        let Some(upgrade) = under_way else {
            return match event {
                UpgradeEvent::Began | UpgradeEvent::Ended => vec![Act::Start(None)],
                UpgradeEvent::Proved(_) | UpgradeEvent::Overdue => Vec::new(),
            };
        };
        match (upgrade.stage, event) {
            (UpgradeStage::Wanted, UpgradeEvent::Began | UpgradeEvent::Ended) => {
                Self { stage: UpgradeStage::Trying, ..upgrade }.start()
            }
            (UpgradeStage::Trying | UpgradeStage::Provisional, UpgradeEvent::Began) => {
                let cut = Self { cuts: upgrade.cuts + 1, ..upgrade };
                if cut.cuts >= CUTS && cut.stage == UpgradeStage::Trying {
                    Self { stage: UpgradeStage::CutOff, ..cut }.take_back(true)
                } else {
                    cut.start()
                }
            }
            (UpgradeStage::Trying | UpgradeStage::Provisional, UpgradeEvent::Ended) => {
                upgrade.failed()
            }
            (UpgradeStage::Trying, UpgradeEvent::Overdue) => {
                let mut acts = vec![Act::End];
                acts.extend(upgrade.failed());
                acts
            }
            (UpgradeStage::Trying, UpgradeEvent::Proved(Proof::Local)) => {
                let stage = UpgradeStage::Provisional;
                vec![Act::Keep(Some(Self { stage, tries: 0, ..upgrade }))]
            }
            (
                UpgradeStage::Trying | UpgradeStage::Provisional,
                UpgradeEvent::Proved(Proof::Site),
            ) => {
                let verdict = upgrade.verdict(true, "");
                vec![Act::Tell(verdict), Act::Keep(None)]
            }
            (
                UpgradeStage::Condemned | UpgradeStage::CutOff,
                UpgradeEvent::Began | UpgradeEvent::Ended,
            ) => upgrade.take_back(false),
            _ => Vec::new(),
        }
    }

    /// It is tried, or tried again: counted before it starts.
    fn start(self) -> Vec<Act> {
        let to = self.to.clone();
        // One that lives, and only waits for its site, has no limit.
        let limit = (self.stage == UpgradeStage::Trying).then_some(PROOF);
        vec![Act::Keep(Some(self)), Act::Flip(to), Act::Start(limit)]
    }

    fn failed(self) -> Vec<Act> {
        let failed = Self { tries: self.tries + 1, ..self };
        if failed.tries >= TRIES {
            Self { stage: UpgradeStage::Condemned, ..failed }.take_back(true)
        } else {
            failed.start()
        }
    }

    fn take_back(self, is_new: bool) -> Vec<Act> {
        let is_condemned = self.stage == UpgradeStage::Condemned;
        let cause = if is_condemned {
            format!(
                "it did not live {TRIES} times in a row; a program of its digest is not taken again"
            )
        } else {
            format!("the machine went down {CUTS} times while it was tried; it may be tried again")
        };
        let verdict = self.verdict(false, &cause);
        let (from, digest) = (self.from.clone(), self.to.digest);
        let mut acts = Vec::new();
        if is_new {
            acts.push(Act::Keep(Some(self)));
        }
        acts.extend(is_condemned.then_some(Act::Condemn(digest)));
        acts.extend([Act::Flip(from), Act::Tell(verdict), Act::Keep(None), Act::Start(None)]);
        acts
    }

    fn verdict(&self, is_at_work: bool, cause: &str) -> Verdict {
        Verdict { from: self.from.clone(), to: self.to.clone(), is_at_work, cause: cause.into() }
    }
}
