use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{Folder, Server, SiteError, api, folder::write_durably, server::log};

/// Attempts under way have so long to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the site until it is told to stop by SIGTERM or SIGINT. Whatever was under way then goes on with the next
/// start.
pub fn serve(folder: Folder, listen: SocketAddr) -> Result<(), SiteError> {
    let _lock = folder.lock()?;
    let token = folder.token()?;
    let cannot = |source| SiteError::file("listening for", folder.address())(source);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(cannot)?;
    let server = Server::start(folder.clone())?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let mut stop = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        write_durably(&folder.address(), address.to_string().as_bytes(), 0o644)?;
        log("listens", &json!({ "address": address.to_string() }));
        let app = api::router(server.clone(), token);
        let stopped = async move {
            tokio::select! {
                _ = stop.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        axum::serve(listener, app).with_graceful_shutdown(stopped).await.map_err(cannot)
    })?;
    let _ = std::fs::remove_file(folder.address());
    server.stop(PATIENCE);
    log("stopped", &json!({}));
    Ok(())
}
