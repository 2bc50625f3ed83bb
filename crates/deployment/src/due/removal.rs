use jiff::Timestamp;

use super::{Deciding, Item, after::After};
use crate::{
    Action, Deployment, DeploymentId, ItemKind, PackageAction, Remembered, RunKind, RunOutcome,
    Standing, Undecided, Wait, WaitFor, Withdrawal,
};

impl Deciding<'_> {
    /// What is to be taken away: withdrawn, or in the way of something newer.
    pub(super) fn removals(&self, programs: &[Item]) -> Vec<Item> {
        let mut items = self.in_the_way(programs);
        for known in self.facts.memory.values() {
            items.extend(self.withdrawn(known));
        }
        items
    }

    /// What must be off before a newer one runs.
    fn in_the_way(&self, programs: &[Item]) -> Vec<Item> {
        let mut items = Vec::new();
        for item in programs {
            let Standing::Waiting(Wait { what: WaitFor::Removal(old), .. }) = &item.standing else {
                continue;
            };
            let user = item.key.user.as_deref();
            let newer = self.index.get(&item.key.deployment);
            let entry = newer
                .and_then(|newer| newer.supersedes.iter().find(|entry| entry.deployment == *old));
            let known = self
                .index
                .get(old)
                .copied()
                .or_else(|| self.facts.memory.get(old).map(|known| &known.deployment));
            if let (Some(action), Some(known)) =
                (entry.and_then(|entry| entry.first.clone()), known)
            {
                let standing = self.removal(known, user);
                items.push(Item {
                    key: super::key(old, user, RunKind::Removal, 0),
                    action: Some(action),
                    standing,
                    rank: item.rank.clone(),
                });
            }
        }
        items
    }

    /// What a withdrawn deployment brought, for everybody it ran for.
    fn withdrawn(&self, known: &Remembered) -> Vec<Item> {
        let id = &known.deployment.id;
        let one = self.document.deployment(id).unwrap_or(&known.deployment);
        let Withdrawal::Run(action) = &one.withdrawal else { return Vec::new() };
        let Some(restored) = self.is_withdrawn(known) else { return Vec::new() };
        let mut items = Vec::new();
        for user in self.facts.history.users(id) {
            let standing = match self.stands(id, user) {
                Some(_) if restored => Standing::Waiting(Wait::on(WaitFor::RestoredSite)),
                Some(_) => self.withdrawal(one, user),
                None if self.removed.contains_key(&(&one.package.name, user)) => Standing::Removed,
                None => continue,
            };
            items.push(Item {
                key: super::key(id, user, RunKind::Removal, 0),
                action: Some(action.clone()),
                standing,
                rank: (Timestamp::MAX, Timestamp::MIN, id.clone()),
            });
        }
        items
    }

    /// Whether it is withdrawn; `Some(true)` where only a restored site stopped naming it, which is no withdrawal.
    fn is_withdrawn(&self, known: &Remembered) -> Option<bool> {
        let id = &known.deployment.id;
        if let Some(one) = self.document.deployment(id) {
            return self.is_expired(one).map(|_| false);
        }
        if self.document.names(id) {
            return None;
        }
        let stamp = self.document.stamp;
        if known.last.epoch == stamp.epoch {
            (known.last < stamp).then_some(false)
        } else {
            Some(true)
        }
    }

    fn withdrawal(&self, one: &Deployment, user: Option<&str>) -> Standing {
        if let Some(by) = self.wanted_by(one) {
            return Standing::KeptFor { by };
        }
        if let Some(on) = self.may_be_wanted_by() {
            let state = "it cannot be read, and may want the same package".to_owned();
            return Standing::Waiting(Wait::on(WaitFor::Dependency { on, state }));
        }
        // Several withdrawn deployments of one package take it away once.
        for other in self.facts.memory.values() {
            let id = &other.deployment.id;
            let same = other.deployment.package.name == one.package.name && *id != one.id;
            if !same || self.is_withdrawn(other) != Some(false) {
                continue;
            }
            let removes = matches!(other.deployment.withdrawal, Withdrawal::Run(_));
            if removes && *id < one.id && self.stands(id, user).is_some() {
                return Standing::Waiting(Wait::on(WaitFor::Removal(id.clone())));
            }
        }
        self.removal(one, user)
    }

    /// Another deployment of the document that wants the same package here.
    fn wanted_by(&self, one: &Deployment) -> Option<DeploymentId> {
        let wants = |other: &&Deployment| {
            other.id != one.id
                && other.package.name == one.package.name
                && other.program.action != Action::Package(PackageAction::Uninstall)
                && self.is_expired(other).is_none()
        };
        let named = self.document.deployments.iter().find(wants);
        let remembered = || {
            let set_aside = |known: &&Remembered| {
                let id = &known.deployment.id;
                self.document.names(id) && self.document.deployment(id).is_none()
            };
            let mut all = self.facts.memory.values().filter(set_aside);
            all.find(|known| wants(&&known.deployment)).map(|known| &known.deployment)
        };
        named.or_else(remembered).map(|other| other.id.clone())
    }

    /// A deployment of the document that nobody can read and nobody remembers: it may want anything.
    fn may_be_wanted_by(&self) -> Option<DeploymentId> {
        let bad = self.document.quarantined.iter().filter(|bad| bad.kind == ItemKind::Deployment);
        let mut ids = bad.filter_map(|bad| DeploymentId::new(&bad.name).ok());
        ids.find(|id| !self.facts.memory.contains_key(id))
    }

    /// Whether what takes it away may run now.
    fn removal(&self, one: &Deployment, user: Option<&str>) -> Standing {
        let key = super::key(&one.id, user, RunKind::Removal, 0);
        if self.facts.running == Some(&key) {
            return Standing::Running;
        }
        let done = self.stands(&one.id, user).map_or(0, |record| record.sequence);
        let record = self.facts.history.get(&key).filter(|record| record.sequence > done);
        if let Some(record) = record {
            let detected = self.detection(one, user).and_then(Result::ok);
            // Cut off, and gone: that was it. Cut off, and there: once more.
            let is_cut = record.outcome == RunOutcome::Interrupted;
            match (is_cut, detected) {
                (true, Some(false)) => return Standing::Removed,
                (true, None) if !one.program.rerunnable => {
                    return Standing::NeedsDecision(Undecided::Interrupted);
                }
                (true, _) => {}
                (false, _) => match self.after(one, record, detected) {
                    After::Stays(standing) => return standing,
                    After::Again => {}
                },
            }
        }
        match self.machine_is_free(one, None) {
            Ok(()) => Standing::Due,
            Err(wait) => Standing::Waiting(wait),
        }
    }
}
