//! The site behind HTTP: the same shapes as `--json` prints.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::TryStreamExt;
use model::PackageName;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{
        Info, OpenApi,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{AddressSettings, Server, SiteError, Status, Token, Trip};

/// A point to be added.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NewPoint {
    pub(crate) name: String,
    /// Where the site writes it: a folder, a bucket (`s3://…`, `gs://…`, `az://…`).
    pub(crate) location: String,
    /// Where clients read it: `http(s)://…`, `s3://…`, a folder; where the site writes it, if unsaid.
    #[serde(default)]
    pub(crate) read_at: Option<String>,
}

/// Where clients read a point.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ReadAt {
    /// `http(s)://…`, `s3://…`, a folder; where the site writes it, if null.
    pub(crate) read_at: Option<String>,
}

/// Points that are to hold a package, or not.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assignment {
    pub(crate) points: Vec<String>,
    /// All their points, now and later.
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    pub(crate) wanted: bool,
}

/// Points that belong to a group, or not any longer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Members {
    pub(crate) points: Vec<String>,
    pub(crate) belong: bool,
}

/// A child to be added, and how it may be sent to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewChild {
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) address: AddressSettings,
}

/// What is to be tried again at once; all, if nothing is named.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    pub(crate) point: Option<String>,
    #[schema(value_type = Option<String>)]
    pub(crate) package: Option<PackageName>,
}

/// A medium, as a folder of the site's machine, and for whom; for all children, if nobody is named.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Medium {
    #[schema(value_type = String)]
    pub(crate) folder: PathBuf,
    #[serde(default)]
    pub(crate) children: Vec<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Force {
    #[serde(default)]
    #[param(required = false)]
    force: bool,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Replace {
    #[serde(default)]
    #[param(required = false)]
    replace: bool,
}

/// It was done.
#[derive(Serialize, ToSchema)]
pub(crate) struct Done {
    pub(crate) done: bool,
}

/// Whether a package was new.
#[derive(Serialize, ToSchema)]
struct Published {
    new: bool,
}

/// That it runs.
#[derive(Serialize, ToSchema)]
struct Health {
    healthy: bool,
}

/// Why something was not done, in a sentence.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorBody {
    error: String,
}

/// How anything may be refused.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes")]
pub(crate) enum Refused {
    /// The request is malformed.
    #[response(status = 400)]
    Malformed(ErrorBody),
    /// The token is wrong or missing.
    #[response(status = 401)]
    Token(ErrorBody),
    /// The state of the site does not allow it, or what is named is not there.
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// The body is of another sort than described.
    #[response(status = 415)]
    Sort(ErrorBody),
    /// The body does not say what it should.
    #[response(status = 422)]
    Meaning(ErrorBody),
    /// The site could not do it: its disk, its database.
    #[response(status = 500)]
    Failed(ErrorBody),
}

/// Bytes of what a library says to a malformed request.
const LONGEST_REFUSAL: usize = 16 << 10;

pub(crate) type App = Arc<Server>;

pub(crate) struct Refusal(SiteError);

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
            | SiteError::NoGroup(_)
            | SiteError::GroupName(_)
            | SiteError::Publish(_)
            | SiteError::Said { conflict: true, .. } => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        said(status, &model::with_causes(&self.0))
    }
}

/// All that is answered, and its description. What changes anything needs the token.
pub(crate) fn router(server: App, token: String) -> Router {
    let token: Arc<str> = token.into();
    let (open, guarded, described) = routes();
    let described = serde_json::to_value(described).unwrap_or_default();
    let guarded = guarded.route_layer(middleware::from_fn(move |request: Request, next: Next| {
        let token = Arc::clone(&token);
        async move { authorised(&token, request, next).await }
    }));
    open.route("/openapi.json", get(|| async { Json(described) }))
        .merge(guarded)
        .fallback(|| async {
            said(StatusCode::NOT_FOUND, "nothing is here: `GET /openapi.json` says what is")
        })
        .method_not_allowed_fallback(|| async {
            said(StatusCode::METHOD_NOT_ALLOWED, "not like that: `GET /openapi.json` says how")
        })
        .layer(middleware::from_fn(in_json))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(server)
}

/// What everybody may ask, what needs the token, and the description of both (`OpenAPI` 3.1).
fn routes() -> (Router<App>, Router<App>, OpenApi) {
    let open = OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(health))
        .routes(routes!(metrics));
    let guarded = OpenApiRouter::new()
        .routes(routes!(add_point))
        .routes(routes!(remove_point, read_point_at))
        .routes(routes!(publish))
        .routes(routes!(retire))
        .routes(routes!(assign))
        .routes(routes!(group))
        .routes(routes!(prioritise))
        .routes(routes!(add_child))
        .routes(routes!(remove_child))
        .routes(routes!(new_token))
        .routes(routes!(address))
        .routes(routes!(courier_export))
        .routes(routes!(courier_import))
        .routes(routes!(retry))
        .routes(routes!(verify))
        .merge(crate::clients::routes());
    let (open, mut described) = open.split_for_parts();
    let (guarded, more) = guarded.split_for_parts();
    described.merge(more);
    described.info = Info::builder()
        .title("Packhorse site")
        .version("1")
        .description(Some(
            "A site asked and told over HTTP; `packhorse site` does no more than that.",
        ))
        .build();
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let components = described.components.get_or_insert_default();
    components.add_security_scheme("token", bearer);
    (open, guarded, described)
}

/// The description of all that is answered, as `GET /openapi.json` gives it (`OpenAPI` 3.1).
pub fn openapi() -> serde_json::Value {
    serde_json::to_value(routes().2).unwrap_or_default()
}

fn said(status: StatusCode, error: &str) -> Response {
    (status, Json(ErrorBody { error: error.to_owned() })).into_response()
}

/// What was refused before it came to us is told like everything else.
async fn in_json(request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    let status = answer.status();
    let is_json =
        answer.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    let why = axum::body::to_bytes(answer.into_body(), LONGEST_REFUSAL).await.unwrap_or_default();
    said(status, &String::from_utf8_lossy(&why))
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
    said(
        StatusCode::UNAUTHORIZED,
        "the token is wrong or missing: it is in the site's folder, in `token`",
    )
}

/// Runs what blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(
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

/// That it runs.
#[utoipa::path(
    get,
    path = "/v1/health",
    responses((status = 200, body = Health, description = "Done"), Refused),
)]
async fn health() -> Json<Health> {
    Json(Health { healthy: true })
}

/// What is where, and why not elsewhere.
#[utoipa::path(
    get,
    path = "/v1/status",
    responses((status = 200, body = Status, description = "Done"), Refused),
)]
async fn status(State(server): State<App>) -> Result<Json<Status>, Refusal> {
    Ok(Json(blocking(move || Ok(server.status())).await?))
}

/// Counts for a monitor, in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, body = String, content_type = "text/plain", description = "Done"), Refused),
)]
async fn metrics(State(server): State<App>) -> Result<String, Refusal> {
    blocking(move || Ok(server.status().to_metrics())).await
}

/// Adds a distribution point.
#[utoipa::path(
    post,
    path = "/v1/points",
    request_body = NewPoint,
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn add_point(
    State(server): State<App>,
    Json(point): Json<NewPoint>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || {
        let NewPoint { name, location, read_at } = &point;
        server.add_point_read_at(name, location, read_at.as_deref())
    })
    .await?;
    Ok(Json(Done { done: true }))
}

/// Says where clients read a point.
#[utoipa::path(
    put,
    path = "/v1/points/{name}",
    params(("name" = String, Path, description = "The point's name")),
    request_body = ReadAt,
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn read_point_at(
    State(server): State<App>,
    Path(name): Path<String>,
    Json(ReadAt { read_at }): Json<ReadAt>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || server.read_point_at(&name, read_at.as_deref())).await?;
    Ok(Json(Done { done: true }))
}

/// Removes a point: cleaned first, or forgotten as it is.
#[utoipa::path(
    delete,
    path = "/v1/points/{name}",
    params(("name" = String, Path, description = "The point's name"), Force),
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn remove_point(
    State(server): State<App>,
    Path(name): Path<String>,
    Query(Force { force }): Query<Force>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || server.remove_point(&name, force)).await?;
    Ok(Json(Done { done: true }))
}

fn package_name(name: &str) -> Result<PackageName, Refusal> {
    PackageName::new(name)
        .map_err(|error| Refusal(SiteError::Said { message: error.to_string(), conflict: true }))
}

/// Removes a package everywhere.
#[utoipa::path(
    delete,
    path = "/v1/packages/{name}",
    params(("name" = String, Path, description = "The package's name")),
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn retire(
    State(server): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Done>, Refusal> {
    let name = package_name(&name)?;
    blocking(move || server.event(policy::Event::Retire(name))).await?;
    Ok(Json(Done { done: true }))
}

/// Says which points are to hold a package, or no longer.
#[utoipa::path(
    post,
    path = "/v1/packages/{name}/assignment",
    request_body = Assignment,
    params(("name" = String, Path, description = "The package's name")),
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn assign(
    State(server): State<App>,
    Path(name): Path<String>,
    Json(assignment): Json<Assignment>,
) -> Result<Json<Done>, Refusal> {
    let name = package_name(&name)?;
    blocking(move || {
        let Assignment { points, groups, wanted } = &assignment;
        server.assign(&name, points, groups, *wanted)
    })
    .await?;
    Ok(Json(Done { done: true }))
}

/// Says which points belong to a group; the first ones make it, with the last ones and what is assigned to it it goes.
#[utoipa::path(
    post,
    path = "/v1/groups/{name}/points",
    request_body = Members,
    params(("name" = String, Path, description = "The group's name")),
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn group(
    State(server): State<App>,
    Path(name): Path<String>,
    Json(members): Json<Members>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || server.group(&name, &members.points, members.belong)).await?;
    Ok(Json(Done { done: true }))
}

/// Says how urgent a package is; greater goes first.
#[utoipa::path(
    put,
    path = "/v1/packages/{name}/priority",
    request_body = u8,
    params(("name" = String, Path, description = "The package's name")),
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn prioritise(
    State(server): State<App>,
    Path(name): Path<String>,
    Json(priority): Json<u8>,
) -> Result<Json<Done>, Refusal> {
    let package = package_name(&name)?;
    blocking(move || server.event(policy::Event::Prioritise { package, priority })).await?;
    Ok(Json(Done { done: true }))
}

/// Adds a child; with the token it is enrolled.
#[utoipa::path(
    post,
    path = "/v1/children",
    request_body = NewChild,
    responses((status = 200, body = Token, description = "Done"), Refused),
    security(("token" = [])),
)]
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

/// Forgets a child; its key counts no longer.
#[utoipa::path(
    delete,
    path = "/v1/children/{code}",
    params(("code" = String, Path, description = "The child's code")),
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn remove_child(
    State(server): State<App>,
    Path(code): Path<String>,
) -> Result<Json<Done>, Refusal> {
    let code = site_code(&code)?;
    blocking(move || server.remove_child(&code)).await?;
    Ok(Json(Done { done: true }))
}

/// Another token for a child; earlier ones count no longer.
#[utoipa::path(
    post,
    path = "/v1/children/{code}/token",
    params(("code" = String, Path, description = "The child's code")),
    responses((status = 200, body = Token, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn new_token(
    State(server): State<App>,
    Path(code): Path<String>,
) -> Result<Json<Token>, Refusal> {
    let code = site_code(&code)?;
    Ok(Json(blocking(move || server.token(&code)).await?))
}

/// Says how a child may be sent to from now on.
#[utoipa::path(
    put,
    path = "/v1/children/{code}/address",
    request_body = AddressSettings,
    params(("code" = String, Path, description = "The child's code")),
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn address(
    State(server): State<App>,
    Path(code): Path<String>,
    Json(address): Json<AddressSettings>,
) -> Result<Json<Done>, Refusal> {
    let code = site_code(&code)?;
    blocking(move || server.set_address(&code, &address)).await?;
    Ok(Json(Done { done: true }))
}

/// Writes onto a medium what children lack, and the report to the parent.
#[utoipa::path(
    post,
    path = "/v1/courier/export",
    request_body = Medium,
    responses((status = 200, body = Vec<Trip>, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn courier_export(
    State(server): State<App>,
    Json(Medium { folder, children }): Json<Medium>,
) -> Result<Json<Vec<Trip>>, Refusal> {
    Ok(Json(blocking(move || server.courier_export(&folder, &children)).await?))
}

/// Takes in whatever a medium has for this site.
#[utoipa::path(
    post,
    path = "/v1/courier/import",
    request_body = Medium,
    responses((status = 200, body = Vec<Trip>, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn courier_import(
    State(server): State<App>,
    Json(Medium { folder, .. }): Json<Medium>,
) -> Result<Json<Vec<Trip>>, Refusal> {
    Ok(Json(blocking(move || server.courier_import(&folder)).await?))
}

/// Tries again at once.
#[utoipa::path(
    post,
    path = "/v1/retry",
    request_body = Retry,
    responses((status = 200, body = Done, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn retry(
    State(server): State<App>,
    Json(Retry { point, package }): Json<Retry>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || server.retry(point.as_deref(), package.as_ref())).await?;
    Ok(Json(Done { done: true }))
}

/// Has every copy looked at.
#[utoipa::path(
    post,
    path = "/v1/verify",
    responses((status = 200, body = Status, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn verify(State(server): State<App>) -> Result<Json<Status>, Refusal> {
    let status = blocking(move || {
        server.verify_all();
        Ok(server.status())
    });
    Ok(Json(status.await?))
}

/// Publishes a package file.
#[utoipa::path(
    post,
    path = "/v1/packages",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The package, or an installer"),
    params(Replace),
    responses((status = 200, body = Published, description = "Done"), Refused),
    security(("token" = [])),
)]
async fn publish(
    State(server): State<App>,
    Query(Replace { replace }): Query<Replace>,
    body: Body,
) -> Result<Json<Published>, Refusal> {
    let file = receive(server.folder().spool(), body).await?;
    let path = file.path().to_owned();
    let fresh = blocking(move || server.publish(&path, replace)).await;
    drop(file);
    Ok(Json(Published { new: fresh? }))
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
