//! What children call: enrolment, exchange, news, content. HTTP/2 inside TLS, and who has no certificate is told so.

use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use model::{Hash, PackageName};
use policy::{Exchange, SiteCode, Stamp};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    Server, SiteError,
    authority::{Peer, peer},
    clients,
    enrol::Enrolment,
    feeding::{Feeding, NotYet},
    server::log,
    wire::{Held, VERSION},
};

/// A long poll is answered after this, news or not.
const POLL: Duration = Duration::from_secs(50);
/// What is not here yet is waited for so long before the child is told so.
const PATIENCE: Duration = Duration::from_secs(5);
/// A report is no longer than this, in bytes.
const LONGEST: usize = 256 << 20;
/// A pause after a fault of our own.
const BREATH: Duration = Duration::from_millis(100);
/// A child that does not shake hands within this is none.
const GREETING: Duration = Duration::from_secs(10);

/// Children as they are on the wire right now.
#[derive(Debug, Default)]
pub(crate) struct Children {
    lines: HashMap<SiteCode, ChildLine>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct ChildLine {
    wake: watch::Sender<u64>,
    /// When it was last heard of.
    pub(crate) heard: Option<std::time::Instant>,
    /// Why it cannot be called, if this site calls it.
    trouble: Option<String>,
}

impl Default for ChildLine {
    fn default() -> Self {
        Self { wake: watch::Sender::new(0), heard: None, trouble: None }
    }
}

impl Children {
    /// There is news for a child.
    pub(crate) fn wake(&mut self, code: &SiteCode) {
        let line = self.lines.entry(code.clone()).or_default();
        line.wake.send_modify(|count| *count += 1);
    }

    /// There may be news for every child.
    pub(crate) fn wake_all(&mut self) {
        for line in self.lines.values() {
            line.wake.send_modify(|count| *count += 1);
        }
    }

    fn heard(&mut self, code: &SiteCode) -> watch::Receiver<u64> {
        let line = self.lines.entry(code.clone()).or_default();
        line.heard = Some(std::time::Instant::now());
        line.wake.subscribe()
    }

    /// What became of calling a child.
    pub(crate) fn called(&mut self, code: &SiteCode, trouble: Option<String>) {
        let line = self.lines.entry(code.clone()).or_default();
        if line.trouble != trouble {
            let why = trouble.as_deref().unwrap_or("it takes the call");
            log("calls", &json!({ "child": code, "why": why }));
        }
        line.trouble = trouble;
    }

    /// Why a child cannot be called, if it should be and cannot.
    pub(crate) fn trouble(&self, code: &SiteCode) -> Option<String> {
        self.lines.get(code)?.trouble.clone()
    }

    /// Seconds since a child was heard of by this process; whether it waits on the line now.
    pub(crate) fn seen(&self, code: &SiteCode) -> Option<(u64, bool)> {
        let line = self.lines.get(code)?;
        Some((line.heard?.elapsed().as_secs(), line.wake.receiver_count() > 0))
    }
}

struct Refusal(StatusCode, serde_json::Value);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

fn refuse(status: StatusCode, why: &str) -> Refusal {
    Refusal(status, json!({ "error": why }))
}

impl From<SiteError> for Refusal {
    fn from(error: SiteError) -> Self {
        let status = match error {
            SiteError::Refused(_) | SiteError::Said { conflict: true, .. } => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        refuse(status, &model::with_causes(&error))
    }
}

type App = Arc<Server>;
type Caller = Extension<Option<Peer>>;

/// All that is answered to children.
fn router(server: App) -> Router {
    let routes = Router::new()
        .route("/enrolment", post(enrol))
        .route("/exchange", post(exchange))
        .route("/news", get(news))
        .route("/trust/{file}", get(trust_file).put(take_trust))
        .route("/packages/{name}/{identity}", get(release))
        .route("/packages/{name}/{identity}/objects/{object}", get(object))
        .fallback(|| async { refuse(StatusCode::BAD_REQUEST, "no such request in this version") })
        .layer(DefaultBodyLimit::max(LONGEST))
        .nest("/client", clients::line_routes());
    Router::new()
        .nest(&format!("/link/{VERSION}"), routes)
        .fallback(|| async {
            let why =
                format!("this site speaks version {VERSION} of the line: use the same Packhorse");
            refuse(StatusCode::BAD_REQUEST, &why)
        })
        .with_state(server)
}

/// What every connection of a child is answered with.
#[derive(Clone)]
pub(crate) struct Answering {
    acceptor: TlsAcceptor,
    app: Router,
}

impl Answering {
    /// For the children of a site.
    pub(crate) fn new(server: &App) -> Result<Self, SiteError> {
        let acceptor = TlsAcceptor::from(Arc::new(server.authority().server_config()?));
        Ok(Self { acceptor, app: router(Arc::clone(server)) })
    }

    /// Answers on one connection until its end.
    pub(crate) async fn answer(self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let _ = keep_alive(&stream);
        let Ok(Ok(stream)) = tokio::time::timeout(GREETING, self.acceptor.accept(stream)).await
        else {
            return;
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let (caller, client) = (certificate.and_then(peer), certificate.and_then(clients::caller));
        // A client has nothing to do most of the time, and is not woken to say that it is there: its kernel says so.
        let is_asked = client.is_none().then_some(Duration::from_secs(20));
        let app = self.app.layer(Extension(caller)).layer(Extension(client));
        let service = TowerToHyperService::new(app);
        let mut builder = Builder::new(TokioExecutor::new()).http2_only();
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(is_asked)
            .keep_alive_timeout(Duration::from_secs(20));
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    }
}

/// Has the kernel find out whether the other side is still there: after two minutes of silence, asked four times.
fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_tcp_keepidle(stream, Duration::from_mins(2))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    sockopt::set_socket_keepalive(stream, true)
}

/// Listens for children until the task ends.
pub(crate) async fn listen(server: App, listener: TcpListener) -> Result<(), SiteError> {
    let answering = Answering::new(&server)?;
    let mut lines = JoinSet::new();
    loop {
        while lines.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => drop(lines.spawn(answering.clone().answer(stream))),
            Err(error) => {
                // Out of files, most likely: others hang up, and it goes on.
                log("failed", &json!({ "error": error.to_string() }));
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SiteError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Refusal::from),
        Err(_) => Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, "a fault of the parent")),
    }
}

/// The child that calls, if its key still counts.
fn known(server: &App, caller: Option<Peer>) -> Result<SiteCode, Refusal> {
    let Some(peer) = caller else {
        let why = "only children with a certificate of this site are answered: `packhorse site attach` gets one";
        return Err(refuse(StatusCode::UNAUTHORIZED, why));
    };
    if server.is_child(&peer) {
        return Ok(peer.code);
    }
    let why = format!(
        "the key of `{0}` does not count here any more: `packhorse site child token {0}` at the parent, then `packhorse site attach`",
        peer.code
    );
    Err(refuse(StatusCode::FORBIDDEN, &why))
}

async fn enrol(
    State(server): State<App>,
    Json(asked): Json<Enrolment>,
) -> Result<Response, Refusal> {
    let enrolled = blocking(move || server.enrol(&asked)).await?;
    Ok(Json(enrolled).into_response())
}

async fn exchange(
    State(server): State<App>,
    Extension(caller): Caller,
    Json(exchange): Json<Exchange>,
) -> Result<Response, Refusal> {
    let child = known(&server, caller)?;
    drop(server.children().heard(&child));
    let feed = blocking(move || {
        let mut feed = server.exchange(child, exchange)?;
        feed.trust = server.trust_word();
        Ok(feed)
    });
    Ok(Json(feed.await?).into_response())
}

/// Names of metadata, and of nothing else.
fn metadata(file: &str) -> Result<(), Refusal> {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let is_plain = |name: &str| !name.starts_with('.') && name.bytes().all(plain);
    if file.strip_suffix(".json").is_some_and(is_plain) {
        return Ok(());
    }
    Err(refuse(StatusCode::BAD_REQUEST, "that is no file of trust metadata"))
}

/// A file of this site's trust metadata.
async fn trust_file(
    State(server): State<App>,
    Extension(caller): Caller,
    Path(file): Path<String>,
) -> Result<Response, Refusal> {
    known(&server, caller)?;
    metadata(&file)?;
    let bytes = blocking(move || server.trust_file(&file)).await?;
    bytes
        .map(IntoResponse::into_response)
        .ok_or_else(|| refuse(StatusCode::NOT_FOUND, "there is no such trust metadata"))
}

/// What a team at a child or below signed.
async fn take_trust(
    State(server): State<App>,
    Extension(caller): Caller,
    Path(file): Path<String>,
    bytes: axum::body::Bytes,
) -> Result<Response, Refusal> {
    known(&server, caller)?;
    metadata(&file)?;
    blocking(move || server.take_staged(&file, &bytes)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn news(
    State(server): State<App>,
    Extension(caller): Caller,
    Query(seen): Query<Stamp>,
) -> Result<Response, Refusal> {
    let child = known(&server, caller)?;
    let mut wake = server.children().heard(&child);
    let news = server.feed_stamp() != seen
        || tokio::select! {
            _ = wake.changed() => true,
            () = tokio::time::sleep(POLL) => false,
            () = server.stopped() => false,
        };
    Ok(Json(json!({ "news": news })).into_response())
}

#[derive(Debug, Deserialize)]
struct Doubt {
    #[serde(default)]
    doubt: bool,
}

fn names(name: &str, hash: &str) -> Result<(PackageName, Hash), Refusal> {
    let name = PackageName::new(name)
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, &error.to_string()))?;
    let hash: Hash =
        hash.parse().map_err(|_| refuse(StatusCode::BAD_REQUEST, "that is no hash"))?;
    Ok((name, hash))
}

fn not_yet(server: &App, why: NotYet) -> Refusal {
    match why {
        NotYet::Gone => refuse(
            StatusCode::GONE,
            &format!("`{}` does not have that any more, or it is not for this site", server.code()),
        ),
        NotYet::Content => {
            let held = Held::from(policy::Hold::Content);
            Refusal(StatusCode::SERVICE_UNAVAILABLE, json!({ "error": held.why, "held": held }))
        }
    }
}

/// What a release consists of, as soon as this site knows.
async fn release(
    State(server): State<App>,
    Extension(caller): Caller,
    Path((name, identity)): Path<(String, String)>,
    Query(Doubt { doubt }): Query<Doubt>,
) -> Result<Response, Refusal> {
    let child = known(&server, caller)?;
    let (name, identity) = names(&name, &identity)?;
    let mut grown = server.incoming().watch();
    let patience = tokio::time::sleep(PATIENCE);
    tokio::pin!(patience);
    loop {
        let (one, other, package) = (Arc::clone(&server), child.clone(), name.clone());
        let found = blocking(move || Ok(one.offered(&other, &package, identity, doubt))).await?;
        match found {
            Ok(index) => return Ok(index.to_bytes().into_response()),
            Err(NotYet::Gone) => return Err(not_yet(&server, NotYet::Gone)),
            Err(NotYet::Content) => {}
        }
        tokio::select! {
            _ = grown.changed() => {}
            () = &mut patience => return Err(not_yet(&server, NotYet::Content)),
        }
    }
}

/// An object or a range of it, in frames, as fast as the child's address allows.
async fn object(
    State(server): State<App>,
    Extension(caller): Caller,
    Path((name, identity, object)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let child = known(&server, caller)?;
    let (name, identity) = names(&name, &identity)?;
    let object: Hash =
        object.parse().map_err(|_| refuse(StatusCode::BAD_REQUEST, "that is no hash"))?;
    let range = match headers.get(header::RANGE).map(|range| range.to_str()) {
        None => 0..u64::MAX,
        Some(range) => range.ok().and_then(range_of).ok_or_else(|| {
            refuse(StatusCode::RANGE_NOT_SATISFIABLE, "say `bytes=N-` or `bytes=N-M`")
        })?,
    };
    let server_here = Arc::clone(&server);
    let feeding =
        blocking(move || Ok(Feeding::new(server_here, &child, (name, identity), object, range)))
            .await?
            .map_err(|why| not_yet(&server, why))?;
    let frames = futures_util::stream::try_unfold(feeding, Feeding::next);
    Ok(Body::from_stream(frames).into_response())
}

/// A range as RFC 9110 §14.1.2 writes it, one of a first byte.
fn range_of(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let end = if last.is_empty() { u64::MAX } else { last.parse::<u64>().ok()?.checked_add(1)? };
    let start = first.parse().ok()?;
    (start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::range_of;

    #[test]
    fn ranges_have_a_first_byte() {
        assert_eq!(range_of("bytes=5-"), Some(5..u64::MAX));
        assert_eq!(range_of("bytes=5-5"), Some(5..6));
        for bad in ["5-6", "bytes=-5", "bytes=6-5", "bytes=a-", "bytes=0-18446744073709551615"] {
            assert_eq!(range_of(bad), None, "{bad}");
        }
    }
}
