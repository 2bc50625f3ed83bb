//! Who calls the site: one connection that is kept, HTTP/2 in mutual TLS, one thread that waits for news.

use std::{
    io,
    net::ToSocketAddrs as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use deployment::{
    CLIENT_LINE_FORMAT, ClientEnrolled, ClientEnrolment, ClientWaiting, EnrolmentAnswer,
    InventoryTaken, PolicyDocument, Renewal, Taken, content_of, site_host_name,
};
use model::Hash;
use policy::Stamp;
use rcgen::KeyPair;
use reqwest::{Certificate, Client, Identity as Credentials, RequestBuilder, Response, StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Notify,
};

use super::{Stream, receive, send};
use crate::{
    identity::Identity,
    platform::{
        caller::{end_with_parent, enter},
        rest,
    },
    site::{Asking, Place, SiteError, public},
};

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

/// What is asked of who calls the site.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Nothing yet: what everything after it is asked with. Its bytes are the document that is held.
    Open(Box<Opening>),
    /// What is newer than what is known.
    CheckIn(Asking),
    /// To deliver a parcel of messages.
    Deliver,
    /// To deliver an inventory.
    Inventory,
    /// To become a client; whether to wait until somebody approves it.
    Enroll(Box<ClientEnrolment>, bool),
    /// Whether credentials are kept, and count.
    Kept(bool),
}

/// What a site is called with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) place: Place,
    /// The site's authority, in PEM.
    pub(crate) authority: String,
    /// Certificate and key, in PEM, and whose they are; nothing before the machine is enrolled.
    pub(crate) own: Option<(String, Identity)>,
}

/// What it tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// The answer to a check-in; its bytes are the policy document, if one came.
    CheckedIn(Checked),
    /// The answer to a parcel: the message up to which all are durable.
    Delivered(u64),
    /// The answer to an inventory: whether it counts.
    Inventoried(bool),
    /// The answer to an enrolment.
    Enrolled(Box<EnrolmentAnswer>),
    /// Somebody has to approve this machine, and it is waited for.
    Waiting(ClientWaiting),
    /// There is news.
    News,
    /// The next credentials, its bytes: they count once they are kept.
    Own,
    /// The site did not do it.
    Failed(SiteError),
}

/// What a check-in came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Checked {
    /// The site's word for the document, if one came.
    pub(crate) signature: Option<String>,
    /// Whether one came.
    pub(crate) has_document: bool,
    /// Seconds until the next.
    pub(crate) next: Option<u64>,
    /// The last message the site has of the series it was asked about.
    pub(crate) heard: Option<u64>,
}

/// The way back; threads share it.
#[derive(Clone, Debug)]
struct Out(Arc<Mutex<Stream>>);

impl Out {
    fn tell(&self, told: &Told, bytes: &[u8]) -> io::Result<()> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        send(&*stream, told, bytes)
    }
}

/// Calls a site for who started this process, until that one goes.
pub(crate) fn call() -> io::Result<()> {
    let stream = enter(c"packhorse-line")?;
    // Also while a site is waited for.
    end_with_parent()?;
    let Some((Ask::Open(opening), held)) = receive(&stream)? else { return Ok(()) };
    let mut site = Calls::new(*opening, &held, Out(Arc::new(Mutex::new(stream.try_clone()?))))?;
    while let Some((ask, bytes)) = receive(&stream)? {
        let (told, carried) = match site.answer(ask, bytes, &stream) {
            Ok(answer) => answer,
            Err(error) => (Told::Failed(error), Vec::new()),
        };
        site.out.tell(&told, &carried)?;
        rest();
    }
    Ok(())
}

/// A site that is called.
#[derive(Debug)]
struct Calls {
    identity: Option<Identity>,
    line: Arc<Line>,
    runtime: Runtime,
    /// The document that is held, and what it says.
    held: Option<(Stamp, Hash)>,
    long_poll: bool,
    waiting: Arc<Mutex<Waiting>>,
    changed: Arc<Notify>,
    out: Out,
}

impl Calls {
    fn new(opening: Opening, held: &[u8], out: Out) -> io::Result<Self> {
        let Opening { place, authority, own } = opening;
        let (own, identity) = own.unzip();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .thread_name("line")
            .thread_stack_size(1 << 20)
            .enable_all()
            .build()?;
        let mut site = Self {
            identity,
            line: Arc::new(Line::new(place, authority, own)),
            runtime,
            held: None,
            long_poll: false,
            waiting: Arc::default(),
            changed: Arc::default(),
            out,
        };
        site.hold(held);
        let wait = Wait {
            line: Arc::clone(&site.line),
            waiting: Arc::clone(&site.waiting),
            changed: Arc::clone(&site.changed),
            out: site.out.clone(),
        };
        site.runtime.spawn(wait.work());
        Ok(site)
    }

    /// A document was held, or came.
    fn hold(&mut self, bytes: &[u8]) {
        self.held = content_of(bytes);
        let read = self
            .identity
            .as_ref()
            .and_then(|own| PolicyDocument::read(bytes, own.client, &own.site).ok());
        self.long_poll = read.is_some_and(|document| document.settings.long_poll);
    }

    fn wait_for_news(&self, seconds: u64) {
        let known = self.held.filter(|_| self.long_poll).map(|(_, content)| (content, seconds));
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).known = known;
        self.changed.notify_one();
    }

    fn answer(
        &mut self,
        ask: Ask,
        bytes: Vec<u8>,
        from: &Stream,
    ) -> Result<(Told, Vec<u8>), SiteError> {
        let told = match ask {
            Ask::CheckIn(asking) => return self.check_in(&asking, from),
            Ask::Deliver => {
                let sent = self.line.post("messages", "application/cbor", bytes);
                self.runtime.block_on(sent).map(|taken: Taken| Told::Delivered(taken.through))
            }
            Ask::Inventory => {
                let sent = self.line.post("inventory", "application/cbor", bytes);
                self.runtime
                    .block_on(sent)
                    .map(|taken: InventoryTaken| Told::Inventoried(taken.taken))
            }
            Ask::Enroll(asked, waits) => self.enroll(&asked, waits),
            Ask::Open(_) | Ask::Kept(_) => {
                Err(self.line.unreachable(0, "it was asked what makes no sense here".to_owned()))
            }
        };
        told.map(|told| (told, Vec::new()))
    }

    fn check_in(&mut self, asking: &Asking, from: &Stream) -> Result<(Told, Vec<u8>), SiteError> {
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
            let has_document = answer.status() != StatusCode::NOT_MODIFIED;
            let checked = Checked {
                signature: text("signature"),
                has_document,
                next: text("next").and_then(|text| text.parse().ok()),
                heard: text("heard").and_then(|text| u64::from_str_radix(&text, 16).ok()),
            };
            let is_to_renew = text("renew").is_some();
            let document = if has_document {
                bounded(answer).await.map_err(|why| line.unreachable(at, why))?
            } else {
                Vec::new()
            };
            Ok::<_, SiteError>((checked, document, is_to_renew))
        });
        let (checked, document, is_to_renew) = asked?;
        if is_to_renew {
            // What came is of more use than a certificate that counts still.
            let _ = self.renew(from);
        }
        if checked.has_document {
            self.hold(&document);
        }
        self.wait_for_news(checked.next.unwrap_or(POLL));
        Ok((Told::CheckedIn(checked), document))
    }

    /// The next certificate, for a key of its own. Until it is here and durable, the one in use counts; and that counts at the site
    /// until the next one is used.
    fn renew(&self, from: &Stream) -> io::Result<()> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let asked = Renewal { format: CLIENT_LINE_FORMAT, key: public(&key) };
        let sent = self.line.post("certificate", "application/json", json(&asked));
        let enrolled: ClientEnrolled = self.runtime.block_on(sent).map_err(io::Error::other)?;
        let own = enrolled.certificate + &key.serialize_pem();
        Credentials::from_pem(own.as_bytes()).map_err(io::Error::other)?;
        self.out.tell(&Told::Own, own.as_bytes())?;
        if let Some((Ask::Kept(true), _)) = receive(from)? {
            *self.line.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(own);
            *self.line.open() = None;
        }
        Ok(())
    }

    /// Asks to become a client; while somebody has to approve the machine again and again, if that is waited for.
    fn enroll(&self, asked: &ClientEnrolment, waits: bool) -> Result<Told, SiteError> {
        self.runtime.block_on(async {
            loop {
                let answer = self.line.post("enrolment", "application/json", json(asked)).await;
                let waiting = match &answer {
                    Ok(EnrolmentAnswer::Waiting(waiting)) if waits => waiting,
                    _ => return answer.map(|answer| Told::Enrolled(Box::new(answer))),
                };
                let _ = self.out.tell(&Told::Waiting(waiting.clone()), b"");
                // No site has a machine ask all the time, nor hardly ever.
                let pause = Duration::from_secs(waiting.next.clamp(1, 3_600).into());
                tokio::time::sleep(pause).await;
            }
        })
    }
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

/// What the thread that waits for news knows.
#[derive(Debug, Default)]
struct Waiting {
    /// What is known, if the site wants us to wait; and for how many seconds.
    known: Option<(Hash, u64)>,
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
    out: Out,
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
                    // Who hears it asks; then there is something else to wait for.
                    let _ = self.out.tell(&Told::News, b"");
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
