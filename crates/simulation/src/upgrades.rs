//! An agent that is upgraded while the machine goes down at any moment. The decisions are `running`'s.

use std::collections::BTreeSet;

use model::Hash;
use running::{Act, Direction, Edition, Proof, Upgrade, UpgradeEvent, Verdict};

use crate::Dice;

/// How a version behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// It works.
    Good,
    /// It ends at once.
    Dies,
    /// It does nothing.
    Hangs,
    /// It shows that it lives, and dies then.
    DiesLater,
}

/// What came of an upgrade.
#[derive(Clone, Debug, Default)]
pub struct UpgradeHistory {
    /// What happened, if a transcript was wanted.
    pub transcript: Vec<String>,
    /// Promises that were broken.
    pub broken: Vec<String>,
    /// Times the machine or the guardian went down.
    pub crashes: u64,
    /// Whether the new version is at work at the end.
    pub is_upgraded: bool,
}

/// What is on disk: each change is there whole, or not at all.
struct Machine {
    current: Edition,
    upgrade: Option<Upgrade>,
    condemned: BTreeSet<Hash>,
    told: Vec<Verdict>,
    /// The agent that runs, and whether it has a limit.
    running: Option<(Edition, bool)>,
    quality: Quality,
    new: Edition,
    old: Edition,
    history: UpgradeHistory,
    transcript: bool,
}

/// One history of an upgrade: trouble, then calm.
pub fn run_upgrade_seed(seed: u64, transcript: bool) -> UpgradeHistory {
    let mut dice = Dice::new(seed);
    let qualities = [Quality::Good, Quality::Dies, Quality::Hangs, Quality::DiesLater];
    let quality = dice.pick(&qualities).copied().unwrap_or(Quality::Good);
    let edition = |name: &str| Edition { name: name.into(), digest: Hash::of(name.as_bytes()) };
    let (old, new) = (edition("1"), edition("2"));
    let mut machine = Machine {
        current: old.clone(),
        upgrade: None,
        condemned: BTreeSet::new(),
        told: Vec::new(),
        running: None,
        quality,
        new,
        old,
        history: UpgradeHistory::default(),
        transcript,
    };
    // None before the guardian has started.
    let mut event = Some(UpgradeEvent::Began);
    for round in 0..400_u32 {
        let is_calm = round > 100;
        let happens =
            event.take().or_else(|| machine.agent_does(is_calm || dice.chance(40), &mut dice));
        let Some(happens) = happens else { continue };
        let fuse = (!is_calm && dice.chance(30)).then(|| dice.below(5));
        if !machine.guardian(happens, fuse) {
            machine.history.crashes += 1;
            machine.running = None;
            event = Some(UpgradeEvent::Began);
        }
    }
    machine.finally()
}

impl Machine {
    fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.transcript {
            self.history.transcript.push(text());
        }
    }

    /// What the agent that runs does next, if anything.
    fn agent_does(&mut self, is_online: bool, dice: &mut Dice) -> Option<UpgradeEvent> {
        let (edition, has_limit) = self.running.clone()?;
        let is_new = edition == self.new;
        if !is_new {
            // The old one prepares the new one, once nothing runs, and ends.
            let wanted = Upgrade::want(
                edition,
                self.new.clone(),
                Direction::Any,
                self.upgrade.as_ref(),
                |digest| self.condemned.contains(digest),
            )?;
            self.upgrade = Some(wanted);
            self.running = None;
            return Some(UpgradeEvent::Ended);
        }
        match self.quality {
            Quality::Hangs => has_limit.then_some(UpgradeEvent::Overdue),
            Quality::DiesLater if dice.chance(50) => Some(UpgradeEvent::Proved(Proof::Local)),
            Quality::Dies | Quality::DiesLater => {
                self.running = None;
                Some(UpgradeEvent::Ended)
            }
            Quality::Good if is_online => Some(UpgradeEvent::Proved(Proof::Site)),
            Quality::Good => Some(UpgradeEvent::Proved(Proof::Local)),
        }
    }

    /// Carries out what an event leads to; whether it came to the end of it.
    fn guardian(&mut self, event: UpgradeEvent, fuse: Option<u64>) -> bool {
        self.tell(|| format!("{event:?}"));
        let acts = Upgrade::next(self.upgrade.clone(), event);
        for (number, act) in (0..).zip(acts) {
            if fuse == Some(number) {
                self.tell(|| "goes down".to_owned());
                return false;
            }
            self.act(act);
        }
        true
    }

    fn act(&mut self, act: Act) {
        self.tell(|| format!("  {act:?}"));
        match act {
            Act::Keep(upgrade) => self.upgrade = upgrade,
            Act::Flip(edition) => self.current = edition,
            Act::Condemn(digest) => {
                self.condemned.insert(digest);
            }
            Act::Tell(verdict) => {
                // Left again after a crash it is the same word.
                if self.told.last() != Some(&verdict) {
                    self.told.push(verdict);
                }
            }
            Act::End => self.running = None,
            Act::Start(limit) => {
                if self.running.is_some() {
                    self.history.broken.push("two agents run".to_owned());
                }
                if self.condemned.contains(&self.current.digest) {
                    self.history.broken.push("a condemned version is started".to_owned());
                }
                self.running = Some((self.current.clone(), limit.is_some()));
            }
        }
    }

    fn finally(mut self) -> UpgradeHistory {
        let is_new = self.current == self.new;
        let mut broken = Vec::new();
        match &self.running {
            None => broken.push("no agent runs".to_owned()),
            Some((edition, _)) if *edition != self.current => {
                broken.push("another version runs than the current one".to_owned());
            }
            Some(_) => {}
        }
        let last = self.told.last().map(|verdict| verdict.is_at_work);
        match self.quality {
            Quality::Good if self.condemned.contains(&self.new.digest) => {
                broken.push("a good version is condemned".to_owned());
            }
            Quality::Good if !is_new => broken.push("a good version is not at work".to_owned()),
            Quality::Good => {}
            bad if self.current != self.old => {
                broken.push(format!("a version that is {bad:?} is at work"));
            }
            _ => {}
        }
        if let Some(upgrade) = &self.upgrade {
            broken.push(format!("it is still under way: {upgrade:?}"));
        }
        if last != Some(is_new) {
            broken.push(format!("the site heard {last:?}"));
        }
        self.history.broken.extend(broken);
        self.history.is_upgraded = is_new;
        self.history
    }
}
