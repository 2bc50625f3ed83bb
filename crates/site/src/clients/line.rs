//! What clients call, over the same listener as children: enrolment, the policy document, news, messages, inventories, the next
//! certificate (docs/formats/client-line.md).

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use deployment::{
    CLIENT_LINE_FORMAT, ClientEnrolment, ClientId, Gate, InventoryReport, Renewal, RolloutEvent,
    client_of_host_name,
};
use model::Hash;
use running::Parcel;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    Clients, Live,
    deploy::tell,
    enrol::{Known, NoClient},
    fleet::{Making, written},
    row::SeenRow,
    wall,
};
use crate::{Server, SiteError};

/// A long poll is answered after this at the latest, whatever the client asks for.
const LONGEST_POLL: u64 = 900;
/// What a client sends is no longer than this, in bytes.
const LONGEST: usize = 16 << 20;
/// Words before there is a certificate are no longer than this, in bytes.
const LONGEST_WORD: usize = 16 << 10;
/// So many starts of a machine are remembered.
const BOOTS: usize = 8;

/// Who calls, by its certificate: a client's name, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    client: ClientId,
    key: String,
}

/// Who a certificate of this site's authority is of, if it is a client's.
pub(crate) fn caller(certificate: &CertificateDer<'_>) -> Option<Caller> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut names = parsed.valid_dns_names();
    let (Some(name), None) = (names.next(), names.next()) else { return None };
    let client = client_of_host_name(name)?;
    let key = Hash::of(parsed.subject_public_key_info().as_ref()).to_string();
    Some(Caller { client, key })
}

type App = Arc<Server>;
type Called = Extension<Option<Caller>>;

struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<SiteError> for Refusal {
    fn from(error: SiteError) -> Self {
        let status = match error {
            SiteError::Said { conflict: true, .. } => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, model::with_causes(&error))
    }
}

/// All that is answered to clients.
pub(crate) fn routes() -> Router<App> {
    let enrolment =
        Router::new().route("/enrolment", post(enrol)).layer(DefaultBodyLimit::max(LONGEST_WORD));
    Router::new()
        .route("/policy", get(policy))
        .route("/news", get(news))
        .route("/messages", post(messages))
        .route("/inventory", post(inventory))
        .route("/certificate", post(renew))
        .layer(DefaultBodyLimit::max(LONGEST))
        .merge(enrolment)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SiteError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Refusal::from),
        Err(_) => Err(Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a fault of the site: see its log".to_owned(),
        )),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("it cannot be read: {error}")))
}

/// The client that calls, if its key counts.
fn known(server: &App, caller: Option<Caller>) -> Result<(Caller, Known), Refusal> {
    let Some(caller) = caller else {
        let why = "only clients with a certificate of this site are answered: `packhorse-agent enroll` gets one";
        return Err(Refusal(StatusCode::UNAUTHORIZED, why.to_owned()));
    };
    let clients = server.clients();
    match clients.check(caller.client, &caller.key) {
        Ok(known) => Ok((caller, known)),
        Err(no) => {
            let why = no.message(&clients.code, caller.client);
            clients.note_refused(caller.client, &why);
            let status = match no {
                NoClient::Expired => StatusCode::UNAUTHORIZED,
                _ => StatusCode::FORBIDDEN,
            };
            Err(Refusal(status, why))
        }
    }
}

async fn enrol(State(server): State<App>, body: Bytes) -> Result<Response, Refusal> {
    let asked: ClientEnrolment = read(&body)?;
    Ok(Json(blocking(move || server.enrol_client(&asked)).await?).into_response())
}

async fn renew(
    State(server): State<App>,
    Extension(caller): Called,
    body: Bytes,
) -> Result<Response, Refusal> {
    let (caller, _) = known(&server, caller)?;
    let asked: Renewal = read(&body)?;
    if asked.format != CLIENT_LINE_FORMAT {
        let why = format!("this site knows format {CLIENT_LINE_FORMAT} of these words");
        return Err(Refusal(StatusCode::BAD_REQUEST, why));
    }
    let enrolled = blocking(move || server.renew_client(caller.client, &asked)).await?;
    Ok(Json(enrolled).into_response())
}

/// What a client says of itself when it checks in; all of it may be left out.
#[derive(Debug, Default)]
struct Asking {
    content: Option<Hash>,
    series: Option<u64>,
    boot: Option<u64>,
}

fn asking(headers: &HeaderMap) -> Asking {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let content = text("if-none-match").and_then(|tag| tag.trim_matches('"').parse().ok());
    let number = |name| text(name).and_then(|text| u64::from_str_radix(text, 16).ok());
    Asking { content, series: number("series"), boot: number("boot") }
}

/// The policy document, or that it says what the client knows.
async fn policy(
    State(server): State<App>,
    Extension(caller): Called,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (caller, known) = known(&server, caller)?;
    let clients = Arc::clone(server.clients());
    let client = caller.client;
    if known.has_changed_keys {
        let (clients, key) = (Arc::clone(&clients), caller.key.clone());
        blocking(move || clients.settle_keys(client, &key)).await?;
    }
    let asking = asking(&headers);
    clients.heard(client, asking.boot);
    let mut answer = HeaderMap::new();
    let mut say = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.insert(name, value);
        }
    };
    say("next", clients.next_check_in(client).to_string());
    if known.is_to_renew {
        say("renew", "1".to_owned());
    }
    if let Some(series) = asking.series
        && let Some(heard) = clients.fleet().clients.get(&client).and_then(|row| row.heard(series))
    {
        say("heard", format!("{heard:x}"));
    }
    if asking.content.is_some() && asking.content == clients.content(client) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    let signer = Arc::clone(&server);
    let (document, signature) = blocking(move || {
        let document = clients.offer(client)?;
        let signature = signer.authority().sign_policy(&document)?;
        Ok((document, signature))
    })
    .await?;
    say("signature", signature);
    Ok((StatusCode::OK, answer, document).into_response())
}

#[derive(Debug, Deserialize)]
struct Poll {
    /// What the client knows.
    content: String,
    /// For how many seconds it waits.
    wait: u64,
}

/// That there is news, as soon as there is.
async fn news(
    State(server): State<App>,
    Extension(caller): Called,
    Query(poll): Query<Poll>,
) -> Result<Response, Refusal> {
    let (caller, _) = known(&server, caller.clone())?;
    let clients = Arc::clone(server.clients());
    let known_content = poll.content.parse().ok();
    let patience = Duration::from_secs(poll.wait.clamp(1, LONGEST_POLL));
    let until = tokio::time::sleep(patience);
    tokio::pin!(until);
    let mut wake = clients.news.subscribe();
    loop {
        known(&server, Some(caller.clone()))?;
        if clients.content(caller.client) != known_content {
            return Ok(Json(json!({ "news": true })).into_response());
        }
        tokio::select! {
            changed = wake.changed() => if changed.is_err() { break },
            () = &mut until => break,
            () = server.stopped() => break,
        }
    }
    Ok(Json(json!({ "news": false })).into_response())
}

async fn messages(
    State(server): State<App>,
    Extension(caller): Called,
    body: Bytes,
) -> Result<Response, Refusal> {
    let (caller, _) = known(&server, caller)?;
    let clients = Arc::clone(server.clients());
    clients.heard(caller.client, None);
    let parcel = Parcel::read(&body).map_err(|error| {
        let why = error.to_string();
        clients.note(caller.client, why.clone());
        Refusal(StatusCode::BAD_REQUEST, why)
    })?;
    let taken = blocking(move || clients.take_messages(caller.client, &parcel)).await?;
    Ok(Json(taken).into_response())
}

async fn inventory(
    State(server): State<App>,
    Extension(caller): Called,
    body: Bytes,
) -> Result<Response, Refusal> {
    let (caller, _) = known(&server, caller)?;
    let clients = Arc::clone(server.clients());
    let report = InventoryReport::read(&body).map_err(|error| {
        let why = error.to_string();
        clients.note(caller.client, why.clone());
        Refusal(StatusCode::BAD_REQUEST, why)
    })?;
    let taken = blocking(move || clients.take_inventory(caller.client, &report)).await?;
    Ok(Json(taken).into_response())
}

impl Clients {
    /// A client was heard of. Two machines with one identity are told apart by their starts: no machine goes back to an earlier one.
    pub(super) fn heard(&self, client: ClientId, boot: Option<u64>) {
        let at = self.now().at;
        let mut live = self.live();
        let live = live.entry(client).or_default();
        live.seen = SeenRow { wall: wall(), at };
        (live.is_written, live.is_heard) = (false, false);
        live.refused = None;
        let Some(boot) = boot.filter(|boot| live.boots.last() != Some(boot)) else { return };
        if live.boots.contains(&boot) {
            let note = "two machines have this identity, for its disk was copied: on one of them, `packhorse-agent enroll --as-new` with a new token";
            live.note = Some(note.to_owned());
        }
        live.boots.retain(|known| *known != boot);
        live.boots.push(boot);
        let surplus = live.boots.len().saturating_sub(BOOTS);
        live.boots.drain(..surplus);
    }

    /// Seconds until a client is to check in again: a tenth more or less, so that those who came together come apart.
    pub(super) fn next_check_in(&self, client: ClientId) -> u32 {
        let hash = Hash::of(&[client.0.as_slice(), &wall().to_le_bytes()].concat());
        let dice = u32::from_le_bytes([hash.0[0], hash.0[1], hash.0[2], hash.0[3]]);
        self.check_in - self.check_in / 10 + dice % (self.check_in / 5).max(1)
    }

    /// Something somebody should know of a client.
    pub(super) fn note(&self, client: ClientId, note: String) {
        self.live().entry(client).or_default().note = Some(note);
    }

    /// Names what a client's document says now. Asked of memory, unless something changed.
    pub(crate) fn content(&self, client: ClientId) -> Option<Hash> {
        let fleet = self.fleet();
        let policies = fleet.policies;
        let known = self.live().get(&client).and_then(|live| live.content);
        if let Some((_, content)) = known.filter(|(as_of, _)| *as_of == policies) {
            return Some(content);
        }
        let document = fleet.document(client, &self.making()).write();
        drop(fleet);
        let content = deployment::content_of(&document).map(|(_, content)| content)?;
        let mut live = self.live();
        let live: &mut Live = live.entry(client).or_default();
        live.content = Some((policies, content));
        Some(content)
    }

    pub(crate) fn making(&self) -> Making<'_> {
        Making { site: &self.code, epoch: self.epoch }
    }

    /// The document of a client, which learns of what is open to it from now on.
    fn offer(&self, client: ClientId) -> Result<Vec<u8>, SiteError> {
        let now = self.now();
        let (document, told) = self.write(|fleet| {
            let document = fleet.document(client, &self.making());
            let open = document.deployments.iter().filter(|one| one.gate == Gate::Open);
            let (mut changes, mut told) = (Vec::new(), Vec::new());
            for id in open.map(|one| &one.id) {
                let decided = fleet
                    .rollouts
                    .get(id)
                    .map(|rollout| rollout.decide(&RolloutEvent::Offered(client), now));
                let Some(Ok(decided)) = decided else { continue };
                let (more, effects) = written(id, decided);
                changes.extend(more);
                told.push((id.clone(), effects));
            }
            Ok(((document, told), changes))
        })?;
        for (id, effects) in &told {
            tell(id, effects);
        }
        Ok(document.write())
    }
}
