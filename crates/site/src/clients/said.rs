//! What clients say: messages, taken in once and in order; inventories.

use std::collections::BTreeMap;

use deployment::{
    ClientId, ClientResult, DeploymentId, InventoryReport, InventoryTaken, RolloutEvent, Taken,
};
use running::{Message, Parcel, Unreadable, Word};
use serde_json::json;

use super::{
    Clients,
    deploy::tell,
    fleet::{client_result, written},
    row::{Change, ClientRow, ResultRow},
    wall,
};
use crate::{SiteError, chance, server::log};

/// So many messages of a client are kept.
const KEPT: u64 = 256;
/// What cannot be read is kept up to so many bytes.
const RAW: usize = 64 << 10;
/// Of why and what next, so many bytes are kept in the row of a client; all of it is in the message.
const LONGEST_CAUSE: usize = 2 << 10;

/// The name of a message among records: those of a client in their order.
pub(super) fn message_name(client: ClientId, series: u64, sequence: u64) -> String {
    format!("{client}/{series:016x}/{sequence:016x}")
}

fn cut(text: &str) -> String {
    let end = (0..=LONGEST_CAUSE.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

/// The last word about a run, if a message is about one.
fn result(message: &Message, at: i64) -> Option<ResultRow> {
    let said = &message.said;
    let is_of_run = matches!(
        said.word,
        Word::Starting
            | Word::Done
            | Word::Failed
            | Word::Withdrawn
            | Word::Waiting
            | Word::Held
            | Word::Interrupted
            | Word::NoContent
            | Word::NotApplicable
    );
    Some(ResultRow {
        run: said.run.clone().filter(|_| is_of_run)?,
        word: said.word,
        attempt: said.attempt,
        cause: cut(&said.cause),
        next: cut(&said.next),
        clock: message.clock,
        at,
    })
}

/// As it is kept: what could be read, or what came and why it could not.
fn kept(message: &Result<Message, Unreadable>, at: i64) -> Vec<u8> {
    let value = match message {
        Ok(message) => json!({ "at": at, "message": message }),
        Err(Unreadable { bytes, reason }) => {
            let raw = bytes.get(..RAW).unwrap_or(bytes);
            let bytes = chance::hex(raw);
            json!({ "at": at, "unreadable": reason, "text": String::from_utf8_lossy(raw), "bytes": bytes })
        }
    };
    serde_json::to_vec(&value).unwrap_or_default()
}

/// What a client said last of each deployment.
fn last_words(results: &[ResultRow]) -> BTreeMap<DeploymentId, ClientResult> {
    let of_runs = results.iter().filter(|one| !one.run.removal);
    of_runs
        .filter_map(|one| {
            let id = DeploymentId::new(&one.run.deployment).ok()?;
            Some((id, client_result(one.word)?))
        })
        .collect()
}

impl Clients {
    /// Takes messages in, durably and once each: what was heard before is passed over. One nobody can read is kept as it came, and
    /// counts for nothing.
    pub(crate) fn take_messages(
        &self,
        client: ClientId,
        parcel: &Parcel,
    ) -> Result<Taken, SiteError> {
        let at = wall();
        let now = self.now();
        let through = parcel.messages.last().map_or(0, |(sequence, _)| *sequence);
        let told = self.write(|fleet| {
            let mut row: ClientRow = fleet.clients.get(&client).cloned().unwrap_or_default();
            let heard = row.heard(parcel.series).unwrap_or(0);
            let new: Vec<_> =
                parcel.messages.iter().filter(|(sequence, _)| *sequence > heard).collect();
            let mut changes = Vec::new();
            let mut results = Vec::new();
            for (sequence, message) in &new {
                let name = |sequence| message_name(client, parcel.series, sequence);
                changes.push(Change::Message(name(*sequence), Some(kept(message, at))));
                if let Some(old) = sequence.checked_sub(KEPT) {
                    changes.push(Change::Message(name(old), None));
                }
                match message {
                    Ok(message) => results.extend(result(message, at)),
                    Err(_) => row.unreadable += 1,
                }
            }
            if new.is_empty() {
                return Ok((Vec::new(), Vec::new()));
            }
            for result in &results {
                row.results.insert(result.run.to_string(), result.clone());
            }
            row.hear(parcel.series, through.max(heard));
            changes.push(Change::Client(client, Box::new(row)));
            // A rollout hears of it in the same transaction: whoever decides knows what everybody said, to whomever.
            let mut told = Vec::new();
            for (id, said) in last_words(&results) {
                let Some(rollout) = fleet.rollouts.get(&id) else { continue };
                let Ok(decided) = rollout.decide(&RolloutEvent::Reported(client, said), now) else {
                    continue;
                };
                let (written, effects) = written(&id, decided);
                changes.extend(written);
                told.push((id, effects));
            }
            Ok((told, changes))
        })?;
        for (_, message) in &parcel.messages {
            if let Err(one) = message {
                log("set-aside", &json!({ "client": client, "why": one.reason }));
            }
        }
        for (id, effects) in &told {
            tell(id, effects);
        }
        Ok(Taken { through })
    }

    /// Takes an inventory in, whole or as what changed. What leads from another one than is held does not count, and a whole one
    /// is asked for.
    pub(crate) fn take_inventory(
        &self,
        client: ClientId,
        report: &InventoryReport,
    ) -> Result<InventoryTaken, SiteError> {
        let taken = self.write(|fleet| {
            let held = fleet.inventories.of(client);
            let inventory = match report {
                InventoryReport::Whole(inventory) => inventory.clone(),
                InventoryReport::Delta(delta) => {
                    let base = held.clone().unwrap_or_default();
                    let Ok(newer) = base.apply(delta) else { return Ok((false, Vec::new())) };
                    newer
                }
            };
            if held.as_ref() == Some(&inventory) {
                return Ok((true, Vec::new()));
            }
            Ok((true, vec![Change::Inventory(client, Box::new(inventory))]))
        })?;
        Ok(InventoryTaken { taken })
    }
}
