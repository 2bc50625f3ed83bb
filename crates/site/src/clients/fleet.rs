//! All a site knows of its clients, as values, and what follows from them for each.

use std::collections::BTreeMap;

use deployment::{
    ClientId, ClientResult, ClientSettings, Collections, Decided, Deployment, DeploymentId, Gate,
    GateCause, Inventories, Membership, PolicyDocument, Rollout, RolloutEffect, Rule,
};
use jiff::Timestamp;
use policy::{Moment, SiteCode, Stamp};
use running::Word;

use super::{
    row::{
        Change, ClientRow, DeploymentRow, ProcessRow, RequestRow, RolloutRow, SeenRow, SiteWindow,
        Target, TokenRow,
    },
    windows::never_open,
};
use crate::{Record, RecordKind, SiteError};

/// All a site knows of its clients.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    /// Clients, those that were revoked included.
    pub(crate) clients: BTreeMap<ClientId, ClientRow>,
    /// What they reported of themselves.
    pub(crate) inventories: Inventories,
    /// What is deployed.
    pub(crate) deployments: BTreeMap<DeploymentId, DeploymentRow>,
    /// How each of these reaches its clients.
    pub(crate) rollouts: BTreeMap<DeploymentId, Rollout>,
    /// Who belongs together.
    pub(crate) collections: Collections,
    /// Maintenance windows, by name.
    pub(crate) windows: BTreeMap<Box<str>, SiteWindow>,
    /// Tokens, by the hash of their secrets.
    pub(crate) tokens: BTreeMap<String, TokenRow>,
    /// Machines that ask to be clients, by the fingerprints of their keys.
    pub(crate) requests: BTreeMap<String, RequestRow>,
    /// How clients behave, and where packages are.
    pub(crate) settings: Option<ClientSettings>,
    /// When clients were heard of, as far as the tables know.
    pub(crate) seen: BTreeMap<ClientId, SeenRow>,
    /// Processes of the site that listen, or did.
    pub(crate) processes: BTreeMap<String, ProcessRow>,
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
        let (mut collections, mut all, mut offers) = (Vec::new(), Vec::new(), Vec::new());
        for record in records {
            match Change::of(record) {
                Ok(change @ Change::Collection(..)) => collections.push(change),
                // What is known of a rollout follows the rollout.
                Ok(change @ Change::Offer(..)) => offers.push(change),
                Ok(change) => all.push(change),
                Err(why) => {
                    if record.kind == RecordKind::Window {
                        let target = Target { everybody: true, ..Target::default() };
                        let row = SiteWindow { window: never_open(&record.name), target };
                        self.windows.insert(record.name.as_str().into(), row);
                    }
                    let text = format!("`{} {}`: {why}", record.kind.word(), record.name);
                    self.damaged.push(text);
                }
            }
        }
        // Before the clients: each of these is then asked all rules at once.
        self.take_collections(collections);
        for change in all.into_iter().chain(offers) {
            self.apply(change);
        }
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
                let rule = spec.rule.as_deref().and_then(|text| Rule::new(text).ok());
                let reads = rule.as_ref().map(Rule::reads).unwrap_or_default();
                let known = self.inventories.for_rules(reads, self.clients.keys().copied());
                self.collections
                    .save((**spec).clone(), known)
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
                    let known =
                        if self.collections.is_empty() { None } else { self.inventories.of(id) };
                    self.collections.report(id, None, &known.unwrap_or_default());
                    self.policies += 1;
                }
            }
            Change::Inventory(id, inventory) => {
                // Of who is no client yet all is asked when it is one.
                if self.clients.contains_key(&id) {
                    let before = self.inventories.of(id);
                    if !self.collections.report(id, before.as_ref(), &inventory).is_empty() {
                        self.policies += 1;
                    }
                }
                self.inventories.take(id, &inventory);
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
                    Some(row) => self.take_course(id, *row),
                    None => drop(self.rollouts.remove(&id)),
                }
                self.policies += 1;
            }
            change @ Change::Collection(..) => self.take_collections(vec![change]),
            Change::Window(name, row) => {
                match row {
                    Some(row) => drop(self.windows.insert(name, *row)),
                    None => drop(self.windows.remove(&name)),
                }
                self.policies += 1;
            }
            Change::Token(hash, row) => match row {
                Some(row) => drop(self.tokens.insert(hash, row)),
                None => drop(self.tokens.remove(&hash)),
            },
            Change::Request(key, row) => match row {
                Some(row) => drop(self.requests.insert(key, *row)),
                None => drop(self.requests.remove(&key)),
            },
            Change::Settings(settings) => {
                self.settings = Some(*settings);
                self.policies += 1;
            }
            Change::Offer(id, client, offer) => {
                let heard = self.seen.get(&client).map(|seen| seen.at);
                if let (Some(rollout), Some(offer)) = (self.rollouts.get_mut(&id), offer) {
                    rollout.take_offer(client, offer);
                    rollout.hear(client, heard.unwrap_or_default());
                }
            }
            Change::Seen(_, seen) => {
                for (client, seen) in seen {
                    let known = self.seen.entry(client).or_default();
                    known.wall = known.wall.max(seen.wall);
                    if seen.at > known.at {
                        known.at = seen.at;
                        self.hear(client, seen.at);
                    }
                }
            }
            Change::Process(name, row) => match row {
                Some(row) => drop(self.processes.insert(name, row)),
                None => drop(self.processes.remove(&name)),
            },
            Change::Message(..) => {}
        }
    }

    /// What was decided of a rollout. Of another one that had its name, nothing stays.
    fn take_course(&mut self, id: DeploymentId, row: RolloutRow) {
        match self.rollouts.get_mut(&id) {
            Some(rollout) if rollout.course().is_of(&row.rollout) => {
                rollout.take_course(row.rollout);
            }
            _ => drop(self.rollouts.insert(id, Rollout::of(row.rollout))),
        }
    }

    /// A client was heard of.
    pub(crate) fn hear(&mut self, client: ClientId, at: Moment) {
        for rollout in self.rollouts.values_mut() {
            rollout.hear(client, at);
        }
    }

    /// Whether a client belongs to a collection.
    pub(crate) fn is_in(&self, client: ClientId, collection: &str) -> bool {
        self.collections.membership(client, collection) == Some(Membership::Member)
    }

    /// Whether something is for a client. Unknown is not: neither in what is wanted, nor out of what is excepted.
    pub(crate) fn is_for(&self, target: &Target, client: ClientId) -> bool {
        self.whether_for(target, client) == Some(true)
    }

    /// The same; nothing, as long as it is unknown.
    pub(crate) fn whether_for(&self, target: &Target, client: ClientId) -> Option<bool> {
        let one_of = |names: &[Box<str>]| {
            let mut unknown = false;
            for name in names {
                match self.collections.membership(client, name) {
                    Some(Membership::Member) => return Some(true),
                    Some(Membership::Outside) => {}
                    Some(Membership::Unknown) | None => unknown = true,
                }
            }
            (!unknown).then_some(false)
        };
        let named = target.everybody || target.clients.contains(&client);
        let wanted = if named { Some(true) } else { one_of(&target.collections) };
        match (wanted, one_of(&target.except)) {
            (Some(false), _) | (_, Some(true)) => Some(false),
            (Some(true), Some(false)) => Some(true),
            _ => None,
        }
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

    /// Refuses what names a collection or a client nobody knows.
    pub(crate) fn check_target(&self, target: &Target) -> Result<(), SiteError> {
        if let Some(name) = self.missing_collection(target) {
            return Err(no_collection(name));
        }
        match target.clients.iter().find(|id| !self.clients.contains_key(id)) {
            Some(client) => Err(SiteError::refused(format!(
                "there is no client {client}: `packhorse site client list`"
            ))),
            None => Ok(()),
        }
    }

    /// Who uses a collection: deployments and windows.
    pub(crate) fn users_of(&self, collection: &str) -> Vec<String> {
        let collection = deployment::normal(collection);
        let is_meant = |name: &str| deployment::normal(name) == collection;
        let names = |target: &Target| {
            target.collections.iter().chain(&target.except).any(|name| is_meant(name))
        };
        let deployments = self.deployments.values().filter(|row| {
            let mut waves = row.plan.waves.iter().filter_map(|wave| match &wave.share {
                deployment::Share::Collection(name) => Some(name),
                _ => None,
            });
            names(&row.target) || waves.any(|name| is_meant(name))
        });
        let windows = self.windows.iter().filter(|(_, row)| names(&row.target));
        let deployments = deployments.map(|row| format!("deployment `{}`", row.deployment.id));
        deployments.chain(windows.map(|(name, _)| format!("window `{name}`"))).collect()
    }

    /// What a deployment is on a client, if it is for it.
    fn deployment_for(&self, row: &DeploymentRow, client: ClientId) -> Option<Deployment> {
        if !self.is_for(&row.target, client) {
            return None;
        }
        let mut deployment = row.deployment.clone();
        let made = Timestamp::from_second(row.made).unwrap_or_default();
        if let Some(rollout) = self.rollouts.get(&deployment.id) {
            deployment.gate = rollout.gate(client, |name| self.is_in(client, name), made);
            deployment.retry_round = rollout.round_of(client);
        } else {
            // How far it has come is unknown, which is not everywhere.
            let by = "how far its rollout has come cannot be read: remove it and deploy anew";
            deployment.gate = Gate::Closed { cause: GateCause::Halted, by: by.into(), since: made };
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
            windows: self.windows_of(client),
            settings: self.settings.clone().unwrap_or_default(),
            quarantined: Vec::new(),
        }
    }
}

pub(super) fn no_collection(name: &str) -> SiteError {
    SiteError::refused(format!("there is no collection `{name}`: `packhorse site collection list`"))
}

/// What is to be written of a decision, and what follows then.
pub(crate) fn written(id: &DeploymentId, decided: Decided) -> (Vec<Change>, Vec<RolloutEffect>) {
    let Decided { course, offer, effects } = decided;
    let offer = offer.map(|(client, offer)| Change::Offer(id.clone(), client, Some(offer)));
    let course =
        course.map(|rollout| Change::Rollout(id.clone(), Some(Box::new(RolloutRow { rollout }))));
    (offer.into_iter().chain(course).collect(), effects)
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
