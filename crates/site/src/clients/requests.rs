//! Machines without a secret that ask to be clients: they wait until somebody approves them.

use deployment::ClientId;
use policy::SiteCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    enrol::Asking,
    fleet::Fleet,
    row::{Change, RequestRow, Said},
    wall,
};
use crate::{Server, SiteError, chance, server::log};

/// Seconds until a machine that waits asks again.
pub(super) const ASKS_AGAIN: u32 = 10;
/// A request is kept for so many milliseconds: a week.
const KEPT: u64 = 7 * 24 * 3_600_000;
/// So many may wait: they come from whoever can call.
const MOST: usize = 1_000;
/// The beginning of a fingerprint people may name it by, in digits.
const SHORTEST: usize = 8;

/// A machine that asks to be a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ClientRequest {
    /// The fingerprint of its key; the machine shows the same.
    pub key: String,
    /// What it calls itself.
    pub name: String,
    /// The client it says it is already.
    #[schema(value_type = Option<String>)]
    pub client: Option<ClientId>,
    /// Since when, in seconds since 1970.
    pub since: i64,
    /// `waits`, `approved`, `refused`.
    pub state: String,
    /// What somebody should know before it is approved.
    pub note: Option<String>,
}

impl ClientRequest {
    /// One line for people.
    pub fn line(&self) -> String {
        let Self { key, name, state, note, since, .. } = self;
        let when =
            jiff::Timestamp::from_second(*since).map(|at| at.to_string()).unwrap_or_default();
        let note = note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
        // Names come from whoever can call.
        let name: String =
            name.chars().map(|one| if one.is_control() { '?' } else { one }).collect();
        format!("{}  {name:<24} {state} since {when}{note}\n", &key[..key.len().min(16)])
    }
}

impl Asking<'_> {
    /// It waits from now on; what is too old goes.
    pub(super) fn request(&self, fleet: &Fleet, site: &SiteCode) -> Result<Vec<Change>, SiteError> {
        let is_old = |row: &RequestRow| row.until <= self.now;
        let waiting = fleet.requests.values().filter(|row| row.said.is_none() && !is_old(row));
        if waiting.count() >= MOST {
            return Err(SiteError::refused(format!(
                "{MOST} machines wait for approval at site {site}, and it takes no more: `packhorse site client requests` there"
            )));
        }
        let old = fleet.requests.iter().filter(|(_, row)| is_old(row));
        let mut changes: Vec<Change> =
            old.map(|(key, _)| Change::Request(key.clone(), None)).collect();
        let row = RequestRow {
            name: self.asked.name.clone(),
            client: self.asked.client,
            since: wall(),
            until: self.now.saturating_add(KEPT),
            said: None,
        };
        log("asks", &json!({ "name": row.name, "key": self.fingerprint }));
        changes.push(Change::Request(self.fingerprint.to_owned(), Some(Box::new(row))));
        Ok(changes)
    }
}

/// The one request a fingerprint, or the beginning of one, is of.
fn meant<'f>(
    fleet: &'f Fleet,
    text: &str,
    now: u64,
) -> Result<(&'f String, &'f RequestRow), SiteError> {
    let list = "`packhorse site client requests` lists them";
    if text.len() < SHORTEST {
        return Err(SiteError::refused(format!(
            "a key is named by {SHORTEST} of its digits at least: {list}"
        )));
    }
    let text = text.to_ascii_lowercase();
    let is_meant = |(key, row): &(&String, &RequestRow)| key.starts_with(&text) && row.until > now;
    let mut all = fleet.requests.iter().filter(is_meant);
    match (all.next(), all.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(SiteError::refused(format!("no machine with key {text} asks: {list}"))),
        (Some(_), Some(_)) => {
            Err(SiteError::refused(format!("several keys begin with {text}: {list}")))
        }
    }
}

impl Server {
    /// Machines that ask to be clients, and what was said to them; the newest first.
    pub fn client_requests(&self) -> Vec<ClientRequest> {
        let now = self.clients().now().at.0;
        let fleet = self.clients().fleet();
        let shown = |(key, row): (&String, &RequestRow)| {
            let state = match row.said {
                None => "waits",
                Some(Said::Approved(_)) => "approved",
                Some(Said::Refused) => "refused",
                // It is a client like others.
                Some(Said::Taken(_)) => return None,
            };
            let note = row.client.filter(|id| fleet.clients.contains_key(id)).map(|id| {
                format!("it says it is client {id}, and has another key: unless `--as {id}` says so, it is a new one")
            });
            let (key, name, client) = (key.clone(), row.name.clone(), row.client);
            let state = state.to_owned();
            Some(ClientRequest { key, name, client, since: row.since, state, note })
        };
        let of_now = fleet.requests.iter().filter(|(_, row)| row.until > now);
        let mut all: Vec<_> = of_now.filter_map(shown).collect();
        all.sort_by(|one, other| other.since.cmp(&one.since).then(one.key.cmp(&other.key)));
        all
    }

    /// A machine that asks may be a client: the one named, else the one it says it is if nobody else has that identity, else a new
    /// one. It hears so when it asks again.
    pub fn approve_request(
        &self,
        key: &str,
        client: Option<ClientId>,
    ) -> Result<ClientId, SiteError> {
        let now = self.clients().now().at.0;
        let fresh = ClientId(chance::random::<16>()?);
        let (client, name) = self.clients().write(|fleet| {
            let (key, row) = meant(fleet, key, now)?;
            if let Some(Said::Taken(client)) = row.said {
                return Err(SiteError::refused(format!("it is client {client} already")));
            }
            if let Some(client) = client.filter(|client| !fleet.clients.contains_key(client)) {
                return Err(SiteError::refused(format!(
                    "there is no client {client}: `packhorse site client list`"
                )));
            }
            let free = row.client.filter(|id| !fleet.clients.contains_key(id));
            let client = client.or(free).unwrap_or(fresh);
            let until = now.saturating_add(KEPT);
            let said = Some(Said::Approved(client));
            let name = row.name.clone();
            let row = RequestRow { until, said, ..row.clone() };
            Ok(((client, name), vec![Change::Request(key.clone(), Some(Box::new(row)))]))
        })?;
        log("approved", &json!({ "client": client, "name": name }));
        Ok(client)
    }

    /// A machine that asks is to be none; it hears so when it asks again.
    pub fn refuse_request(&self, key: &str) -> Result<(), SiteError> {
        let now = self.clients().now().at.0;
        self.clients().write(|fleet| {
            let (key, row) = meant(fleet, key, now)?;
            if let Some(Said::Taken(client)) = row.said {
                return Err(SiteError::refused(format!(
                    "it is client {client} already: `packhorse site client revoke {client}`"
                )));
            }
            let row = RequestRow {
                until: now.saturating_add(KEPT),
                said: Some(Said::Refused),
                ..row.clone()
            };
            Ok(((), vec![Change::Request(key.clone(), Some(Box::new(row)))]))
        })
    }
}
