//! Clients, deployments and collections behind HTTP, for people and programs.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use deployment::{ClientId, CollectionSpec, Preview};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ClientDetails, ClientRequest, ClientSummary, CollectionStatus, Deployed, DeploymentOnClient,
    DeploymentStatus, NewDeployment, SiteWindow, WindowStatus,
};
use crate::{
    SiteError,
    api::{App, Done, Refusal, Refused, blocking},
};

/// A token to be made.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct NewClientToken {
    /// The known client it gives its identity back to; a new one where unsaid.
    pub(crate) client: Option<String>,
    /// For how many hours it counts; a week where unsaid.
    pub(crate) hours: Option<u32>,
    /// Without a secret, then: whoever brings it waits until somebody approves it.
    pub(crate) by_approval: bool,
    /// Where this site listens, as clients call it.
    pub(crate) at: Option<String>,
}

/// A device that runs no agent of ours.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewForeign {
    /// What it calls itself.
    pub(crate) name: String,
}

/// What it shows.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ForeignKey {
    /// The key.
    pub(crate) key: String,
}

/// What is said to a machine that asks to be a client.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RequestAnswer {
    /// Yes, or no.
    pub(crate) approve: bool,
    /// The known client it is to be; where unsaid, who it says it is, or a new one.
    #[serde(default)]
    pub(crate) client: Option<String>,
}

/// How a deployment goes on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Steering {
    /// `pause`, `resume`, `stop`, `approve`, `next-wave`, `retry`.
    pub(crate) what: String,
    /// Who says so.
    #[serde(default)]
    pub(crate) by: String,
    /// Whom another try is for; for all that failed where there are none.
    #[serde(default)]
    pub(crate) clients: Vec<String>,
}

/// A rule to be tried.
#[derive(Clone, Debug, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RuleText {
    /// In CEL.
    pub(crate) rule: String,
}

/// Which client, and which collection.
#[derive(Clone, Debug, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhyAsked {
    /// The client.
    pub(crate) client: String,
    /// The collection.
    pub(crate) collection: String,
}

/// A client and how a deployment is with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OnClient {
    /// The client.
    pub client: ClientSummary,
    /// How it is there.
    pub on: DeploymentOnClient,
}

/// What may be asked with the token.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_clients))
        .routes(routes!(new_client_token))
        .routes(routes!(add_foreign))
        .routes(routes!(list_requests))
        .routes(routes!(answer_request))
        .routes(routes!(show_client, revoke_client))
        .routes(routes!(list_deployments, deploy))
        .routes(routes!(show_deployment, remove_deployment, steer_deployment))
        .routes(routes!(list_collections, save_collection))
        .routes(routes!(show_collection, remove_collection))
        .routes(routes!(list_windows, save_window))
        .routes(routes!(remove_window))
        .routes(routes!(preview_rule))
        .routes(routes!(why))
}

fn done() -> Json<Done> {
    Json(Done { done: true })
}

/// All clients.
#[utoipa::path(
    get,
    path = "/v1/clients",
    responses((status = 200, body = Vec<ClientSummary>, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn list_clients(State(server): State<App>) -> Result<Json<Vec<ClientSummary>>, Refusal> {
    Ok(Json(blocking(move || Ok(server.client_list())).await?))
}

/// A token a machine becomes a client with; with a secret it counts once.
#[utoipa::path(
    post,
    path = "/v1/client-tokens",
    request_body = NewClientToken,
    responses((status = 200, body = Object, description = "The token: format, site, at, secret, authority"), Refused),
    security(("token" = [])),
)]
async fn new_client_token(
    State(server): State<App>,
    Json(asked): Json<NewClientToken>,
) -> Result<Json<deployment::ClientToken>, Refusal> {
    let token = blocking(move || {
        let client = asked.client.as_deref().map(|text| server.client_meant(text)).transpose()?;
        match (asked.by_approval, client, asked.hours) {
            (false, client, hours) => server.client_token(client, hours, asked.at),
            (true, None, None) => Ok(server.open_client_token(asked.at)),
            (true, ..) => Err(SiteError::refused(
                "a token by approval is for nobody in particular, and has no end".to_owned(),
            )),
        }
    });
    Ok(Json(token.await?))
}

/// Machines that ask to be clients.
#[utoipa::path(
    get,
    path = "/v1/client-requests",
    responses((status = 200, body = Vec<ClientRequest>, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn list_requests(State(server): State<App>) -> Result<Json<Vec<ClientRequest>>, Refusal> {
    Ok(Json(blocking(move || Ok(server.client_requests())).await?))
}

/// A machine that asks is approved, or refused.
#[utoipa::path(
    post,
    path = "/v1/client-requests/{key}",
    params(("key" = String, Path, description = "The fingerprint of its key, or the beginning of that")),
    request_body = RequestAnswer,
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn answer_request(
    State(server): State<App>,
    Path(key): Path<String>,
    Json(said): Json<RequestAnswer>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || {
        if !said.approve {
            return server.refuse_request(&key);
        }
        let client = said.client.as_deref().map(|text| server.client_meant(text)).transpose()?;
        server.approve_request(&key, client).map(drop)
    })
    .await?;
    Ok(done())
}

/// A device that speaks hawkBit's protocol becomes a client.
#[utoipa::path(
    post,
    path = "/v1/foreign-clients",
    request_body = NewForeign,
    responses((status = 200, body = ForeignKey, description = "The key it shows, told this once"), Refused),
    security(("token" = [])),
)]
async fn add_foreign(
    State(server): State<App>,
    Json(asked): Json<NewForeign>,
) -> Result<Json<ForeignKey>, Refusal> {
    let key = blocking(move || server.add_foreign(&asked.name)).await?;
    Ok(Json(ForeignKey { key }))
}

/// All that is known of a client.
#[utoipa::path(
    get,
    path = "/v1/clients/{client}",
    params(("client" = String, Path, description = "Its id, the beginning of that, or its name")),
    responses((status = 200, body = ClientDetails, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn show_client(
    State(server): State<App>,
    Path(client): Path<String>,
) -> Result<Json<ClientDetails>, Refusal> {
    let shown = blocking(move || server.client_details(server.client_meant(&client)?));
    Ok(Json(shown.await?))
}

/// A client is none any more.
#[utoipa::path(
    delete,
    path = "/v1/clients/{client}",
    params(("client" = String, Path, description = "Its id, the beginning of that, or its name")),
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn revoke_client(
    State(server): State<App>,
    Path(client): Path<String>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || server.revoke_client(server.client_meant(&client)?)).await?;
    Ok(done())
}

/// All deployments, and how they go.
#[utoipa::path(
    get,
    path = "/v1/deployments",
    responses((status = 200, body = Vec<DeploymentStatus>, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn list_deployments(
    State(server): State<App>,
) -> Result<Json<Vec<DeploymentStatus>>, Refusal> {
    Ok(Json(blocking(move || Ok(server.deployment_list())).await?))
}

/// Deploys a package or a command.
#[utoipa::path(
    post,
    path = "/v1/deployments",
    request_body = NewDeployment,
    responses((status = 200, body = Deployed, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn deploy(
    State(server): State<App>,
    Json(new): Json<NewDeployment>,
) -> Result<Json<Deployed>, Refusal> {
    Ok(Json(blocking(move || server.deploy(&new)).await?))
}

/// How a deployment is with each of its clients.
#[utoipa::path(
    get,
    path = "/v1/deployments/{id}",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = Vec<OnClient>, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn show_deployment(
    State(server): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Vec<OnClient>>, Refusal> {
    let all = blocking(move || server.deployment_clients(&id)).await?;
    Ok(Json(all.into_iter().map(|(client, on)| OnClient { client, on }).collect()))
}

/// Withdraws a deployment.
#[utoipa::path(
    delete,
    path = "/v1/deployments/{id}",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn remove_deployment(
    State(server): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || server.remove_deployment(&id)).await?;
    Ok(done())
}

/// Says how a deployment goes on.
#[utoipa::path(
    post,
    path = "/v1/deployments/{id}",
    request_body = Steering,
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn steer_deployment(
    State(server): State<App>,
    Path(id): Path<String>,
    Json(Steering { what, by, clients }): Json<Steering>,
) -> Result<Json<Done>, Refusal> {
    let steered = blocking(move || match what.as_str() {
        "pause" => server.pause_deployment(&id, &by),
        "resume" => server.resume_deployment(&id),
        "stop" => server.stop_deployment(&id, &by),
        "approve" => server.approve_deployment(&id),
        "next-wave" => server.next_wave(&id),
        "retry" => {
            let meant = clients.iter().map(|text| server.client_meant(text));
            server.retry_deployment(&id, &meant.collect::<Result<Vec<ClientId>, _>>()?)
        }
        other => Err(SiteError::Said {
            message: format!(
                "`{other}` means nothing there; known are `pause`, `resume`, `stop`, `approve`, `next-wave`, `retry`"
            ),
            conflict: true,
        }),
    });
    steered.await?;
    Ok(done())
}

/// All collections.
#[utoipa::path(
    get,
    path = "/v1/collections",
    responses((status = 200, body = Vec<CollectionStatus>, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn list_collections(
    State(server): State<App>,
) -> Result<Json<Vec<CollectionStatus>>, Refusal> {
    Ok(Json(blocking(move || Ok(server.collection_list())).await?))
}

/// Saves a collection, new or changed: `name`, `rule`, `everybody`, `members`, `include`, `exclude`, `limit`.
#[utoipa::path(
    post,
    path = "/v1/collections",
    request_body = Object,
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn save_collection(
    State(server): State<App>,
    Json(spec): Json<CollectionSpec>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || server.save_collection(&spec)).await?;
    Ok(done())
}

/// Who belongs to a collection.
#[utoipa::path(
    get,
    path = "/v1/collections/{name}",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = Vec<ClientSummary>, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn show_collection(
    State(server): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Vec<ClientSummary>>, Refusal> {
    Ok(Json(blocking(move || Ok(server.collection_members(&name))).await?))
}

/// Removes a collection nobody names.
#[utoipa::path(
    delete,
    path = "/v1/collections/{name}",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn remove_collection(
    State(server): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || server.remove_collection(&name)).await?;
    Ok(done())
}

/// All maintenance windows.
#[utoipa::path(
    get,
    path = "/v1/windows",
    responses((status = 200, body = Vec<WindowStatus>, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn list_windows(State(server): State<App>) -> Result<Json<Vec<WindowStatus>>, Refusal> {
    Ok(Json(blocking(move || Ok(server.window_list())).await?))
}

/// Saves a maintenance window, new or changed.
#[utoipa::path(
    post,
    path = "/v1/windows",
    request_body = SiteWindow,
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn save_window(
    State(server): State<App>,
    Json(new): Json<SiteWindow>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || server.save_window(&new)).await?;
    Ok(done())
}

/// Removes a maintenance window.
#[utoipa::path(
    delete,
    path = "/v1/windows/{name}",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn remove_window(
    State(server): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || server.remove_window(&name)).await?;
    Ok(done())
}

/// What a rule would catch, before anything is saved.
#[utoipa::path(
    get,
    path = "/v1/collection-preview",
    params(RuleText),
    responses((status = 200, body = Object, description = "size, clients, sample, unknown"), Refused),
    security(("token" = [])),
)]
async fn preview_rule(
    State(server): State<App>,
    Query(RuleText { rule }): Query<RuleText>,
) -> Result<Json<Preview>, Refusal> {
    Ok(Json(blocking(move || server.preview(&rule)).await?))
}

/// Why a client is in a collection, or not.
#[utoipa::path(
    get,
    path = "/v1/collection-why",
    params(WhyAsked),
    responses((status = 200, body = Object, description = "collection, membership, because"), Refused),
    security(("token" = [])),
)]
async fn why(
    State(server): State<App>,
    Query(WhyAsked { client, collection }): Query<WhyAsked>,
) -> Result<Json<deployment::Why>, Refusal> {
    let why = blocking(move || server.why(server.client_meant(&client)?, &collection));
    Ok(Json(why.await?))
}
