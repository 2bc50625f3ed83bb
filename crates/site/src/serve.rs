use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    Folder, Server, SiteError, api, calling, clients, folder::write_durably, link,
    process::Process, readers, server::log, watchdog,
};

/// Attempts under way have so long to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Who has our address has so long to leave it.
const TAKEN_PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries.
const BREATH: Duration = Duration::from_millis(100);

/// Where a site listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// For people and programs of this machine.
    pub api: SocketAddr,
    /// For children; a site without any needs none.
    pub link: Option<SocketAddr>,
    /// For those who read packages: then the site is a distribution point itself.
    pub content: Option<SocketAddr>,
    /// For devices that speak hawkBit's protocol.
    pub ddi: Option<SocketAddr>,
}

/// Runs a process of the site until it is told to stop by SIGTERM or SIGINT. Whatever was under way then goes on with the next
/// start.
pub fn serve(folder: Folder, listen: Listen) -> Result<(), SiteError> {
    let settings = folder.settings()?;
    let mut presence = folder.enter(&settings)?;
    let cannot = |source| SiteError::file("listening for", folder.path())(source);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(cannot)?;
    let server = Server::open(folder.clone(), presence.alone)?;
    presence.open_up()?;
    let token = folder.token()?;
    server.keep_presence(presence);
    let process = runtime.block_on(async {
        let listener = bind(listen.api).await?;
        let address = listener.local_addr().map_err(cannot)?;
        let children = match listen.link {
            Some(link) => Some(bind(link).await?),
            None => None,
        };
        let readers = match listen.content {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let devices = match listen.ddi {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let mut stop = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let process = Process::register(&folder, &address.to_string())?;
        write_durably(&folder.address(), address.to_string().as_bytes(), 0o644)?;
        log("listens", &json!({ "address": address.to_string() }));
        let lines = match children {
            Some(listener) => {
                let address = listener.local_addr().map_err(cannot)?;
                write_durably(&folder.link_address(), address.to_string().as_bytes(), 0o644)?;
                log("listens-for-children", &json!({ "address": address.to_string() }));
                Some(tokio::spawn(link::listen(server.clone(), listener)))
            }
            None => None,
        };
        let readers = readers.map(|listener| {
            let address = listener.local_addr().map(|address| address.to_string());
            log("listens-for-readers", &json!({ "address": address.unwrap_or_default() }));
            let router = readers::router(&server);
            tokio::spawn(axum::serve(listener, router).into_future())
        });
        let devices = devices.map(|listener| {
            let address = listener.local_addr().map(|address| address.to_string());
            log("listens-for-devices", &json!({ "address": address.unwrap_or_default() }));
            let router = clients::device_router(Arc::clone(&server));
            tokio::spawn(axum::serve(listener, router).into_future())
        });
        let calls = tokio::spawn(calling::call(server.clone()));
        let connecting = Arc::clone(&server);
        let handle = tokio::runtime::Handle::current();
        let connected = tokio::task::spawn_blocking(move || connecting.connect(&handle)).await;
        connected.map_err(|error| cannot(std::io::Error::other(error)))?;
        let app = api::router(server.clone(), token);
        watchdog::begin(&server);
        let stopped = async move {
            tokio::select! {
                _ = stop.recv() => {}
                _ = interrupt.recv() => {}
            }
            watchdog::end();
        };
        axum::serve(listener, app).with_graceful_shutdown(stopped).await.map_err(cannot)?;
        calls.abort();
        for listening in [readers, devices].into_iter().flatten() {
            listening.abort();
        }
        if let Some(lines) = lines {
            lines.abort();
        }
        Ok::<_, SiteError>(process)
    })?;
    drop(process);
    // Another process may live on.
    if Process::addresses(&folder).is_empty() {
        for path in [folder.address(), folder.link_address()] {
            let _ = std::fs::remove_file(path);
        }
    }
    server.stop(PATIENCE);
    runtime.shutdown_timeout(PATIENCE);
    log("stopped", &json!({}));
    Ok(())
}

/// Takes an address to listen at. Somebody who has it for a moment, as who calls from that port, is waited for.
async fn bind(address: SocketAddr) -> Result<TcpListener, SiteError> {
    let began = Instant::now();
    let mut is_said = false;
    loop {
        match TcpListener::bind(address).await {
            Err(error)
                if error.kind() == ErrorKind::AddrInUse && began.elapsed() < TAKEN_PATIENCE =>
            {
                if !is_said {
                    log("address-taken", &json!({ "address": address.to_string() }));
                    is_said = true;
                }
                tokio::time::sleep(BREATH).await;
            }
            tried => return tried.map_err(|source| SiteError::Listen { address, source }),
        }
    }
}
