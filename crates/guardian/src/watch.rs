use std::{ffi::OsString, io, process::Command, time::Duration};

use running::{Act, Proof, Upgrade, UpgradeEvent};

use crate::{
    home::Home,
    platform::{Agent, Waits, ready},
};

/// An agent that ends is started again after this, in seconds, twice as long each time, and at most so long.
const PAUSE: (u64, u64) = (1, 300);
/// An agent that is to end has so many seconds for it.
const GRACE: Duration = Duration::from_secs(20);

struct Guardian<'a> {
    home: &'a Home,
    arguments: &'a [OsString],
    agent: Option<Agent>,
    waits: Waits,
    /// What the agent that runs has shown so far.
    seen: Option<Proof>,
    ends: u32,
    is_ending: bool,
}

/// What happened.
pub(crate) enum Woken {
    /// The agent ended.
    Ended,
    /// What was set.
    Time,
    /// Something in the home has another name.
    Folder,
    /// We are to end.
    Asked,
}

/// Watches over the agent until asked to end.
pub(crate) fn watch(home: &Home, arguments: &[OsString]) -> io::Result<()> {
    let waits = Waits::new(home.folder())?;
    let mut guardian =
        Guardian { home, arguments, agent: None, waits, seen: None, ends: 0, is_ending: false };
    guardian.happened(UpgradeEvent::Began)?;
    ready();
    while !guardian.is_ending {
        match guardian.waits.sleep(guardian.agent.as_ref())? {
            Woken::Ended => guardian.ended()?,
            Woken::Time if guardian.agent.is_none() => guardian.happened(UpgradeEvent::Ended)?,
            Woken::Time => guardian.happened(UpgradeEvent::Overdue)?,
            Woken::Folder => guardian.look()?,
            Woken::Asked => guardian.is_ending = true,
        }
    }
    guardian.end()
}

impl Guardian<'_> {
    fn happened(&mut self, event: UpgradeEvent) -> io::Result<()> {
        for act in Upgrade::next(self.home.upgrade(), event) {
            match act {
                Act::Keep(upgrade) => self.home.keep(upgrade.as_ref())?,
                Act::Flip(edition) => self.home.flip(&edition)?,
                Act::Condemn(digest) => self.home.condemn(&digest)?,
                Act::Tell(verdict) => self.home.tell(&verdict)?,
                Act::End => self.end()?,
                Act::Start(limit) => self.start(limit)?,
            }
        }
        Ok(())
    }

    /// The agent ended. Where no upgrade is under way it is started again, after a pause that grows.
    fn ended(&mut self) -> io::Result<()> {
        if let Some(mut agent) = self.agent.take() {
            agent.ended()?;
        }
        if self.home.upgrade().is_some() {
            return self.happened(UpgradeEvent::Ended);
        }
        let pause = (PAUSE.0 << self.ends.min(16)).min(PAUSE.1);
        self.ends = self.ends.saturating_add(1);
        self.waits.set(Some(Duration::from_secs(pause)));
        Ok(())
    }

    fn start(&mut self, limit: Option<u64>) -> io::Result<()> {
        self.home.forget_proof()?;
        self.seen = None;
        let program = self.home.program();
        let started = program.as_ref().map_err(|error| error.kind().into()).and_then(|program| {
            let mut command = Command::new(program);
            command.args(self.arguments).env("PACKHORSE_GUARDIAN", self.home.folder());
            Agent::start(&mut command)
        });
        match started {
            Ok(agent) => {
                self.agent = Some(agent);
                self.waits.set(limit.map(Duration::from_millis));
            }
            Err(error) => {
                eprintln!("packhorse-guardian: `{}`: {error}", self.home.folder().display());
                // As one that ended at once.
                self.agent = None;
                self.waits.set(Some(Duration::from_secs(PAUSE.0)));
            }
        }
        Ok(())
    }

    /// Ends the agent: it is asked, and then ended.
    fn end(&mut self) -> io::Result<()> {
        self.agent.take().map_or(Ok(()), |mut agent| agent.end(GRACE))
    }

    /// Whether the agent has shown more than before.
    fn look(&mut self) -> io::Result<()> {
        let proof = self.home.proof();
        if proof <= self.seen {
            return Ok(());
        }
        self.seen = proof;
        self.ends = 0;
        // It lives: it has no limit any more.
        self.waits.set(None);
        proof.map_or(Ok(()), |proof| self.happened(UpgradeEvent::Proved(proof)))
    }
}
