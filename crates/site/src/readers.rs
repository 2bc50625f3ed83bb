//! The site as a distribution point: what its own store has, to be read over HTTP, and nothing else of the site. Readers hold all of it
//! against its hashes (docs/formats/index.md).

use std::path::Path;

use axum::Router;
use tower_http::services::ServeDir;

/// What there is to be read, below the store.
const FOLDERS: [&str; 6] = ["deltas", "manifests", "names", "packs", "releases", "trust"];

/// Answers readers, ranges included.
pub(crate) fn router(store: &Path) -> Router {
    FOLDERS.into_iter().fold(Router::new(), |router, folder| {
        let files = ServeDir::new(store.join(folder)).append_index_html_on_directories(false);
        router.nest_service(&format!("/{folder}"), files)
    })
}
