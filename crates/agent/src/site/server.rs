//! A site that is a server: one connection that is kept, HTTP/2 in mutual TLS, one thread that waits for news.

use std::{
    io,
    net::ToSocketAddrs as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use deployment::{
    CLIENT_LINE_FORMAT, ClientEnrolled, ClientEnrolment, ClientWaiting, EnrolmentAnswer,
    InventoryTaken, PolicyDocument, Renewal, Taken, content_of, site_host_name,
};
use model::Hash;
use policy::{SiteCode, Stamp};
use rcgen::KeyPair;
use reqwest::{Certificate, Client, Identity as Credentials, RequestBuilder, Response, StatusCode};
use running::{Message, write_parcel};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Notify,
};

use super::{Asking, CheckIn, Site, SiteError};
use crate::{durable, identity::Identity, state::StateFolder};

/// The version of the line.
const BASE: &str = "link/1/client";
/// An answer comes within this.
const PATIENCE: Duration = Duration::from_mins(1);
/// A connection is there within this, or another address is tried.
const CONNECTING: Duration = Duration::from_secs(10);
/// A question for news is open for so many seconds where the site says nothing else.
const POLL: u64 = 300;
/// After a question for news that came to nothing, so much longer.
const BREATH: Duration = Duration::from_secs(30);
/// A policy document is no longer than this, in bytes.
const LONGEST: usize = 64 << 20;

/// Where a site is: kept with the credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Place {
    /// Its code.
    pub(crate) site: SiteCode,
    /// Where it listens: one address after the other is tried.
    pub(crate) addresses: Vec<String>,
}

/// How to call a site.
#[derive(Debug)]
struct Line {
    place: Place,
    authority: String,
    /// Certificate and key, in PEM; none before the machine is enrolled.
    own: Mutex<Option<String>>,
    /// The connection in use, and the address it is to.
    open: Mutex<Option<(Client, usize)>>,
}

fn pem(bytes: &str) -> io::Result<Certificate> {
    Certificate::from_pem(bytes.as_bytes()).map_err(io::Error::other)
}

impl Line {
    fn new(place: Place, authority: String, own: Option<String>) -> Self {
        Self { place, authority, own: Mutex::new(own), open: Mutex::new(None) }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Option<(Client, usize)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(&self, at: usize) -> String {
        self.place.addresses.get(at).cloned().unwrap_or_default()
    }

    fn unreachable(&self, at: usize, reason: String) -> SiteError {
        SiteError::Unreachable { address: self.address(at), reason, retry_after: None }
    }

    /// A way to call at an address, where only the site counts, as its authority says.
    fn client(&self, at: usize) -> io::Result<Client> {
        let address = self.address(at);
        let places: Vec<_> = address.to_socket_addrs()?.collect();
        let mut builder = Client::builder()
            .https_only(true)
            .tls_certs_only([pem(&self.authority)?])
            .resolve_to_addrs(&site_host_name(&self.place.site), &places)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECTING)
            // The kernel sees to it that a dead line is noticed: nobody is woken for that.
            .tcp_keepalive(Duration::from_mins(2))
            .pool_idle_timeout(None);
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(own) = own {
            let own = Credentials::from_pem(own.as_bytes()).map_err(io::Error::other)?;
            builder = builder.identity(own);
        }
        builder.build().map_err(io::Error::other)
    }

    fn url(&self, at: usize, path: &str) -> String {
        let address = self.address(at);
        let port = address.rsplit_once(':').map_or("7481", |(_, port)| port).to_owned();
        format!("https://{}:{port}/{BASE}/{path}", site_host_name(&self.place.site))
    }

    /// The connection in use, or to the address that is next.
    fn opened(&self, at: usize) -> Result<Client, SiteError> {
        let mut open = self.open();
        if let Some((client, _)) = open.as_ref().filter(|(_, to)| *to == at) {
            return Ok(client.clone());
        }
        let made = self.client(at).map_err(|error| self.unreachable(at, error.to_string()))?;
        *open = Some((made.clone(), at));
        Ok(made)
    }

    /// Asks, at each address until one answers.
    async fn ask(
        &self,
        path: &str,
        patience: Duration,
        request: impl Fn(&Client, String) -> RequestBuilder,
    ) -> Result<Response, SiteError> {
        let first = self.open().as_ref().map_or(0, |(_, at)| *at);
        let all = self.place.addresses.len().max(1);
        let mut last = None;
        for at in (first..all).chain(0..first) {
            let asked = match self.opened(at) {
                Ok(client) => request(&client, self.url(at, path)).timeout(patience).send().await,
                Err(error) => {
                    last = Some(error);
                    continue;
                }
            };
            match asked {
                Ok(answer) => return self.judged(at, answer).await,
                Err(error) => {
                    // The next try finds out anew where it is.
                    *self.open() = None;
                    last = Some(self.failed(at, &error));
                }
            }
        }
        Err(last.unwrap_or_else(|| self.unreachable(0, "no address of it is known".to_owned())))
    }

    fn failed(&self, at: usize, error: &reqwest::Error) -> SiteError {
        let why = model::with_causes(error);
        if why.contains("certificate") {
            let reason = format!(
                "what answers there is not the site this machine was enrolled at ({why}): set the address right, or `packhorse-agent \
                 enroll` with a token of the site that is there"
            );
            return SiteError::Refused { address: self.address(at), reason };
        }
        self.unreachable(at, why)
    }

    async fn judged(&self, at: usize, answer: Response) -> Result<Response, SiteError> {
        let status = answer.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let text = answer.text().await.unwrap_or_default();
        let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let reason = said["error"].as_str().map_or_else(|| status.to_string(), str::to_owned);
        let address = self.address(at);
        Err(if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            SiteError::Unreachable { address, reason, retry_after }
        } else {
            SiteError::Refused { address, reason }
        })
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        sort: &str,
        body: Vec<u8>,
    ) -> Result<T, SiteError> {
        let answer = self
            .ask(path, PATIENCE, |client, url| {
                client.post(url).header("content-type", sort).body(body.clone())
            })
            .await?;
        let at = self.open().as_ref().map_or(0, |(_, at)| *at);
        let text = answer.text().await.map_err(|error| self.failed(at, &error))?;
        serde_json::from_str(&text).map_err(|error| SiteError::Refused {
            address: self.address(at),
            reason: format!("its answer cannot be read: {error}"),
        })
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// A key's public half, as text: the 130 hexadecimal digits of its uncompressed point.
pub(crate) fn public(key: &KeyPair) -> String {
    key.public_key_raw().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asks to become a client. Blocks; while somebody has to approve the machine it asks again and again, as long as `wait` says so.
pub(crate) fn enroll(
    place: Place,
    authority: String,
    asked: &ClientEnrolment,
    wait: &mut dyn FnMut(&ClientWaiting) -> bool,
) -> Result<EnrolmentAnswer, SiteError> {
    let line = Line::new(place, authority, None);
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| line.unreachable(0, error.to_string()))?;
    runtime.block_on(async {
        loop {
            let answer = line.post("enrolment", "application/json", json(asked)).await;
            let pause = match &answer {
                Ok(EnrolmentAnswer::Waiting(waiting)) if wait(waiting) => waiting.next,
                _ => return answer,
            };
            // No site has a machine ask all the time, nor hardly ever.
            let pause = Duration::from_secs(pause.clamp(1, 3_600).into());
            tokio::time::sleep(pause).await;
        }
    })
}

/// What the thread that waits for news knows.
#[derive(Debug, Default)]
struct Waiting {
    /// What is known, if the site wants us to wait; and for how many seconds.
    known: Option<(Hash, u64)>,
}

/// A site that is a server.
#[derive(Debug)]
pub struct ServerSite {
    identity: Identity,
    line: Arc<Line>,
    runtime: Runtime,
    credentials: PathBuf,
    news: PathBuf,
    /// The document that is held, and what it says.
    held: Option<(Stamp, Hash)>,
    long_poll: bool,
    waiting: Arc<Mutex<Waiting>>,
    changed: Arc<Notify>,
}

/// Why a machine that is to be a client cannot call its site.
#[derive(Debug, thiserror::Error)]
pub enum OpenSiteError {
    /// It never was enrolled, or its credentials are gone.
    #[error(
        "this machine is enrolled at no site: `packhorse-agent enroll --token FILE` does that; `--policy FILE` needs none"
    )]
    NotEnrolled,
    /// The disk.
    #[error(
        "`{path}` cannot be read; nothing is taken for new, and `packhorse-agent enroll` with a new token replaces it"
    )]
    Disk {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn read(path: &Path) -> Result<String, OpenSiteError> {
    let disk = |source| OpenSiteError::Disk { path: path.display().to_string(), source };
    let bytes = durable::read(path).map_err(disk)?.ok_or(OpenSiteError::NotEnrolled)?;
    String::from_utf8(bytes).map_err(|error| disk(io::Error::other(error)))
}

impl ServerSite {
    /// The site a machine was enrolled at.
    ///
    /// # Errors
    /// It was not, or what it was given cannot be read.
    pub fn open(state: &StateFolder, identity: Identity) -> Result<Self, OpenSiteError> {
        let place = state.line().join("site.json");
        let text = read(&place)?;
        let disk = |path: &Path, source: io::Error| OpenSiteError::Disk {
            path: path.display().to_string(),
            source,
        };
        let place: Place =
            serde_json::from_str(&text).map_err(|error| disk(&place, io::Error::other(error)))?;
        if identity.site != place.site {
            return Err(OpenSiteError::NotEnrolled);
        }
        let credentials = state.credentials();
        let own = read(&credentials)?;
        let authority = read(&state.line().join("authority.pem"))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .thread_name("line")
            .thread_stack_size(1 << 20)
            .enable_all()
            .build()
            .map_err(|error| disk(&credentials, error))?;
        let held = durable::read(&state.policy()).ok().flatten();
        let mut site = Self {
            identity,
            line: Arc::new(Line::new(place, authority, Some(own))),
            runtime,
            credentials,
            news: state.news(),
            held: None,
            long_poll: false,
            waiting: Arc::default(),
            changed: Arc::default(),
        };
        if let Some(held) = held {
            site.hold(&held);
        }
        let wait = Wait {
            line: Arc::clone(&site.line),
            waiting: Arc::clone(&site.waiting),
            changed: Arc::clone(&site.changed),
            news: site.news.clone(),
        };
        site.runtime.spawn(wait.work());
        Ok(site)
    }

    /// A document was held, or came.
    fn hold(&mut self, bytes: &[u8]) {
        self.held = content_of(bytes);
        let read = PolicyDocument::read(bytes, self.identity.client, &self.identity.site);
        self.long_poll = read.is_ok_and(|document| document.settings.long_poll);
    }

    fn wait_for_news(&self, seconds: u64) {
        let known = self.held.filter(|_| self.long_poll).map(|(_, content)| (content, seconds));
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).known = known;
        self.changed.notify_one();
    }

    /// The next certificate, for a key of its own. Until it is here and durable, the one in use counts; and that counts at the site
    /// until the next one is used.
    async fn renew(line: &Line, credentials: &Path) -> Result<(), SiteError> {
        let here = |reason: String| SiteError::Refused { address: line.address(0), reason };
        let key = KeyPair::generate().map_err(|error| here(error.to_string()))?;
        let asked = Renewal { format: CLIENT_LINE_FORMAT, key: public(&key) };
        let enrolled: ClientEnrolled =
            line.post("certificate", "application/json", json(&asked)).await?;
        let own = enrolled.certificate + &key.serialize_pem();
        Credentials::from_pem(own.as_bytes()).map_err(|error| here(error.to_string()))?;
        durable::write(credentials, own.as_bytes()).map_err(|error| here(error.to_string()))?;
        *line.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(own);
        *line.open() = None;
        Ok(())
    }
}

impl Site for ServerSite {
    fn check_in(&mut self, asking: &Asking) -> Result<CheckIn, SiteError> {
        let held = self.held.filter(|(stamp, _)| Some(*stamp) == asking.known);
        let line = Arc::clone(&self.line);
        let asked = self.runtime.block_on(async {
            let answer = line
                .ask("policy", PATIENCE, |client, url| {
                    let mut request = client
                        .get(url)
                        .header("series", format!("{:x}", asking.series))
                        .header("boot", format!("{:x}", asking.boot));
                    if let Some((_, content)) = held {
                        request = request.header("if-none-match", format!("\"{content}\""));
                    }
                    request
                })
                .await?;
            let at = line.open().as_ref().map_or(0, |(_, at)| *at);
            let text = |name: &str| {
                answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
            };
            let next = text("next").and_then(|text| text.parse::<u64>().ok());
            let heard = text("heard").and_then(|text| u64::from_str_radix(&text, 16).ok());
            let is_to_renew = text("renew").is_some();
            let document = if answer.status() == StatusCode::NOT_MODIFIED {
                None
            } else {
                let bytes = bounded(answer).await.map_err(|why| line.unreachable(at, why))?;
                Some(bytes)
            };
            if is_to_renew {
                // What came is of more use than a certificate that counts still.
                let _ = Self::renew(&line, &self.credentials).await;
            }
            Ok::<_, SiteError>((document, next, heard))
        });
        let (document, next, heard) = asked?;
        if let Some(document) = &document {
            self.hold(document);
        }
        self.wait_for_news(next.unwrap_or(POLL));
        Ok(CheckIn {
            document,
            heard: heard.map(|heard| (asking.series, heard)),
            next: next.map(Duration::from_secs),
        })
    }

    fn deliver(&mut self, messages: &[Message]) -> Result<u64, SiteError> {
        let parcel = write_parcel(messages);
        let sent = self.line.post("messages", "application/cbor", parcel);
        self.runtime.block_on(sent).map(|taken: Taken| taken.through)
    }

    fn deliver_inventory(&mut self, inventory: &[u8]) -> Result<bool, SiteError> {
        let sent = self.line.post("inventory", "application/cbor", inventory.to_vec());
        self.runtime.block_on(sent).map(|taken: InventoryTaken| taken.taken)
    }

    fn wants_inventory(&self) -> bool {
        true
    }

    fn points(&self) -> Vec<String> {
        Vec::new()
    }

    fn watched(&self) -> Option<PathBuf> {
        Some(self.news.clone())
    }
}

/// The bytes of an answer, up to a bound.
async fn bounded(mut answer: Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| model::with_causes(&error))? {
        if bytes.len() + piece.len() > LONGEST {
            return Err(format!("its policy document has more than {LONGEST} bytes"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Who waits for news.
struct Wait {
    line: Arc<Line>,
    waiting: Arc<Mutex<Waiting>>,
    changed: Arc<Notify>,
    news: PathBuf,
}

impl Wait {
    async fn work(self) {
        loop {
            let known = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).known;
            let Some((content, seconds)) = known else {
                self.changed.notified().await;
                continue;
            };
            let path = format!("news?content={content}&wait={seconds}");
            let patience = Duration::from_secs(seconds) + PATIENCE;
            let asked = tokio::select! {
                asked = self.line.ask(&path, patience, reqwest::Client::get) => asked,
                () = self.changed.notified() => {
                    // What is known may be the same: then the question stays as good as it was.
                    continue;
                }
            };
            let said = match asked {
                Ok(answer) => answer.text().await.ok(),
                Err(_) => None,
            };
            let said: Option<serde_json::Value> =
                said.and_then(|text| serde_json::from_str(&text).ok());
            match said.map(|said| said["news"].as_bool().unwrap_or_default()) {
                Some(true) => {
                    // Whoever looks after the folder is woken, and asks; then there is something else to wait for.
                    let _ = durable::write(&self.news, b"");
                    self.changed.notified().await;
                }
                Some(false) => {}
                // The next check-in finds out how it is.
                None => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep(BREATH) => self.changed.notified().await,
                    }
                }
            }
        }
    }
}
