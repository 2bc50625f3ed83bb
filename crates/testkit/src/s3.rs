use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::HeaderValue,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{Body, HttpError, auth::SimpleAuth, service::S3ServiceBuilder};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};

/// An S3 server with the bucket `packages` in a folder that goes with it, reached over a port of 127.0.0.1.
#[derive(Debug)]
pub struct S3Server {
    folder: tempfile::TempDir,
    address: SocketAddr,
    silent: watch::Sender<bool>,
    _runtime: Runtime,
}

impl S3Server {
    /// The key's name, and its secret.
    const KEY: (&'static str, &'static str) = ("horse", "stable");

    /// A new server with an empty bucket, in the network namespace of the thread that starts it.
    pub fn start() -> io::Result<Self> {
        Self::new(Some(SimpleAuth::from_single(Self::KEY.0, Self::KEY.1)))
    }

    /// One that is spoken to as Google's are: with a token, and with their own condition for writing, which is the only thing of
    /// the rest that differs for who writes, reads, lists and deletes.
    pub fn start_as_google() -> io::Result<Self> {
        Self::new(None)
    }

    fn new(auth: Option<SimpleAuth>) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("packages"))?;
        let store = s3s_fs::FileSystem::new(folder.path())
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut service = S3ServiceBuilder::new(store);
        let is_google = auth.is_none();
        if let Some(auth) = auth {
            service.set_auth(auth);
        }
        let service = service.build();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let silent = watch::Sender::new(false);
        let heard = silent.subscribe();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (service, mut heard) = (service.clone(), heard.clone());
                let service = service_fn(move |mut request: Request<Incoming>| {
                    let answer = (!is_google || from_google(&mut request))
                        .then(|| Service::call(&service, request));
                    async move {
                        if let Some(answer) = answer {
                            return answer.await;
                        }
                        let mut refused = Response::new(Body::empty());
                        *refused.status_mut() = StatusCode::UNAUTHORIZED;
                        Ok::<_, HttpError>(refused)
                    }
                });
                tokio::spawn(async move {
                    let http = Builder::new(TokioExecutor::new());
                    tokio::select! {
                        _ = http.serve_connection(TokioIo::new(socket), service) => {}
                        _ = heard.wait_for(|silent| *silent) => {}
                    }
                });
            }
        });
        Ok(Self { folder, address, silent, _runtime: runtime })
    }

    /// From now on every connection ends at once, those under way too; or it answers again.
    pub fn set_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// What a client's environment says for it to get in.
    pub fn settings(&self) -> Vec<(String, String)> {
        self.settings_with(Self::KEY.1)
    }

    /// The same with another secret.
    pub fn settings_with(&self, secret: &str) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        [
            ("AWS_ENDPOINT", &*endpoint),
            ("AWS_ACCESS_KEY_ID", Self::KEY.0),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", "us-east-1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// What the environment of a client of Google's says for it to come here.
    pub fn google_settings(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        [("GOOGLE_BASE_URL", &*endpoint), ("GOOGLE_BEARER_TOKEN", Self::KEY.1)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    /// Where the bucket is on disk.
    pub fn bucket(&self) -> PathBuf {
        self.folder().join("packages")
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Makes a request to Google one to S3; whether its token is the right one.
fn from_google(request: &mut Request<Incoming>) -> bool {
    let headers = request.headers_mut();
    let token = format!("Bearer {}", S3Server::KEY.1);
    let is_right = headers.remove("authorization").is_some_and(|one| one == token.as_str());
    // "Only if there is none": generation 0.
    if headers.remove("x-goog-if-generation-match").is_some_and(|generation| generation == "0") {
        headers.insert("if-none-match", HeaderValue::from_static("*"));
    }
    is_right
}
