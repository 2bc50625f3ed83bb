//! Clients, deployments and collections as people see them.

use std::{collections::BTreeMap, fmt::Write as _};

use deployment::{Action, ClientId, CommandLine, DeploymentId, Gate, Membership, RolloutStatus};
use running::Word;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Clients,
    fleet::Fleet,
    row::{ClientRow, DeploymentRow, ResultRow, Target},
    wall,
};
use crate::{RecordKind, Server, SiteError};

/// A client that was not heard of for so many intervals of check-ins is silent.
const SILENT: i64 = 3;

/// A client, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ClientSummary {
    /// Its id.
    pub client: String,
    /// What the machine calls itself.
    pub name: String,
    /// Seconds since it was heard of; never where unsaid.
    pub seen: Option<u64>,
    /// It is none any more.
    pub revoked: bool,
    /// Runs that are done.
    pub done: u64,
    /// Runs that failed, or wait for a decision.
    pub failed: u64,
    /// Messages of it that nobody could read.
    pub unreadable: u64,
    /// What somebody should know: it is refused, and why; two machines have its identity.
    pub note: Option<String>,
}

/// A client, and all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ClientDetails {
    /// In short.
    #[serde(flatten)]
    pub summary: ClientSummary,
    /// When it was enrolled, in seconds since 1970 by the site's clock.
    pub enrolled: i64,
    /// Until when its certificate counts, likewise.
    pub certificate_until: Option<i64>,
    /// What is deployed to it.
    pub deployments: Vec<DeploymentOnClient>,
    /// Collections it belongs to.
    pub collections: Vec<String>,
    /// What it reported of itself.
    pub inventory: BTreeMap<String, Value>,
    /// What it said last, oldest first.
    pub messages: Vec<Told>,
}

/// Something a client said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Told {
    /// Its series.
    pub series: String,
    /// Its number.
    pub sequence: u64,
    /// When it was heard, in seconds since 1970 by the site's clock.
    pub at: i64,
    /// What about; `unreadable`, where nobody can tell.
    pub word: String,
    /// About which run.
    pub run: Option<String>,
    /// Why.
    pub cause: String,
    /// What shows it; of one that cannot be read, as it came.
    pub evidence: String,
    /// What the program wrote: its beginning and its end.
    pub output: String,
}

/// How it is with a deployment on one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeploymentOnClient {
    /// Which.
    pub deployment: String,
    /// `done`, `failed`, `running`, `retrying`, `not-applicable`, `waiting`, `closed`, `silent`.
    pub state: String,
    /// Why, and what happens next.
    pub text: String,
    /// Which attempt.
    pub attempt: u32,
}

/// A deployment, and how it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeploymentStatus {
    /// Its id.
    pub deployment: String,
    /// What people call it.
    pub title: String,
    /// What is done.
    pub what: String,
    /// For whom.
    pub to: String,
    /// `running`, `paused`, `halted`, `stopped`.
    pub status: String,
    /// Why it does not go on, or what the next wave waits for.
    pub waits: Option<String>,
    /// How many clients it is for.
    pub clients: u64,
    /// Of these: done.
    pub done: u64,
    /// An attempt failed, and nothing better since; or somebody has to decide.
    pub failed: u64,
    /// Runs now.
    pub running: u64,
    /// Not for the machine.
    pub not_applicable: u64,
    /// Did not say anything yet.
    pub waiting: u64,
    /// The rollout has not come to them, or not any more.
    pub closed: u64,
    /// Did not say anything, and were not heard of for three intervals.
    pub silent: u64,
}

/// A collection, and how many belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CollectionStatus {
    /// Its name.
    pub name: String,
    /// Who belongs to it, as it was written.
    pub rule: Option<String>,
    /// How many do.
    pub members: usize,
    /// Of how many it is unknown: they do not.
    pub unknown: usize,
}

/// In what state a run is, by its last word.
fn state_of(word: Word) -> &'static str {
    match word {
        Word::Done => "done",
        Word::Failed | Word::Held => "failed",
        Word::NotApplicable => "not-applicable",
        Word::Waiting | Word::NoContent => "retrying",
        Word::Starting | Word::Interrupted => "running",
        _ => "waiting",
    }
}

/// Of several runs of one deployment the worst counts.
fn rank(state: &str) -> u8 {
    match state {
        "failed" => 0,
        "retrying" => 1,
        "running" => 2,
        "waiting" => 3,
        "done" => 4,
        _ => 5,
    }
}

struct Looking<'a> {
    fleet: &'a Fleet,
    seen: &'a BTreeMap<ClientId, i64>,
    now: i64,
    silent: i64,
}

impl Looking<'_> {
    fn on(&self, row: &DeploymentRow, client: ClientId, of: &ClientRow) -> DeploymentOnClient {
        let id = &row.deployment.id;
        let is_of = |one: &&ResultRow| *one.run.deployment == *id.as_str() && !one.run.removal;
        let worst = of.results.values().filter(is_of).min_by_key(|one| rank(state_of(one.word)));
        let said = |state: &str, text: String, attempt| DeploymentOnClient {
            deployment: id.to_string(),
            state: state.to_owned(),
            text,
            attempt,
        };
        if let Some(one) = worst {
            let next = if one.next.is_empty() { String::new() } else { format!("; {}", one.next) };
            return said(state_of(one.word), format!("{}{next}", one.cause), one.attempt);
        }
        let gate = self.fleet.rollouts.get(id).map(|here| {
            here.gate(client, |name| self.fleet.is_in(client, name), jiff::Timestamp::UNIX_EPOCH)
        });
        if let Some(Gate::Closed { by, .. }) = gate {
            return said("closed", by.to_string(), 0);
        }
        match self.seen.get(&client).map(|at| self.now - at) {
            Some(ago) if ago <= self.silent => {
                said("waiting", format!("heard of {ago} s ago, has not begun yet"), 0)
            }
            Some(ago) => said("silent", format!("not heard of for {ago} s"), 0),
            None => said("silent", "never heard of".to_owned(), 0),
        }
    }

    fn deployment(&self, row: &DeploymentRow, clients: &Clients) -> DeploymentStatus {
        let deployment = &row.deployment;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut all = 0;
        for client in self.fleet.members(&row.target) {
            let Some(of) = self.fleet.clients.get(&client) else { continue };
            all += 1;
            *counts.entry(self.on(row, client, of).state).or_default() += 1;
        }
        let count = |state: &str| counts.get(state).copied().unwrap_or(0);
        let here = self.fleet.rollouts.get(&deployment.id);
        let (status, waits) = here.map_or(("running", None), |here| {
            let next = here.waits_for(clients.now().at);
            match here.status() {
                RolloutStatus::Running => ("running", next),
                RolloutStatus::Paused { by, .. } => ("paused", Some(format!("paused by {by}"))),
                RolloutStatus::Halted { why, .. } => ("halted", Some(why.to_string())),
                RolloutStatus::Stopped { by, .. } => ("stopped", Some(format!("stopped by {by}"))),
            }
        });
        DeploymentStatus {
            deployment: deployment.id.to_string(),
            title: deployment.title.to_string(),
            what: what(row),
            to: row.target.to_string(),
            status: status.to_owned(),
            waits,
            clients: all,
            done: count("done"),
            failed: count("failed") + count("retrying"),
            running: count("running"),
            not_applicable: count("not-applicable"),
            waiting: count("waiting"),
            closed: count("closed"),
            silent: count("silent"),
        }
    }
}

fn what(row: &DeploymentRow) -> String {
    let package = &row.deployment.package;
    match &row.deployment.program.action {
        Action::Package(action) => {
            let word = format!("{action:?}").to_lowercase();
            format!("{word} {} {}", package.name, package.version)
        }
        Action::Command(CommandLine::Direct(words)) => words.join(" "),
        Action::Command(CommandLine::Shell(line)) => line.clone(),
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut all: Vec<String> = Vec::new();
        if self.everybody {
            all.push("everybody".to_owned());
        }
        all.extend(self.collections.iter().map(|name| format!("`{name}`")));
        all.extend(self.clients.iter().map(ToString::to_string));
        f.write_str(&all.join(", "))?;
        for name in &self.except {
            write!(f, ", but not `{name}`")?;
        }
        Ok(())
    }
}

impl Clients {
    fn summary(&self, client: ClientId, row: &ClientRow, seen: Option<i64>) -> ClientSummary {
        let count = |is: &dyn Fn(&str) -> bool| {
            let states = row.results.values().map(|one| state_of(one.word));
            u64::try_from(states.filter(|state| is(state)).count()).unwrap_or(u64::MAX)
        };
        let note = self.live().get(&client).and_then(|live| {
            let refused = live.refused.as_ref();
            let refused = refused.map(|(why, count)| format!("refused {count} times: {why}"));
            refused.or_else(|| live.note.clone())
        });
        ClientSummary {
            client: client.to_string(),
            name: row.name.clone(),
            seen: seen.map(|at| u64::try_from(wall() - at).unwrap_or(0)),
            revoked: row.revoked.is_some(),
            done: count(&|state| state == "done"),
            failed: count(&|state| state == "failed" || state == "retrying"),
            unreadable: row.unreadable,
            note,
        }
    }

    fn with_looking<T>(&self, show: impl FnOnce(&Looking<'_>) -> T) -> T {
        let seen = self.seen();
        let silent = i64::from(self.check_in) * SILENT;
        let fleet = self.fleet();
        show(&Looking { fleet: &fleet, seen: &seen, now: wall(), silent })
    }
}

impl Server {
    /// All clients, in short.
    pub fn client_list(&self) -> Vec<ClientSummary> {
        let clients = self.clients();
        let seen = clients.seen();
        let fleet = clients.fleet();
        let rows = fleet.clients.iter();
        rows.map(|(id, row)| clients.summary(*id, row, seen.get(id).copied())).collect()
    }

    /// The client somebody means: an id, its beginning, or the name of a machine if only one has it.
    pub fn client_meant(&self, text: &str) -> Result<ClientId, SiteError> {
        let refuse = |message: String| SiteError::Said { message, conflict: true };
        let fleet = self.clients().fleet();
        if let Ok(id) = text.parse::<ClientId>() {
            return if fleet.clients.contains_key(&id) {
                Ok(id)
            } else {
                Err(refuse(format!("there is no client {id}: `packhorse site client list`")))
            };
        }
        let is_meant = |(id, row): &(&ClientId, &ClientRow)| {
            row.name == text || (text.len() >= 4 && id.to_string().starts_with(text))
        };
        let mut meant = fleet.clients.iter().filter(is_meant).map(|(id, _)| *id);
        match (meant.next(), meant.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => {
                Err(refuse(format!("there is no client `{text}`: `packhorse site client list`")))
            }
            (Some(_), Some(_)) => Err(refuse(format!(
                "several clients are called `{text}`: name one by its id, as `packhorse site client list` says"
            ))),
        }
    }

    /// All that is known of a client.
    pub fn client_details(&self, client: ClientId) -> Result<ClientDetails, SiteError> {
        let clients = self.clients();
        let read = clients.storage().records_of(RecordKind::Message, &format!("{client}/"))?;
        let messages = read.iter().filter_map(|one| told(&one.name, one.body.as_deref()?));
        let mut messages: Vec<Told> = messages.collect();
        // Series have no order of their own; when they were heard has.
        messages.sort_by_key(|one| one.at);
        clients.with_looking(|looking| {
            let fleet = looking.fleet;
            let row = fleet.clients.get(&client).ok_or_else(|| SiteError::Said {
                message: format!("there is no client {client}: `packhorse site client list`"),
                conflict: true,
            })?;
            let mine = fleet.deployments.values().filter(|one| fleet.is_for(&one.target, client));
            let mut inventory = BTreeMap::new();
            if let Some(held) = fleet.inventories.of(client) {
                for (key, value) in held.values() {
                    let name = match key {
                        deployment::InventoryKey::Machine(field) => serde_json::to_value(field)
                            .ok()
                            .and_then(|one| one.as_str().map(str::to_owned)),
                        key => {
                            Some(format!("{} {}", part_word(key), key.name().unwrap_or_default()))
                        }
                    };
                    let value = serde_json::to_value(value).unwrap_or_default();
                    inventory.extend(name.map(|name| (name, value)));
                }
            }
            Ok(ClientDetails {
                summary: clients.summary(client, row, looking.seen.get(&client).copied()),
                enrolled: row.enrolled,
                certificate_until: row.keys.last().map(|key| key.until),
                deployments: mine.map(|one| looking.on(one, client, row)).collect(),
                collections: fleet.collections.of(client).into_iter().map(Into::into).collect(),
                inventory,
                messages,
            })
        })
    }

    /// All deployments, and how they go.
    pub fn deployment_list(&self) -> Vec<DeploymentStatus> {
        let clients = self.clients();
        clients.with_looking(|looking| {
            let rows = looking.fleet.deployments.values();
            rows.map(|row| looking.deployment(row, clients)).collect()
        })
    }

    /// How a deployment is with each of its clients.
    pub fn deployment_clients(
        &self,
        id: &str,
    ) -> Result<Vec<(ClientSummary, DeploymentOnClient)>, SiteError> {
        let clients = self.clients();
        clients.with_looking(|looking| {
            let known = DeploymentId::new(id).ok();
            let row = known.and_then(|id| looking.fleet.deployments.get(&id));
            let row = row.ok_or_else(|| SiteError::Said {
                message: format!("there is no deployment `{id}`: `packhorse site deployment list`"),
                conflict: true,
            })?;
            let members = looking.fleet.members(&row.target);
            let on = members.filter_map(|client| {
                let of = looking.fleet.clients.get(&client)?;
                let seen = looking.seen.get(&client).copied();
                Some((clients.summary(client, of, seen), looking.on(row, client, of)))
            });
            Ok(on.collect())
        })
    }

    /// All collections, and how many belong to them.
    pub fn collection_list(&self) -> Vec<CollectionStatus> {
        let fleet = self.clients().fleet();
        let all = fleet.collections.names().filter_map(|name| {
            let spec = fleet.collections.get(name)?;
            let size = fleet.collections.size(name)?;
            Some(CollectionStatus {
                name: name.to_owned(),
                rule: spec.rule.clone(),
                members: size.members,
                unknown: size.unknown,
            })
        });
        all.collect()
    }

    /// Who belongs to a collection.
    pub fn collection_members(&self, name: &str) -> Vec<ClientSummary> {
        let clients = self.clients();
        let seen = clients.seen();
        let fleet = clients.fleet();
        let members = fleet.collections.members(name).filter(|client| {
            fleet.collections.membership(*client, name) == Some(Membership::Member)
        });
        let rows = members.filter_map(|id| Some((id, fleet.clients.get(&id)?)));
        rows.map(|(id, row)| clients.summary(id, row, seen.get(&id).copied())).collect()
    }
}

fn part_word(key: &deployment::InventoryKey) -> &'static str {
    match key.part() {
        Some(deployment::InventoryPart::Packages) => "package",
        Some(deployment::InventoryPart::SystemPackages) => "system-package",
        Some(deployment::InventoryPart::Users) => "user",
        Some(deployment::InventoryPart::Services) => "service",
        None => "machine",
    }
}

/// A message as it was kept.
fn told(name: &str, body: &[u8]) -> Option<Told> {
    let mut parts = name.rsplit('/');
    let sequence = u64::from_str_radix(parts.next()?, 16).ok()?;
    let series = parts.next()?.to_owned();
    let value: Value = serde_json::from_slice(body).ok()?;
    let at = value["at"].as_i64().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(reason) = value["unreadable"].as_str() {
        return Some(Told {
            series,
            sequence,
            at,
            word: "unreadable".to_owned(),
            run: None,
            cause: reason.to_owned(),
            evidence: text(&value["text"]),
            output: String::new(),
        });
    }
    let message = &value["message"];
    let said = &message["said"];
    let run = serde_json::from_value::<running::RunId>(said["run"].clone()).ok();
    Some(Told {
        series,
        sequence,
        at,
        word: text(&said["word"]),
        run: run.map(|run| run.to_string()),
        cause: text(&said["cause"]),
        evidence: text(&said["evidence"]),
        output: text(&message["detail"]),
    })
}

fn ago(seen: Option<u64>) -> String {
    match seen {
        None => "never heard of".to_owned(),
        Some(seconds @ 0..=119) => format!("heard of {seconds} s ago"),
        Some(seconds @ 120..=7199) => format!("heard of {} min ago", seconds / 60),
        Some(seconds @ 7200..=172_799) => format!("heard of {} h ago", seconds / 3600),
        Some(seconds) => format!("heard of {} days ago", seconds / 86_400),
    }
}

impl ClientSummary {
    /// For people, on a line.
    pub fn line(&self) -> String {
        let Self { client, name, done, failed, unreadable, .. } = self;
        let mut line = format!("{client} {name}: {}, {done} done, {failed} failed", ago(self.seen));
        if *unreadable > 0 {
            let _ = write!(line, ", {unreadable} messages nobody can read");
        }
        if self.revoked {
            line.push_str(", revoked");
        }
        if let Some(note) = &self.note {
            let _ = write!(line, "\n  {note}");
        }
        line.push('\n');
        line
    }
}

impl ClientDetails {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = self.summary.line();
        for (name, value) in &self.inventory {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(text, "  {name}: {value}");
        }
        if !self.collections.is_empty() {
            let _ = writeln!(text, "collections: {}", self.collections.join(", "));
        }
        for one in &self.deployments {
            let _ = write!(text, "deployment {}: {}", one.deployment, one.state);
            if one.attempt > 1 {
                let _ = write!(text, " (attempt {})", one.attempt);
            }
            let _ = writeln!(text, "{}{}", if one.text.is_empty() { "" } else { ", " }, one.text);
        }
        for one in &self.messages {
            let run = one.run.as_deref().unwrap_or_default();
            let _ = writeln!(text, "{} {} {run} {}", one.sequence, one.word, one.cause);
        }
        text
    }
}

impl DeploymentStatus {
    /// For people.
    pub fn text(&self) -> String {
        let Self { deployment, what, to, status, clients, done, failed, .. } = self;
        let mut text = format!(
            "{deployment}: {what}, to {to}: {status}; of {clients}: {done} done, {failed} failed"
        );
        let more = [
            (self.running, "run now"),
            (self.not_applicable, "not applicable"),
            (self.waiting, "wait"),
            (self.closed, "closed"),
            (self.silent, "silent"),
        ];
        for (count, word) in more {
            if count > 0 {
                let _ = write!(text, ", {count} {word}");
            }
        }
        if let Some(waits) = &self.waits {
            let _ = write!(text, "\n  {waits}");
        }
        text.push('\n');
        text
    }
}
