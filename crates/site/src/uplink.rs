//! The line to the parent: what is asked, told and fetched over it. The child calls; the parent never does.

use std::{
    net::ToSocketAddrs,
    ops::Range,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use content::{Index, Object};
use model::{Hash, PackageName};
use policy::{Exchange, Feed, SiteCode, Stamp};
use reqwest::{Certificate, Client, Identity, RequestBuilder, Response, StatusCode};
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc},
};

use crate::{
    Folder, Server, SiteError,
    authority::host_name,
    enrol::{Enrolled, Enrolment},
    server::log,
    wire::{Frame, Frames, Held, VERSION},
};

/// An answer, or the next bytes of one, come within this, or the line is dead: the parent says a word more often.
const SILENCE: Duration = Duration::from_secs(30);
/// A long poll is answered by then.
const POLL: Duration = Duration::from_mins(2);
/// A pause when nothing came of asking.
const BREATH: Duration = Duration::from_millis(200);
/// The longest pause before the parent is called again.
const LONGEST: Duration = Duration::from_mins(1);

/// Why the parent did not give what was asked for.
#[derive(Debug)]
pub(crate) enum LineError {
    /// It does not answer, or not to the end.
    Silent(String),
    /// It does not have it any more.
    Gone(String),
    /// It does not want to.
    Refused(String),
    /// Not yet: it was asked too early.
    Held(Held),
}

impl LineError {
    pub(crate) fn message(self) -> String {
        match self {
            Self::Silent(why) | Self::Gone(why) | Self::Refused(why) => why,
            Self::Held(held) => held.why,
        }
    }
}

/// How to call a parent.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    client: Client,
    base: String,
    address: String,
}

impl Line {
    /// A line to `address`, where only `parent` counts, as `authority` says. `own` is certificate and key.
    pub(crate) fn new(
        parent: &SiteCode,
        address: &str,
        authority: &str,
        own: Option<&str>,
    ) -> Result<Self, SiteError> {
        let no_answer = |source| SiteError::NoAnswer { address: address.to_owned(), source };
        let bare = address.trim_start_matches("https://").trim_end_matches('/');
        let places: Vec<_> = bare
            .to_socket_addrs()
            .map_err(|error| SiteError::Said {
                message: format!("`{address}` is no address of a site: {error}"),
                conflict: true,
            })?
            .collect();
        let port = places.first().map_or(0, std::net::SocketAddr::port);
        let name = host_name(parent);
        let root = Certificate::from_pem(authority.as_bytes()).map_err(no_answer)?;
        let mut builder = Client::builder()
            .https_only(true)
            .tls_certs_only([root])
            .resolve_to_addrs(&name, &places)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(20));
        if let Some(own) = own {
            builder = builder.identity(Identity::from_pem(own.as_bytes()).map_err(no_answer)?);
        }
        let client = builder.build().map_err(no_answer)?;
        let base = format!("https://{name}:{port}/link/{VERSION}");
        Ok(Self { client, base, address: address.to_owned() })
    }

    /// The line of a folder whose site was enrolled.
    fn of(folder: &Folder, parent: &SiteCode, address: &str) -> Result<Self, SiteError> {
        let read = |name: &str| {
            let path = folder.link().join(name);
            std::fs::read_to_string(&path).map_err(SiteError::file("reading", path))
        };
        let own = read("certificate.pem")? + &read("key.pem")?;
        Self::new(parent, address, &read("parent.pem")?, Some(&own))
    }

    /// Asks for a certificate. Blocks.
    pub(crate) fn enrol(
        &self,
        asked: &Enrolment,
        patience: Duration,
    ) -> Result<Enrolled, SiteError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(SiteError::file("calling", self.address.as_str()))?;
        let request = self.client.post(format!("{}/enrolment", self.base)).json(asked);
        let answer = runtime.block_on(async {
            let answer = self.send(request, patience).await?;
            answer.json().await.map_err(|error| LineError::Silent(model::with_causes(&error)))
        });
        answer.map_err(|error| {
            let conflict = !matches!(error, LineError::Silent(_));
            SiteError::Said { message: error.message(), conflict }
        })
    }

    async fn send(
        &self,
        request: RequestBuilder,
        patience: Duration,
    ) -> Result<Response, LineError> {
        let address = &self.address;
        let silent = |why: String| LineError::Silent(format!("`{address}` does not answer: {why}"));
        let answer = match tokio::time::timeout(patience, request.send()).await {
            Err(_) => return Err(silent(format!("nothing came for {} s", patience.as_secs()))),
            Ok(Err(error)) => {
                let why = model::with_causes(&error);
                return Err(if why.contains("certificate") {
                    LineError::Refused(format!(
                        "what answers at `{address}` is not the parent this site was enrolled with ({why}): set the address right, or \
                         enrol again with `packhorse site attach`"
                    ))
                } else {
                    silent(why)
                });
            }
            Ok(Ok(answer)) => answer,
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = tokio::time::timeout(SILENCE, answer.text()).await;
        let said: serde_json::Value = text
            .ok()
            .and_then(Result::ok)
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let why = said["error"].as_str().map_or_else(|| status.to_string(), str::to_owned);
        Err(match status {
            StatusCode::SERVICE_UNAVAILABLE => match serde_json::from_value(said["held"].clone()) {
                Ok(held) => LineError::Held(held),
                Err(_) => LineError::Silent(why),
            },
            StatusCode::GONE | StatusCode::NOT_FOUND => LineError::Gone(why),
            _ => LineError::Refused(why),
        })
    }

    async fn exchange(&self, exchange: &Exchange) -> Result<Feed, LineError> {
        let request = self.client.post(format!("{}/exchange", self.base)).json(exchange);
        let answer = self.send(request, SILENCE).await?;
        let bad =
            |why: String| LineError::Refused(format!("the parent's word cannot be read: {why}"));
        let bytes = tokio::time::timeout(POLL, answer.bytes())
            .await
            .map_err(|_| LineError::Silent("the parent's word did not come to its end".to_owned()))?
            .map_err(|error| LineError::Silent(model::with_causes(&error)))?;
        serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))
    }

    /// Waits until there is news, or for a while.
    async fn news(&self, seen: Stamp) -> Result<bool, LineError> {
        let Stamp { epoch, sequence } = seen;
        let url = format!("{}/news?epoch={epoch}&sequence={sequence}", self.base);
        let answer = self.send(self.client.get(url), POLL).await?;
        let said: serde_json::Value =
            answer.json().await.map_err(|error| LineError::Silent(model::with_causes(&error)))?;
        Ok(said["news"].as_bool().unwrap_or_default())
    }

    /// What a release consists of.
    pub(crate) async fn release(
        &self,
        name: &PackageName,
        identity: Hash,
        doubt: bool,
    ) -> Result<Index, LineError> {
        let url = format!("{}/packages/{name}/{identity}?doubt={doubt}", self.base);
        let answer = self.send(self.client.get(url), SILENCE).await?;
        let bytes =
            answer.bytes().await.map_err(|error| LineError::Silent(model::with_causes(&error)))?;
        let index = Index::parse(&bytes)
            .map_err(|error| LineError::Refused(format!("the release cannot be read: {error}")))?;
        let fits = index.name == *name
            && matches!(index.releases.as_slice(), [one] if one.identity == identity);
        if fits {
            Ok(index)
        } else {
            Err(LineError::Refused("the parent answers with another release".to_owned()))
        }
    }

    /// Asks for something below the line's root.
    pub(crate) async fn get(&self, what: &str) -> Result<Response, LineError> {
        self.send(self.client.get(format!("{}/{what}", self.base)), SILENCE).await
    }

    /// Puts something there.
    pub(crate) async fn put(&self, what: &str, bytes: Vec<u8>) -> Result<(), LineError> {
        let request = self.client.put(format!("{}/{what}", self.base)).body(bytes);
        self.send(request, SILENCE).await.map(drop)
    }

    /// The next bytes of an answer.
    pub(crate) async fn chunk(
        &self,
        answer: &mut Response,
    ) -> Result<Option<axum::body::Bytes>, LineError> {
        tokio::time::timeout(SILENCE, answer.chunk())
            .await
            .map_err(|_| LineError::Silent(format!("nothing came for {} s", SILENCE.as_secs())))?
            .map_err(|error| LineError::Silent(model::with_causes(&error)))
    }

    /// Brings a range of an object, piece by piece, until it ends or nobody takes it.
    pub(crate) async fn object(
        &self,
        (name, identity): (&PackageName, Hash),
        object: Object,
        bytes: Range<u64>,
        give: &mpsc::Sender<Piece>,
    ) -> Result<(), LineError> {
        let url = format!("{}/packages/{name}/{identity}/objects/{}", self.base, object.hash);
        let mut range = format!("bytes={}-", bytes.start);
        if bytes.end < object.length {
            range += &(bytes.end - 1).to_string();
        }
        let request = self.client.get(url).header(reqwest::header::RANGE, range);
        let mut answer = self.send(request, SILENCE).await?;
        let mut frames = Frames::default();
        loop {
            let chunk = self.chunk(&mut answer).await?;
            let Some(chunk) = chunk else { return Ok(()) };
            let come =
                frames.take(&chunk).map_err(|error| LineError::Refused(error.to_string()))?;
            for frame in come {
                let piece = match frame {
                    Frame::Content(bytes) => Piece::Bytes(object, bytes),
                    Frame::Held(held) => Piece::Held(held),
                };
                if give.send(piece).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Something that came.
#[derive(Debug)]
pub(crate) enum Piece {
    /// More of an object.
    Bytes(Object, Vec<u8>),
    /// Nothing, for a reason.
    Held(Held),
    /// There is no more of it to come.
    End(Object, Result<(), LineError>),
}

/// How the line is.
#[derive(Clone, Debug)]
pub(crate) struct LineState {
    /// Why not, if the parent does not answer.
    pub(crate) trouble: Option<String>,
    /// Since when it is like that.
    pub(crate) since: Instant,
    /// When it is called again.
    pub(crate) next: Option<Instant>,
}

/// The line to the parent, kept up.
#[derive(Debug)]
pub(crate) struct Uplink {
    pub(crate) parent: SiteCode,
    pub(crate) address: String,
    pub(crate) handle: Handle,
    folder: Folder,
    line: Mutex<Option<Line>>,
    /// Which of the parent's addresses is tried.
    turn: AtomicUsize,
    ask: Notify,
    hurry: Notify,
    state: Mutex<LineState>,
}

impl Uplink {
    /// Of the site in a folder.
    pub(crate) fn new(folder: &Folder, parent: SiteCode, address: String, handle: Handle) -> Self {
        let trouble = Some("it was not called yet".to_owned());
        Self {
            parent,
            address,
            handle,
            folder: folder.clone(),
            line: Mutex::new(None),
            turn: AtomicUsize::new(0),
            ask: Notify::new(),
            hurry: Notify::new(),
            state: Mutex::new(LineState { trouble, since: Instant::now(), next: None }),
        }
    }

    /// There is something to tell or to ask.
    pub(crate) fn ask(&self) {
        self.ask.notify_one();
    }

    /// No pause: somebody is tired of waiting.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_waiters();
    }

    /// How the line is.
    pub(crate) fn state(&self) -> LineState {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to call, made anew after each trouble: names may lead elsewhere by then.
    pub(crate) fn line(&self) -> Result<Line, LineError> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = &*line {
            return Ok(line.clone());
        }
        // A parent of several processes has several addresses, and one of them may be gone.
        let addresses: Vec<&str> = self.address.split(',').map(str::trim).collect();
        let turn = self.turn.load(Ordering::Relaxed) % addresses.len();
        let new = Line::of(&self.folder, &self.parent, addresses[turn])
            .map_err(|error| LineError::Silent(model::with_causes(&error)))?;
        Ok(line.insert(new).clone())
    }

    fn down(&self, why: String, next: Duration) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.turn.fetch_add(1, Ordering::Relaxed);
        let mut state = self.locked();
        if state.trouble.as_ref() != Some(&why) {
            let line = serde_json::json!({ "parent": self.parent, "why": why });
            log("parent-silent", &line);
        }
        if state.trouble.is_none() {
            state.since = Instant::now();
        }
        (state.trouble, state.next) = (Some(why), Some(Instant::now() + next));
    }

    /// Whether it was down before.
    fn up(&self) -> bool {
        let mut state = self.locked();
        let was_down = state.trouble.take().is_some();
        state.next = None;
        if was_down {
            state.since = Instant::now();
            log("parent-answers", &serde_json::json!({ "parent": self.parent }));
        }
        was_down
    }

    /// Tells and asks, whenever there is something to tell or to ask, as long as the site runs.
    pub(crate) async fn keep(self: Arc<Self>, server: Arc<Server>) {
        let mut failures = 0_u32;
        while !server.is_stopping() {
            match self.round(&server).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    let pause = pause(failures);
                    self.down(error.message(), pause);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.hurry.notified() => {}
                    }
                }
            }
        }
    }

    /// One exchange, then a wait for a reason for the next.
    async fn round(self: &Arc<Self>, server: &Arc<Server>) -> Result<(), LineError> {
        let line = self.line()?;
        let exchange = in_thread(server, |server| server.exchange_up()).await?;
        let before = exchange.seen;
        let feed = line.exchange(&exchange).await?;
        let was_down = self.up();
        let from = self.parent.clone();
        let seen = in_thread(server, move |server| server.take_feed(from, feed, was_down)).await?;
        if seen == before && exchange.report.entries.is_empty() {
            // Nothing came of it. Were there news all the time, this would be a loop.
            tokio::time::sleep(BREATH).await;
        }
        tokio::select! {
            () = self.ask.notified() => Ok(()),
            news = line.news(seen) => news.map(drop),
        }
    }
}

/// Runs what blocks where it may.
async fn in_thread<T: Send + 'static>(
    server: &Arc<Server>,
    work: impl FnOnce(&Arc<Server>) -> Result<T, SiteError> + Send + 'static,
) -> Result<T, LineError> {
    let server = Arc::clone(server);
    match tokio::task::spawn_blocking(move || work(&server)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(LineError::Refused(model::with_causes(&error))),
        Err(_) => Err(LineError::Refused("a fault of the site: see its log".to_owned())),
    }
}

/// Exponential, bounded, spread.
pub(crate) fn pause(failures: u32) -> Duration {
    let top = Duration::from_millis(500 << failures.min(7)).min(LONGEST);
    let mut bytes = [0; 1];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    top / 2 + (top / 2).mul_f64(f64::from(bytes[0]) / 256.0)
}

/// Whether a site's folder has what it needs to call its parent.
pub(crate) fn is_enrolled(folder: &Folder) -> bool {
    let names = ["key.pem", "certificate.pem", "parent.pem"];
    names.iter().all(|name| Path::is_file(&folder.link().join(name)))
}
