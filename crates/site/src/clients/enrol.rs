//! How a machine becomes a client, stays one, and is none any more.

use deployment::{
    CLIENT_LINE_FORMAT, ClientEnrolled, ClientEnrolment, ClientId, ClientToken, ClientWaiting,
    EnrolmentAnswer, LONGEST_CLIENT_NAME, Renewal,
};
use model::Hash;
use serde_json::json;

use super::{
    Clients,
    fleet::Fleet,
    requests::ASKS_AGAIN,
    row::{Change, ClientRow, KeyRow, RequestRow, Said, TokenRow},
    wall,
};
use crate::{Server, SiteError, authority::PublicKey, chance, server::log};

/// A token counts for so many milliseconds unless somebody says otherwise: a week.
const VALID: u64 = 7 * 24 * 3_600_000;
/// A token that was spent, or is too old, is remembered for so many milliseconds more, so that the reason can be given.
const REMEMBERED: u64 = 30 * 24 * 3_600_000;
/// Where another token comes from.
const CURE: &str = "`packhorse site client token` makes another";

/// Why a client is not answered, in words it can show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoClient {
    /// Nobody here knows it.
    Unknown,
    /// It was revoked.
    Revoked,
    /// Its key is no longer, or not, one of its.
    OtherKey,
    /// Its certificate ran out.
    Expired,
}

impl NoClient {
    /// In words, with what to do.
    pub(crate) fn message(&self, site: &policy::SiteCode, client: ClientId) -> String {
        let again = format!(
            "`packhorse-agent enroll` with a token of `packhorse site client token --for {client}` gets it back, with its history"
        );
        match self {
            Self::Unknown => format!(
                "site {site} does not know client {client}: `packhorse-agent enroll` with a new token"
            ),
            Self::Revoked => format!(
                "client {client} was revoked at site {site}; if that was not meant, {again}"
            ),
            Self::OtherKey => format!(
                "the key of client {client} does not count at site {site} any more: it was enrolled again elsewhere, or its disk was copied; `packhorse-agent enroll --as-new` with a new token makes this machine a client of its own"
            ),
            Self::Expired => format!(
                "the certificate of client {client} ran out, for it was not heard of for too long: `packhorse-agent enroll` with a new token"
            ),
        }
    }
}

impl Server {
    /// A token a machine becomes a client with. One for a known client gives it its identity back.
    pub fn client_token(
        &self,
        client: Option<ClientId>,
        hours: Option<u32>,
        at: Option<String>,
    ) -> Result<ClientToken, SiteError> {
        let secret = chance::secret()?;
        let now = self.clients().now().at.0;
        let valid = hours.map_or(VALID, |hours| u64::from(hours.max(1)) * 3_600_000);
        let row = TokenRow { until: now.saturating_add(valid), client, spent: None };
        let hash = Hash::of(secret.as_bytes()).to_string();
        self.clients().write(|fleet| {
            if let Some(client) = client.filter(|client| !fleet.clients.contains_key(client)) {
                return Err(SiteError::refused(format!(
                    "there is no client {client}: `packhorse site client list`"
                )));
            }
            let is_old = |row: &TokenRow| row.until.saturating_add(REMEMBERED) < now;
            let old = fleet.tokens.iter().filter(|(_, row)| is_old(row));
            let mut changes: Vec<Change> =
                old.map(|(hash, _)| Change::Token(hash.clone(), None)).collect();
            changes.push(Change::Token(hash.clone(), Some(row.clone())));
            Ok(((), changes))
        })?;
        Ok(self.token_of(Some(secret), at))
    }

    /// A token without a secret: whoever brings it waits until somebody approves it.
    pub fn open_client_token(&self, at: Option<String>) -> ClientToken {
        self.token_of(None, at)
    }

    fn token_of(&self, secret: Option<String>, at: Option<String>) -> ClientToken {
        ClientToken {
            format: CLIENT_LINE_FORMAT,
            site: self.clients().code.clone(),
            at,
            secret,
            authority: self.authority().certificate().to_owned(),
        }
    }

    /// Makes a machine a client, or lets it wait. The same token for the same key is answered again: an answer may be lost.
    pub(crate) fn enrol_client(
        &self,
        asked: &ClientEnrolment,
    ) -> Result<EnrolmentAnswer, SiteError> {
        if asked.format != CLIENT_LINE_FORMAT {
            return Err(SiteError::refused(format!(
                "the agent enrolls in format {}, and this site knows {CLIENT_LINE_FORMAT}: use the same Packhorse",
                asked.format
            )));
        }
        if asked.name.len() > LONGEST_CLIENT_NAME {
            return Err(SiteError::refused(format!(
                "a name has at most {LONGEST_CLIENT_NAME} bytes"
            )));
        }
        let key = PublicKey::parse(&asked.key)
            .ok_or_else(|| SiteError::refused("the key is none on the curve P-256".to_owned()))?;
        let fingerprint = key.fingerprint();
        let now = self.clients().now().at.0;
        let fresh = ClientId(chance::random::<16>()?);
        let until = wall().saturating_add(self.clients().life);
        let site = self.clients().code.clone();
        let granted = self.clients().write(|fleet| {
            let asking = Asking { asked, fingerprint: &fingerprint, fresh, now };
            let Some((client, change)) = asking.granted(fleet)? else {
                let is_known = fleet.requests.contains_key(&fingerprint);
                let changes = if is_known { Vec::new() } else { asking.request(fleet, &site)? };
                return Ok((None, changes));
            };
            let known = fleet.clients.get(&client);
            let mut row = known.cloned().unwrap_or_default();
            row.name.clone_from(&asked.name);
            // What the machine had before counts no longer: it was made anew, or its disk was copied.
            row.keys = vec![KeyRow { key: fingerprint.clone(), until }];
            row.revoked = None;
            if known.is_none() {
                row.enrolled = wall();
            }
            let changes = vec![change, Change::Client(client, Box::new(row))];
            Ok((Some((client, known.is_none())), changes))
        })?;
        let format = CLIENT_LINE_FORMAT;
        let Some((client, is_new)) = granted else {
            let waiting = ClientWaiting { format, site, waiting: fingerprint, next: ASKS_AGAIN };
            return Ok(EnrolmentAnswer::Waiting(waiting));
        };
        self.clients().forgive(client);
        log("enrolled", &json!({ "client": client, "name": asked.name, "new": is_new }));
        let certificate = self.authority().certify_client(client, &key, until)?;
        Ok(EnrolmentAnswer::Enrolled(ClientEnrolled { format, client, site, certificate }))
    }

    /// The next certificate of a client. Its key so far counts until the next one is used.
    pub(crate) fn renew_client(
        &self,
        client: ClientId,
        asked: &Renewal,
    ) -> Result<ClientEnrolled, SiteError> {
        let key = PublicKey::parse(&asked.key)
            .ok_or_else(|| SiteError::refused("the key is none on the curve P-256".to_owned()))?;
        let fingerprint = key.fingerprint();
        let until = wall().saturating_add(self.clients().life);
        self.clients().write(|fleet| {
            let mut row = fleet.clients.get(&client).cloned().unwrap_or_default();
            row.keys.retain(|one| one.key != fingerprint);
            // One that was asked for and never used gives way.
            row.keys.truncate(1);
            row.keys.push(KeyRow { key: fingerprint.clone(), until });
            Ok(((), vec![Change::Client(client, Box::new(row))]))
        })?;
        log("renewed", &json!({ "client": client }));
        let certificate = self.authority().certify_client(client, &key, until)?;
        let (format, site) = (CLIENT_LINE_FORMAT, self.clients().code.clone());
        Ok(ClientEnrolled { format, client, site, certificate })
    }

    /// A client is none any more; what is known of it stays.
    pub fn revoke_client(&self, client: ClientId) -> Result<(), SiteError> {
        self.clients().write(|fleet| {
            let row = fleet.clients.get(&client);
            let mut row = row.cloned().ok_or_else(|| {
                SiteError::refused(format!(
                    "there is no client {client}: `packhorse site client list`"
                ))
            })?;
            if row.revoked.is_some() {
                return Ok(((), Vec::new()));
            }
            row.revoked = Some(wall());
            row.keys.clear();
            Ok(((), vec![Change::Client(client, Box::new(row))]))
        })?;
        log("revoked", &json!({ "client": client }));
        // Those that wait for news are refused.
        self.clients().news.send_modify(|_| {});
        Ok(())
    }
}

/// A machine that asks to be a client.
pub(super) struct Asking<'a> {
    pub(super) asked: &'a ClientEnrolment,
    pub(super) fingerprint: &'a str,
    /// Who it is if it is nobody yet.
    pub(super) fresh: ClientId,
    /// Milliseconds on the site's steady clock.
    pub(super) now: u64,
}

impl Asking<'_> {
    /// Who it is to be, and what is remembered of that; nothing, while somebody has to approve it.
    fn granted(&self, fleet: &Fleet) -> Result<Option<(ClientId, Change)>, SiteError> {
        let Some(secret) = &self.asked.secret else { return self.approved(fleet) };
        let hash = Hash::of(secret.as_bytes()).to_string();
        let refused = |why: &str| SiteError::refused(format!("the token {why}: {CURE}"));
        let token = fleet.tokens.get(&hash).ok_or_else(|| refused("does not count here"))?;
        let client = match &token.spent {
            Some((spent, client)) if spent == self.fingerprint && self.is(fleet, *client) => {
                *client
            }
            Some(_) => return Err(refused("was used already")),
            None if self.now > token.until => return Err(refused("is too old")),
            None => token.client.unwrap_or_else(|| self.own(fleet, self.asked.client)),
        };
        let spent = Some((self.fingerprint.to_owned(), client));
        Ok(Some((client, Change::Token(hash, Some(TokenRow { spent, ..token.clone() })))))
    }

    fn approved(&self, fleet: &Fleet) -> Result<Option<(ClientId, Change)>, SiteError> {
        let row = fleet.requests.get(self.fingerprint).filter(|row| row.until > self.now);
        let Some((row, said)) = row.and_then(|row| Some((row, row.said?))) else { return Ok(None) };
        let client = match said {
            Said::Approved(client) => client,
            Said::Taken(client) if self.is(fleet, client) => client,
            Said::Taken(client) => {
                return Err(SiteError::refused(format!(
                    "client {client} was revoked, or has another key by now; `packhorse site client token --for {client}` brings it back"
                )));
            }
            Said::Refused => {
                return Err(SiteError::refused(format!(
                    "somebody refused the machine with key {}: `packhorse site client approve` takes that back, within a week",
                    self.fingerprint
                )));
            }
        };
        let row = RequestRow { said: Some(Said::Taken(client)), ..row.clone() };
        Ok(Some((client, Change::Request(self.fingerprint.to_owned(), Some(Box::new(row))))))
    }

    /// Whether it is a client already, by this key. One that was revoked, or has got another key since, is not.
    fn is(&self, fleet: &Fleet, client: ClientId) -> bool {
        let has = |row: &ClientRow| row.keys.iter().any(|one| one.key == self.fingerprint);
        fleet.clients.get(&client).is_some_and(|row| row.revoked.is_none() && has(row))
    }

    /// Who has an identity keeps it, unless it is somebody else's.
    fn own(&self, fleet: &Fleet, brought: Option<ClientId>) -> ClientId {
        let may = |id: &ClientId| !fleet.clients.contains_key(id) || self.is(fleet, *id);
        brought.filter(may).unwrap_or(self.fresh)
    }
}

/// A caller whose key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Whether a third of its certificate's life is left at most.
    pub(crate) is_to_renew: bool,
    /// Whether an older key of its may go now, for the newer one is used.
    pub(crate) has_changed_keys: bool,
}

impl Clients {
    /// Whether a key counts for a client.
    pub(crate) fn check(&self, client: ClientId, key: &str) -> Result<Known, NoClient> {
        let fleet = self.fleet();
        let row = fleet.clients.get(&client).ok_or(NoClient::Unknown)?;
        if row.revoked.is_some() {
            return Err(NoClient::Revoked);
        }
        let at = row.keys.iter().position(|one| one.key == key).ok_or(NoClient::OtherKey)?;
        let (until, now) = (row.keys[at].until, wall());
        if until <= now {
            return Err(NoClient::Expired);
        }
        let is_newest = at + 1 == row.keys.len();
        let is_to_renew = is_newest && until - now <= self.life / 3;
        Ok(Known { is_to_renew, has_changed_keys: is_newest && at > 0 })
    }

    /// The newest key of a client is in use: it is the only one from now on.
    pub(crate) fn settle_keys(&self, client: ClientId, key: &str) -> Result<(), SiteError> {
        self.write(|fleet| {
            let row = fleet.clients.get(&client);
            let is_newest = |row: &&ClientRow| {
                row.keys.len() > 1 && row.keys.last().is_some_and(|one| one.key == key)
            };
            let Some(mut row) = row.filter(is_newest).cloned() else {
                return Ok(((), Vec::new()));
            };
            row.keys.drain(..row.keys.len() - 1);
            Ok(((), vec![Change::Client(client, Box::new(row))]))
        })
    }

    /// Takes note of a refusal; told once, however often it comes.
    pub(crate) fn note_refused(&self, client: ClientId, why: &str) {
        // Who is unknown leaves nothing behind.
        if !self.fleet().clients.contains_key(&client) {
            return;
        }
        let mut live = self.live();
        let refused = &mut live.entry(client).or_default().refused;
        match refused {
            Some((known, count)) if known == why => *count += 1,
            _ => {
                log("refused", &json!({ "client": client, "why": why }));
                *refused = Some((why.to_owned(), 1));
            }
        }
    }

    /// What was refused before is over.
    fn forgive(&self, client: ClientId) {
        if let Some(live) = self.live().get_mut(&client) {
            (live.refused, live.note) = (None, None);
            live.boots.clear();
        }
    }
}
