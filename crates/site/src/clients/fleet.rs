//! All a site knows of its clients, as values, and what follows from them for each.

use std::collections::{BTreeMap, BTreeSet};

use deployment::{
    ClientId, ClientResult, ClientSettings, Collections, Deployment, DeploymentId, Inventory,
    Membership, PolicyDocument, Rollout, RolloutEffect, RolloutEvent, RolloutRefused, SiteNow,
};
use jiff::Timestamp;
use policy::{SiteCode, Stamp};
use running::Word;

use super::row::{Change, ClientRow, DeploymentRow, ResultRow, RolloutRow, Target, TokenRow};
use crate::Record;

/// A rollout as it is, and whether the tables have it so.
#[derive(Debug)]
pub(crate) struct RolloutHere {
    /// As it is.
    pub(crate) rollout: Rollout,
    /// The tables have an older one.
    pub(crate) is_ahead: bool,
}

/// All a site knows of its clients.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    /// Clients, those that were revoked included.
    pub(crate) clients: BTreeMap<ClientId, ClientRow>,
    /// What they reported of themselves.
    pub(crate) inventories: BTreeMap<ClientId, Inventory>,
    /// What is deployed.
    pub(crate) deployments: BTreeMap<DeploymentId, DeploymentRow>,
    /// How each of these reaches its clients.
    pub(crate) rollouts: BTreeMap<DeploymentId, RolloutHere>,
    /// Who belongs together.
    pub(crate) collections: Collections,
    /// Tokens, by the hash of their secrets.
    pub(crate) tokens: BTreeMap<String, TokenRow>,
    /// How clients behave, and where packages are.
    pub(crate) settings: Option<ClientSettings>,
    /// When clients were heard of, in seconds since 1970, as far as the tables know.
    pub(crate) seen: BTreeMap<ClientId, i64>,
    /// The number of the last transaction that wrote records.
    pub(crate) number: u64,
    /// Rises whenever a policy document may have changed.
    pub(crate) policies: u64,
    /// Records nobody can read; all others count.
    pub(crate) damaged: Vec<String>,
}

/// What a document is made with.
#[derive(Clone, Debug)]
pub(crate) struct Making<'a> {
    /// The site.
    pub(crate) site: &'a SiteCode,
    /// Its epoch.
    pub(crate) epoch: u32,
}

impl Fleet {
    /// Takes in what was written, by whomever.
    pub(crate) fn take(&mut self, records: &[Record]) {
        let mut collections = Vec::new();
        for record in records {
            match Change::of(record) {
                Ok(change @ Change::Collection(..)) => collections.push(change),
                Ok(change) => self.apply(change),
                Err(why) => {
                    let text = format!("`{} {}`: {why}", record.kind.word(), record.name);
                    self.damaged.push(text);
                }
            }
        }
        self.take_collections(collections);
    }

    /// Collections name each other: those that can be taken in are, until none can.
    fn take_collections(&mut self, mut left: Vec<Change>) {
        loop {
            let before = left.len();
            let mut missing = Vec::new();
            for change in left {
                if let Err((change, why)) = self.apply_collection(change) {
                    missing.push((change, why));
                }
            }
            if missing.is_empty() {
                return;
            }
            if missing.len() == before {
                self.damaged.extend(missing.into_iter().map(|(_, why)| why));
                return;
            }
            left = missing.into_iter().map(|(change, _)| change).collect();
        }
    }

    fn apply_collection(&mut self, change: Change) -> Result<(), (Change, String)> {
        let Change::Collection(name, spec) = &change else { return Ok(()) };
        let applied = match spec {
            Some(spec) => {
                let clients = self.clients.keys();
                let none = Inventory::default();
                let known = clients.map(|id| (*id, self.inventories.get(id).unwrap_or(&none)));
                self.collections
                    .save((**spec).clone(), known.collect::<Vec<_>>())
                    .map(drop)
                    .map_err(|error| error.to_string())
            }
            None if self.collections.get(name).is_none() => Ok(()),
            None => self.collections.remove(name).map_err(|error| error.to_string()),
        };
        self.policies += 1;
        applied.map_err(|why| (change, why))
    }

    /// Takes in one change.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Client(id, row) => {
                let is_new = self.clients.insert(id, *row).is_none();
                if is_new {
                    let inventory = self.inventories.get(&id).cloned().unwrap_or_default();
                    self.collections.report(id, None, &inventory);
                    self.policies += 1;
                }
            }
            Change::Inventory(id, inventory) => {
                let before = self.inventories.get(&id);
                if !self.collections.report(id, before, &inventory).is_empty() {
                    self.policies += 1;
                }
                self.inventories.insert(id, *inventory);
            }
            Change::Deployment(id, row) => {
                match row {
                    Some(row) => drop(self.deployments.insert(id, *row)),
                    None => drop(self.deployments.remove(&id)),
                }
                self.policies += 1;
            }
            Change::Rollout(id, row) => {
                match row {
                    Some(row) => self.take_rollout(id, *row),
                    None => drop(self.rollouts.remove(&id)),
                }
                self.policies += 1;
            }
            change @ Change::Collection(..) => self.take_collections(vec![change]),
            Change::Token(hash, row) => match row {
                Some(row) => drop(self.tokens.insert(hash, row)),
                None => drop(self.tokens.remove(&hash)),
            },
            Change::Settings(settings) => {
                self.settings = Some(*settings);
                self.policies += 1;
            }
            Change::Seen(_, seen) => self.seen.extend(seen),
            Change::Message(..) => {}
        }
    }

    /// A rollout as it was written; what its clients said since then is in their own rows.
    fn take_rollout(&mut self, id: DeploymentId, row: RolloutRow) {
        let RolloutRow { mut rollout, at } = row;
        let mut is_ahead = false;
        let now = now_of(&rollout, at);
        for (client, result) in self.results_of(&id) {
            if result.at >= at
                && let Some(said) = client_result(result.word)
            {
                let event = RolloutEvent::Reported(client, said);
                is_ahead |= rollout.next(event, now).is_ok();
            }
        }
        self.rollouts.insert(id, RolloutHere { rollout, is_ahead });
    }

    /// What clients said last of a deployment's runs for the machine or for users.
    pub(crate) fn results_of(
        &self,
        id: &DeploymentId,
    ) -> impl Iterator<Item = (ClientId, &ResultRow)> {
        let id = id.as_str().to_owned();
        self.clients.iter().flat_map(move |(client, row)| {
            let of = id.clone();
            row.results
                .values()
                .filter(move |one| *one.run.deployment == *of && !one.run.removal)
                .map(move |one| (*client, one))
        })
    }

    /// Whether a client belongs to a collection.
    pub(crate) fn is_in(&self, client: ClientId, collection: &str) -> bool {
        self.collections.membership(client, collection) == Some(Membership::Member)
    }

    /// Whether something is for a client. Unknown is not: neither in what is wanted, nor out of what is excepted.
    pub(crate) fn is_for(&self, target: &Target, client: ClientId) -> bool {
        let wanted = target.everybody
            || target.clients.contains(&client)
            || target.collections.iter().any(|name| self.is_in(client, name));
        let is_outside =
            |name: &str| self.collections.membership(client, name) == Some(Membership::Outside);
        wanted && target.except.iter().all(|name| is_outside(name))
    }

    /// Clients something is for: those that are clients still.
    pub(crate) fn members<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = ClientId> + 'a {
        let living = self.clients.iter().filter(|(_, row)| row.revoked.is_none());
        living.map(|(client, _)| *client).filter(|client| self.is_for(target, *client))
    }

    /// Who named collections are missing.
    pub(crate) fn missing_collection<'t>(&self, target: &'t Target) -> Option<&'t str> {
        let mut named = target.collections.iter().chain(&target.except);
        named.find(|name| self.collections.get(name).is_none()).map(|name| &**name)
    }

    /// Who uses a collection: deployments, by their ids.
    pub(crate) fn users_of(&self, collection: &str) -> BTreeSet<DeploymentId> {
        let uses = |row: &&DeploymentRow| {
            let target = &row.target;
            let waves = row.plan.waves.iter().filter_map(|wave| match &wave.share {
                deployment::Share::Collection(name) => Some(name),
                _ => None,
            });
            target
                .collections
                .iter()
                .chain(&target.except)
                .chain(waves)
                .any(|name| deployment::normal(name) == deployment::normal(collection))
        };
        self.deployments.values().filter(uses).map(|row| row.deployment.id.clone()).collect()
    }

    /// What a deployment is on a client, if it is for it.
    fn deployment_for(&self, row: &DeploymentRow, client: ClientId) -> Option<Deployment> {
        if !self.is_for(&row.target, client) {
            return None;
        }
        let mut deployment = row.deployment.clone();
        let made = Timestamp::from_second(row.made).unwrap_or_default();
        if let Some(here) = self.rollouts.get(&deployment.id) {
            deployment.gate = here.rollout.gate(client, |name| self.is_in(client, name), made);
            deployment.retry_round = here.rollout.round_of(client);
        }
        Some(deployment)
    }

    /// All one client is told.
    pub(crate) fn document(&self, client: ClientId, making: &Making<'_>) -> PolicyDocument {
        let mine = self.deployments.values();
        let mine = mine.filter_map(|row| Some((row.made, self.deployment_for(row, client)?)));
        let (made, mine): (Vec<i64>, Vec<Deployment>) = mine.unzip();
        let made = made.into_iter().max().unwrap_or_default();
        PolicyDocument {
            // Whatever changes what is said writes a record first.
            stamp: Stamp { epoch: making.epoch, sequence: self.number.saturating_add(1) },
            site: making.site.clone(),
            client,
            made: Timestamp::from_second(made).unwrap_or_default(),
            deployments: mine,
            windows: Vec::new(),
            settings: self.settings.clone().unwrap_or_default(),
            quarantined: Vec::new(),
        }
    }

    /// Something happened to a rollout. What is to be written follows; what is told is in `effects`.
    pub(crate) fn rollout_event(
        &mut self,
        id: &DeploymentId,
        event: RolloutEvent,
        now: SiteNow,
    ) -> Option<Result<Vec<RolloutEffect>, RolloutRefused>> {
        let here = self.rollouts.get_mut(id)?;
        let done = here.rollout.next(event, now);
        if let Ok(effects) = &done {
            here.is_ahead |= effects.contains(&RolloutEffect::Keep);
            if effects.iter().any(|one| matches!(one, RolloutEffect::Renew(_))) {
                self.policies += 1;
            }
        }
        Some(done)
    }
}

/// What is said again happened no later than a rollout knows of.
fn now_of(rollout: &Rollout, wall: i64) -> SiteNow {
    let at = rollout.next_wake().unwrap_or_default();
    let wall = Timestamp::from_second(wall).unwrap_or_default();
    SiteNow { at: policy::Moment(at.0.saturating_sub(1)), wall }
}

/// What a word means to a rollout.
pub(crate) fn client_result(word: Word) -> Option<ClientResult> {
    match word {
        Word::Done => Some(ClientResult::Succeeded),
        Word::Failed | Word::Held | Word::Waiting => Some(ClientResult::Failed),
        Word::NotApplicable => Some(ClientResult::NotApplicable),
        _ => None,
    }
}
