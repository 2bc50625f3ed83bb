//! The site behind HTTP: the same shapes as `--json` prints.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::TryStreamExt;
use model::PackageName;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::{AddressSettings, Server, SiteError, Status, Token, Trip, copy::sentence};

/// A point to be added.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPoint {
    pub(crate) name: String,
    pub(crate) location: String,
}

/// Points that are to hold a package, or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assignment {
    pub(crate) points: Vec<String>,
    pub(crate) wanted: bool,
}

/// A child to be added, and how it may be sent to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewChild {
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) address: AddressSettings,
}

/// What is to be tried again at once; all, if nothing is named.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    pub(crate) point: Option<String>,
    pub(crate) package: Option<PackageName>,
}

/// A medium, as a folder of the site's machine, and for whom; for all children, if nobody is named.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Medium {
    pub(crate) folder: PathBuf,
    #[serde(default)]
    pub(crate) children: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Force {
    #[serde(default)]
    force: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Replace {
    #[serde(default)]
    replace: bool,
}

type App = Arc<Server>;

struct Refusal(SiteError);

impl From<SiteError> for Refusal {
    fn from(error: SiteError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            SiteError::Refused(_)
            | SiteError::Code(_)
            | SiteError::Location { .. }
            | SiteError::Publish(_)
            | SiteError::Said { conflict: true, .. } => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({ "error": sentence(&self.0) }))).into_response()
    }
}

/// All that is answered. What changes anything needs the token.
pub(crate) fn router(server: App, token: String) -> Router {
    let token: Arc<str> = token.into();
    let guarded = Router::new()
        .route("/v1/points", post(add_point))
        .route("/v1/points/{name}", axum::routing::delete(remove_point))
        .route("/v1/packages", post(publish))
        .route("/v1/packages/{name}", axum::routing::delete(retire))
        .route("/v1/packages/{name}/assignment", post(assign))
        .route("/v1/packages/{name}/priority", axum::routing::put(prioritise))
        .route("/v1/children", post(add_child))
        .route("/v1/children/{code}", axum::routing::delete(remove_child))
        .route("/v1/children/{code}/token", post(new_token))
        .route("/v1/children/{code}/address", axum::routing::put(address))
        .route("/v1/courier/export", post(courier_export))
        .route("/v1/courier/import", post(courier_import))
        .route("/v1/retry", post(retry))
        .route("/v1/verify", post(verify))
        .route_layer(middleware::from_fn(move |request: Request, next: Next| {
            let token = Arc::clone(&token);
            async move { authorised(&token, request, next).await }
        }));
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/health", get(|| async { Json(json!({ "healthy": true })) }))
        .route("/metrics", get(metrics))
        .merge(guarded)
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(server)
}

async fn authorised(token: &str, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    // Hashes are compared, so that time says nothing about the token.
    let hash = |text: &str| model::Hash::of(text.as_bytes());
    if given.is_some_and(|given| hash(given) == hash(token)) {
        return next.run(request).await;
    }
    let error =
        json!({ "error": "the token is wrong or missing: it is in the site's folder, in `token`" });
    (StatusCode::UNAUTHORIZED, Json(error)).into_response()
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SiteError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Refusal),
        Err(_) => Err(Refusal(SiteError::Said {
            message: "the request ended in a fault of the site: see its log".to_owned(),
            conflict: false,
        })),
    }
}

async fn status(State(server): State<App>) -> Result<Json<Status>, Refusal> {
    Ok(Json(blocking(move || Ok(server.status())).await?))
}

async fn metrics(State(server): State<App>) -> Result<String, Refusal> {
    blocking(move || Ok(server.status().to_metrics())).await
}

async fn add_point(
    State(server): State<App>,
    Json(point): Json<NewPoint>,
) -> Result<Json<serde_json::Value>, Refusal> {
    blocking(move || server.add_point(&point.name, &point.location)).await?;
    Ok(Json(json!({ "done": true })))
}

async fn remove_point(
    State(server): State<App>,
    Path(name): Path<String>,
    Query(Force { force }): Query<Force>,
) -> Result<Json<serde_json::Value>, Refusal> {
    blocking(move || server.remove_point(&name, force)).await?;
    Ok(Json(json!({ "done": true })))
}

fn package_name(name: &str) -> Result<PackageName, Refusal> {
    PackageName::new(name)
        .map_err(|error| Refusal(SiteError::Said { message: error.to_string(), conflict: true }))
}

async fn retire(
    State(server): State<App>,
    Path(name): Path<String>,
) -> Result<Json<serde_json::Value>, Refusal> {
    let name = package_name(&name)?;
    blocking(move || server.event(policy::Event::Retire(name))).await?;
    Ok(Json(json!({ "done": true })))
}

async fn assign(
    State(server): State<App>,
    Path(name): Path<String>,
    Json(assignment): Json<Assignment>,
) -> Result<Json<serde_json::Value>, Refusal> {
    let name = package_name(&name)?;
    blocking(move || server.assign(name, &assignment.points, assignment.wanted)).await?;
    Ok(Json(json!({ "done": true })))
}

async fn prioritise(
    State(server): State<App>,
    Path(name): Path<String>,
    Json(priority): Json<u8>,
) -> Result<Json<serde_json::Value>, Refusal> {
    let package = package_name(&name)?;
    blocking(move || server.event(policy::Event::Prioritise { package, priority })).await?;
    Ok(Json(json!({ "done": true })))
}

async fn add_child(
    State(server): State<App>,
    Json(NewChild { code, address }): Json<NewChild>,
) -> Result<Json<Token>, Refusal> {
    let token = blocking(move || {
        let code = server.add_child(&code, &address)?;
        server.token(&code)
    });
    Ok(Json(token.await?))
}

fn site_code(code: &str) -> Result<policy::SiteCode, Refusal> {
    policy::SiteCode::new(code).map_err(|error| Refusal(error.into()))
}

async fn remove_child(
    State(server): State<App>,
    Path(code): Path<String>,
) -> Result<Json<serde_json::Value>, Refusal> {
    let code = site_code(&code)?;
    blocking(move || server.remove_child(&code)).await?;
    Ok(Json(json!({ "done": true })))
}

async fn new_token(
    State(server): State<App>,
    Path(code): Path<String>,
) -> Result<Json<Token>, Refusal> {
    let code = site_code(&code)?;
    Ok(Json(blocking(move || server.token(&code)).await?))
}

async fn address(
    State(server): State<App>,
    Path(code): Path<String>,
    Json(address): Json<AddressSettings>,
) -> Result<Json<serde_json::Value>, Refusal> {
    let code = site_code(&code)?;
    blocking(move || server.set_address(&code, &address)).await?;
    Ok(Json(json!({ "done": true })))
}

async fn courier_export(
    State(server): State<App>,
    Json(Medium { folder, children }): Json<Medium>,
) -> Result<Json<Vec<Trip>>, Refusal> {
    Ok(Json(blocking(move || server.courier_export(&folder, &children)).await?))
}

async fn courier_import(
    State(server): State<App>,
    Json(Medium { folder, .. }): Json<Medium>,
) -> Result<Json<Vec<Trip>>, Refusal> {
    Ok(Json(blocking(move || server.courier_import(&folder)).await?))
}

async fn retry(
    State(server): State<App>,
    Json(Retry { point, package }): Json<Retry>,
) -> Result<Json<serde_json::Value>, Refusal> {
    blocking(move || server.retry(point.as_deref(), package.as_ref())).await?;
    Ok(Json(json!({ "done": true })))
}

async fn verify(State(server): State<App>) -> Result<Json<Status>, Refusal> {
    let status = blocking(move || {
        server.verify_all();
        Ok(server.status())
    });
    Ok(Json(status.await?))
}

/// The body is the package file.
async fn publish(
    State(server): State<App>,
    Query(Replace { replace }): Query<Replace>,
    body: Body,
) -> Result<Json<serde_json::Value>, Refusal> {
    let file = receive(server.folder().spool(), body).await?;
    let path = file.path().to_owned();
    let fresh = blocking(move || server.publish(&path, replace)).await;
    drop(file);
    Ok(Json(json!({ "new": fresh? })))
}

/// An upload, gone when it is let go of.
async fn receive(spool: PathBuf, body: Body) -> Result<tempfile::NamedTempFile, Refusal> {
    let cannot = |source| Refusal(SiteError::file("writing", &spool)(source));
    let file = tempfile::NamedTempFile::new_in(&spool).map_err(cannot)?;
    let mut output = tokio::fs::File::from_std(file.reopen().map_err(cannot)?);
    let mut stream = body.into_data_stream();
    loop {
        let piece =
            stream.try_next().await.map_err(|error| cannot(std::io::Error::other(error)))?;
        let Some(piece) = piece else { break };
        output.write_all(&piece).await.map_err(cannot)?;
    }
    output.flush().await.map_err(cannot)?;
    Ok(file)
}
