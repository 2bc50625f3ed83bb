//! Clients nobody here wrote: devices that speak hawkBit's Direct Device Integration, as `swupdate` does, are told of deployments and
//! heard (docs/formats/ddi.md).
//!
//! To the rest of the site such a device is a client like any other: what it says becomes messages, what it is offered an offer.

mod artifact;

use std::{collections::BTreeMap, path::Path as FilePath, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use deployment::{Action, ClientId, Deployment, DeploymentId, Gate, PackageAction, RolloutEvent};
use model::Hash;
use running::{BootId, Message, Now, Parcel, RunId, Said, Word};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_http::services::ServeFile;

use super::{
    Clients, deploy,
    fleet::{Fleet, written},
    row::{Change, ClientRow},
    wall,
};
use crate::{Server, SiteError, chance, server::log};
use artifact::Artifact;

/// What a device says is no longer than this, in bytes.
const LONGEST: usize = 1 << 20;
/// So many attributes of a device are kept, and so many bytes of each.
const ATTRIBUTES: (usize, usize) = (256, 1 << 10);
/// What its messages count in: the numbers are given here.
const SERIES: u64 = 0x4444_4900;

type App = Arc<Server>;

/// What is known of a device beside what every client has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DeviceRow {
    /// The hash of the key it shows.
    pub(crate) key: String,
    /// What it says of itself.
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, String>,
    /// Whether it said so.
    #[serde(default)]
    pub(crate) is_described: bool,
    /// What it was told to carry out, and has not ended: its number, and of which deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) active: Option<(u32, DeploymentId)>,
}

/// What a device is to carry out.
struct Order {
    number: u32,
    deployment: Deployment,
}

#[derive(Debug)]
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "message": self.1 }))).into_response()
    }
}

impl From<SiteError> for Refusal {
    fn from(error: SiteError) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, model::with_causes(&error))
    }
}

/// All that is answered to devices.
pub(crate) fn router(server: App) -> Router {
    let own = "/{tenant}/controller/v1/{device}";
    Router::new()
        .route(own, get(poll))
        .route(&format!("{own}/configData"), put(describe))
        .route(&format!("{own}/deploymentBase/{{number}}"), get(order))
        .route(&format!("{own}/deploymentBase/{{number}}/feedback"), post(feedback))
        .route(&format!("{own}/cancelAction/{{number}}"), get(cancel))
        .route(&format!("{own}/cancelAction/{{number}}/feedback"), post(cancelled))
        .route(&format!("{own}/softwaremodules/{{number}}/artifacts/{{file}}"), get(content))
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(server)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SiteError> + Send + 'static,
) -> Result<T, Refusal> {
    let fault = |_| {
        let why = "a fault of the site: see its log".to_owned();
        Refusal(StatusCode::INTERNAL_SERVER_ERROR, why)
    };
    tokio::task::spawn_blocking(work).await.map_err(fault)?.map_err(Refusal::from)
}

fn gone() -> Refusal {
    Refusal(StatusCode::GONE, "that is not to be done, or not any more".to_owned())
}

/// The device that calls, if it is of this site and shows its key.
fn known(
    server: &App,
    (tenant, device): (&str, &str),
    headers: &HeaderMap,
) -> Result<ClientId, Refusal> {
    let clients = server.clients();
    let refused = |why: &str| Err(Refusal(StatusCode::UNAUTHORIZED, why.to_owned()));
    if !tenant.eq_ignore_ascii_case(clients.code.as_str()) {
        return refused("the tenant is the code of the site");
    }
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(key) = shown.and_then(|text| text.strip_prefix("TargetToken ")) else {
        return refused("a device shows its key: `Authorization: TargetToken KEY`");
    };
    let hash = Hash::of(key.trim().as_bytes()).to_string();
    let fleet = clients.fleet();
    let is_it = |row: &ClientRow| {
        row.name == device && row.device.as_ref().is_some_and(|known| known.key == hash)
    };
    let found = fleet.clients.iter().find(|(_, row)| is_it(row));
    match found.map(|(client, row)| (*client, row.revoked.is_some())) {
        Some((client, false)) => Ok(client),
        Some((client, true)) => {
            drop(fleet);
            clients.note_refused(client, "it was revoked");
            refused("this device was revoked")
        }
        None => {
            refused("no device of that name has this key: `packhorse site client foreign` adds one")
        }
    }
}

/// A number for one round of one deployment; the same whoever is asked.
fn number_of(fleet: &Fleet, deployment: &Deployment) -> u32 {
    let made = fleet.deployments.get(&deployment.id).map_or(0, |row| row.made);
    let text = format!("{} {made} {}", deployment.id, deployment.retry_round);
    let hash = Hash::of(text.as_bytes()).0;
    (u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) >> 1).max(1)
}

/// What comes first of all that a device is to carry out: packages that are installed, whose gate is open, and of which it has not
/// said how it went.
fn first(fleet: &Fleet, client: ClientId, clients: &Clients) -> Option<Order> {
    let document = fleet.document(client, &clients.making());
    let is_due = |deployment: &Deployment| {
        let rollout = fleet.rollouts.get(&deployment.id);
        deployment.gate == Gate::Open
            && deployment.program.action == Action::Package(PackageAction::Install)
            && rollout.is_some_and(|rollout| rollout.result_of(client).is_none())
    };
    let due: Vec<Deployment> = document.deployments.into_iter().filter(is_due).collect();
    let orders = due.into_iter().map(|deployment| {
        let number = number_of(fleet, &deployment);
        Order { number, deployment }
    });
    let device = fleet.clients.get(&client).and_then(|row| row.device.as_ref());
    let active = device.and_then(|device| device.active.as_ref()).map(|(number, _)| *number);
    let mut orders: Vec<Order> = orders.collect();
    // What was begun is carried on with.
    let at = orders.iter().position(|order| Some(order.number) == active).unwrap_or(0);
    (at < orders.len()).then(|| orders.swap_remove(at))
}

fn active(fleet: &Fleet, client: ClientId) -> Option<(u32, DeploymentId)> {
    fleet.clients.get(&client)?.device.as_ref()?.active.clone()
}

/// Where a device is answered, as it called us.
fn base(headers: &HeaderMap, tenant: &str, device: &str) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text("x-forwarded-host").or_else(|| text("host")).unwrap_or("localhost");
    let scheme = text("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
    format!("{scheme}://{host}/{tenant}/controller/v1/{device}")
}

/// What there is for a device, and when it is to ask again.
async fn poll(
    State(server): State<App>,
    Path((tenant, device)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let client = known(&server, (&tenant, &device), &headers)?;
    let clients = server.clients();
    clients.heard(client, None);
    let base = base(&headers, &tenant, &device);
    let fleet = clients.fleet();
    let mut links = serde_json::Map::new();
    let mut link = |name: &str, path: String| {
        links.insert(name.to_owned(), json!({ "href": format!("{base}/{path}") }));
    };
    let row = fleet.clients.get(&client).and_then(|row| row.device.as_ref());
    // Said once: while the link is there, some devices do nothing else.
    if row.is_some_and(|device| !device.is_described) {
        link("configData", "configData".to_owned());
    }
    let first = first(&fleet, client, clients);
    match (active(&fleet, client), first) {
        (Some((number, _)), first) if first.as_ref().is_none_or(|one| one.number != number) => {
            link("cancelAction", format!("cancelAction/{number}"));
        }
        (_, Some(order)) => link("deploymentBase", format!("deploymentBase/{}", order.number)),
        (_, None) => {}
    }
    drop(fleet);
    let next = clients.next_check_in(client);
    let sleep = format!("{:02}:{:02}:{:02}", next / 3600, next / 60 % 60, next % 60);
    Ok(Json(json!({ "config": { "polling": { "sleep": sleep } }, "_links": links })))
}

#[derive(Deserialize)]
struct Description {
    #[serde(default)]
    mode: Option<String>,
    data: BTreeMap<String, Value>,
}

/// What a device says of itself.
async fn describe(
    State(server): State<App>,
    Path((tenant, device)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let client = known(&server, (&tenant, &device), &headers)?;
    let said: Description = read(&body)?;
    blocking(move || {
        server.clients().change_device(client, |device| {
            let keep = matches!(said.mode.as_deref(), None | Some("merge" | "remove"));
            if !keep {
                device.attributes.clear();
            }
            for (name, value) in said.data.iter().take(ATTRIBUTES.0) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                if said.mode.as_deref() == Some("remove") {
                    device.attributes.remove(name);
                } else if name.len() + text.len() <= ATTRIBUTES.1 {
                    device.attributes.insert(name.clone(), text);
                }
            }
            device.is_described = true;
        })
    })
    .await?;
    Ok(StatusCode::OK)
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("it cannot be read: {error}")))
}

/// What a device is to carry out: the files of a package.
async fn order(
    State(server): State<App>,
    Path((tenant, device, number)): Path<(String, String, u32)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let client = known(&server, (&tenant, &device), &headers)?;
    let base = base(&headers, &tenant, &device);
    let answer = blocking(move || {
        let Some(deployment) = server.clients().take_order(client, number)? else {
            return Ok(None);
        };
        let package = &deployment.package;
        let artifacts = artifact::of(server.folder(), server.store(), package)?;
        let shown = |artifact: &Artifact| {
            let href = format!(
                "{base}/softwaremodules/{number}/artifacts/{}",
                percent_encoding::utf8_percent_encode(
                    &artifact.name,
                    percent_encoding::NON_ALPHANUMERIC
                )
            );
            let href = json!({ "href": href });
            json!({
                "filename": artifact.name,
                "hashes": { "sha1": artifact.sha1, "md5": artifact.md5, "sha256": artifact.sha256 },
                "size": artifact.size,
                "_links": { "download": href, "download-http": href },
            })
        };
        let chunk = json!({
            "part": "os",
            "version": package.version.as_str(),
            "name": package.name.as_str(),
            "artifacts": artifacts.iter().map(shown).collect::<Vec<_>>(),
        });
        let told = json!({ "download": "forced", "update": "forced", "chunks": [chunk] });
        Ok(Some(json!({ "id": number.to_string(), "deployment": told })))
    });
    answer.await?.map(Json).ok_or_else(gone)
}

#[derive(Debug, Deserialize)]
struct Feedback {
    status: Status,
}

#[derive(Debug, Deserialize)]
struct Status {
    execution: String,
    #[serde(default)]
    result: Outcome,
    #[serde(default)]
    details: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Outcome {
    #[serde(default)]
    finished: String,
}

impl Status {
    /// As a word of ours, and whether it is the last one.
    fn word(&self) -> Result<(Word, bool), Refusal> {
        match (self.execution.as_str(), self.result.finished.as_str()) {
            ("closed", "failure") | ("rejected", _) => Ok((Word::Failed, true)),
            ("closed", "success" | "none" | "") => Ok((Word::Done, true)),
            ("canceled", _) => Ok((Word::Withdrawn, true)),
            ("proceeding" | "scheduled" | "resumed" | "download" | "downloaded", _) => {
                Ok((Word::Starting, false))
            }
            (execution, finished) => {
                let why = format!("nobody knows `{execution}` with `{finished}`");
                Err(Refusal(StatusCode::BAD_REQUEST, why))
            }
        }
    }
}

/// How a device gets on with what it was told.
async fn feedback(
    State(server): State<App>,
    Path((tenant, device, number)): Path<(String, String, u32)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let client = known(&server, (&tenant, &device), &headers)?;
    server.clients().heard(client, None);
    let said: Feedback = read(&body).inspect_err(|refusal| {
        server.clients().note(client, refusal.1.clone());
    })?;
    let (word, is_last) = said.status.word()?;
    let cause = said.status.details.join("; ");
    take(server, client, number, Some((word, cause)), is_last).await
}

/// Takes what a device says of what it carries out, its last word or not.
async fn take(
    server: App,
    client: ClientId,
    number: u32,
    said: Option<(Word, String)>,
    is_last: bool,
) -> Result<StatusCode, Refusal> {
    let taken = blocking(move || {
        let Some((_, deployment)) =
            active(&server.clients().fleet(), client).filter(|(active, _)| *active == number)
        else {
            return Ok(false);
        };
        if let Some((word, cause)) = said {
            server.clients().take_word(client, &deployment, word, &cause)?;
        }
        if is_last {
            server.clients().change_device(client, |device| device.active = None)?;
        }
        Ok(true)
    });
    if taken.await? { Ok(StatusCode::OK) } else { Err(gone()) }
}

/// What a device is not to carry out any more.
async fn cancel(
    State(server): State<App>,
    Path((tenant, device, number)): Path<(String, String, u32)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let client = known(&server, (&tenant, &device), &headers)?;
    let is_it = active(&server.clients().fleet(), client).is_some_and(|(one, _)| one == number);
    let id = number.to_string();
    if is_it {
        Ok(Json(json!({ "id": id, "cancelAction": { "stopId": id } })))
    } else {
        Err(gone())
    }
}

/// That it does not, or could not be stopped: then it said how it went.
async fn cancelled(
    State(server): State<App>,
    Path((tenant, device, number)): Path<(String, String, u32)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let client = known(&server, (&tenant, &device), &headers)?;
    let said: Feedback = read(&body)?;
    if !matches!(said.status.execution.as_str(), "closed" | "rejected" | "canceled") {
        return Ok(StatusCode::OK);
    }
    let is_stopped =
        said.status.execution != "rejected" && said.status.result.finished != "failure";
    let said = is_stopped.then(|| (Word::Withdrawn, said.status.details.join("; ")));
    take(server, client, number, said, true).await
}

/// A file of a package, whole or in part.
async fn content(
    State(server): State<App>,
    Path((tenant, device, number, file)): Path<(String, String, u32, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let client = known(&server, (&tenant, &device), request.headers())?;
    let path = blocking(move || {
        let fleet = server.clients().fleet();
        let order = first(&fleet, client, server.clients()).filter(|one| one.number == number);
        drop(fleet);
        let Some(order) = order else { return Ok(None) };
        let package = &order.deployment.package;
        let artifacts = artifact::of(server.folder(), server.store(), package)?;
        let known = artifacts.iter().find(|artifact| artifact.name == file);
        Ok(known.map(|artifact| artifact::path(server.folder(), package, &artifact.name)))
    });
    let path = path.await?.ok_or_else(gone)?;
    let path: &FilePath = &path;
    match ServeFile::new(path).try_call(request).await {
        Ok(answer) => Ok(answer.into_response()),
        Err(error) => Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}

impl Clients {
    fn change_device(
        &self,
        client: ClientId,
        change: impl Fn(&mut DeviceRow),
    ) -> Result<(), SiteError> {
        self.write(|fleet| {
            let Some(known) = fleet.clients.get(&client) else { return Ok(((), Vec::new())) };
            let mut row = known.clone();
            if let Some(device) = &mut row.device {
                change(device);
            }
            let is_same = row == *known;
            let changed = Change::Client(client, Box::new(row));
            Ok(((), if is_same { Vec::new() } else { vec![changed] }))
        })
    }

    /// A device learns what it is to carry out: that is written down first.
    fn take_order(&self, client: ClientId, number: u32) -> Result<Option<Deployment>, SiteError> {
        let now = self.now();
        let told = self.write(|fleet| {
            let order = first(fleet, client, self).filter(|one| one.number == number);
            let (Some(order), Some(known)) = (order, fleet.clients.get(&client)) else {
                return Ok((None, Vec::new()));
            };
            let id = order.deployment.id.clone();
            let mut changes = Vec::new();
            let mut effects = Vec::new();
            let rollout = fleet.rollouts.get(&id);
            if let Some(Ok(decided)) =
                rollout.map(|rollout| rollout.decide(&RolloutEvent::Offered(client), now))
            {
                (changes, effects) = written(&id, decided);
            }
            let mut row = known.clone();
            let active = Some((number, id.clone()));
            if let Some(device) = row.device.as_mut().filter(|device| device.active != active) {
                device.active = active;
                changes.push(Change::Client(client, Box::new(row)));
            }
            Ok((Some((order.deployment, id, effects)), changes))
        })?;
        Ok(told.map(|(deployment, id, effects)| {
            deploy::tell(&id, &effects);
            deployment
        }))
    }

    /// What a device says, as a message of a client. What it says again counts once.
    fn take_word(
        &self,
        client: ClientId,
        deployment: &DeploymentId,
        word: Word,
        cause: &str,
    ) -> Result<(), SiteError> {
        let run = RunId::of(deployment.as_str());
        let sequence = {
            let fleet = self.fleet();
            let Some(row) = fleet.clients.get(&client) else { return Ok(()) };
            let last = row.results.get(&run.to_string()).map(|result| result.word);
            if last == Some(word) && word == Word::Starting {
                return Ok(());
            }
            row.heard(SERIES).unwrap_or(0) + 1
        };
        let said = Said {
            word,
            run: Some(run),
            attempt: 1,
            cause: cause.into(),
            evidence: "".into(),
            next: "".into(),
        };
        let at = Now { boot: BootId(0), at: 0 };
        let clock = wall();
        let message = Message { sequence, series: SERIES, clock, at, said, detail: Vec::new() };
        let parcel = Parcel { series: SERIES, messages: vec![(sequence, Ok(message))] };
        self.take_messages(client, &parcel).map(drop)
    }
}

impl Server {
    /// Removes what was unpacked for devices and is deployed no longer.
    pub(super) fn sweep_artifacts(&self) {
        let fleet = self.clients().fleet();
        let packages = fleet.deployments.values().map(|row| &row.deployment.package);
        let deployed = packages.map(|package| package.identity.to_string()).collect();
        drop(fleet);
        if let Err(error) = artifact::sweep(self.folder(), &deployed) {
            log("failed", &json!({ "error": model::with_causes(&error) }));
        }
    }

    /// Makes a client of a device that speaks hawkBit's protocol; the key it shows.
    pub fn add_foreign(&self, name: &str) -> Result<String, SiteError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
            let why = "a device is named with 1 to 64 letters, digits, `-`, `.`, `_`, `:`";
            return Err(SiteError::refused(why.to_owned()));
        }
        let key = chance::secret()?;
        let client = ClientId(chance::random::<16>()?);
        let device =
            DeviceRow { key: Hash::of(key.as_bytes()).to_string(), ..DeviceRow::default() };
        self.clients().write(|fleet| {
            let has_it = |row: &&ClientRow| {
                row.name == name && row.device.is_some() && row.revoked.is_none()
            };
            if fleet.clients.values().any(|row| has_it(&row)) {
                return Err(SiteError::refused(format!("there is a device `{name}` already")));
            }
            let row = ClientRow {
                name: name.to_owned(),
                enrolled: wall(),
                device: Some(device.clone()),
                ..ClientRow::default()
            };
            Ok(((), vec![Change::Client(client, Box::new(row))]))
        })?;
        log("enrolled", &json!({ "client": client, "name": name }));
        Ok(key)
    }
}
