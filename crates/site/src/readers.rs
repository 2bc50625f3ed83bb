//! The site as a distribution point: what its own store has, to be read over HTTP, and nothing else of the site. Readers hold all of it
//! against its hashes (docs/formats/index.md).

use std::{ops::Range, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tower_http::services::ServeDir;

use crate::Server;

/// What there is to be read, below the store.
const FOLDERS: [&str; 6] = ["deltas", "manifests", "names", "packs", "releases", "trust"];
/// Pieces on their way from a bucket to a reader.
const PIECES: usize = 8;

/// Answers readers, ranges included.
pub(crate) fn router(server: &Arc<Server>) -> Router {
    if server.master().is_bucket() {
        return Router::new().route("/{*path}", get(read)).with_state(Arc::clone(server));
    }
    let store = server.folder().store();
    FOLDERS.into_iter().fold(Router::new(), |router, folder| {
        let files = ServeDir::new(store.join(folder)).append_index_html_on_directories(false);
        router.nest_service(&format!("/{folder}"), files)
    })
}

/// Whether a path is of something to be read, and of nothing beside it.
fn is_open(path: &str) -> bool {
    let mut parts = path.split('/');
    let first = parts.next().is_some_and(|first| FOLDERS.contains(&first));
    let mut rest = parts.peekable();
    first && rest.peek().is_some() && rest.all(|part| !matches!(part, "" | "." | ".."))
}

/// The range a reader asks for, as RFC 9110 §14.1.2 writes it; all of it, if it asks for several or for none. An error, if
/// there is nothing of it.
fn asked(headers: &HeaderMap, length: u64) -> Result<Option<Range<u64>>, ()> {
    let text = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some((first, last)) = text
        .and_then(|text| text.strip_prefix("bytes="))
        .filter(|text| !text.contains(','))
        .and_then(|text| text.split_once('-'))
    else {
        return Ok(None);
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(last)) if first.is_empty() => length.saturating_sub(last)..length,
        _ => return Ok(None),
    };
    if range.start < range.end { Ok(Some(range)) } else { Err(()) }
}

/// Something of a bucket.
async fn read(
    State(server): State<Arc<Server>>,
    Path(path): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    if !is_open(&path) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let (of, name) = (Arc::clone(&server), path.clone());
    let length = tokio::task::spawn_blocking(move || of.store().length(&name)).await;
    let length = match length {
        Ok(Ok(Some(length))) => length,
        Ok(Ok(None)) => return StatusCode::NOT_FOUND.into_response(),
        Ok(Err(error)) => {
            return (StatusCode::SERVICE_UNAVAILABLE, model::with_causes(&error)).into_response();
        }
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    let Ok(range) = asked(&headers, length) else {
        let all = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
        return (StatusCode::RANGE_NOT_SATISFIABLE, all).into_response();
    };
    let part = range.clone().unwrap_or(0..length);
    let mut answer = Response::builder()
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, part.end - part.start);
    if range.is_some() {
        let said = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        answer = answer.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, said);
    }
    let is_empty = method == Method::HEAD || part.is_empty();
    let body = if is_empty { Body::empty() } else { stream(server, path, part, range.is_none()) };
    answer.body(body).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// A part of something, as it comes.
fn stream(server: Arc<Server>, path: String, part: Range<u64>, whole: bool) -> Body {
    let (give, take) = mpsc::channel::<std::io::Result<Bytes>>(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut gone = false;
        let read = server.store().read_part(&path, part, whole, &mut |piece| {
            gone = give.blocking_send(Ok(Bytes::copy_from_slice(piece))).is_err();
            if gone { Err(store::PointError::Missing { path: path.clone() }) } else { Ok(()) }
        });
        if let Err(error) = read
            && !gone
        {
            let _ = give.blocking_send(Err(std::io::Error::other(error)));
        }
    });
    let pieces = futures_util::stream::unfold(take, |mut take| async move {
        take.recv().await.map(|piece| (piece, take))
    });
    Body::from_stream(pieces.boxed())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, header};

    use super::{asked, is_open};

    #[test]
    fn only_content_is_open() {
        for open in ["names/redis", "packs/ab/cd", "trust/timestamp.json"] {
            assert!(is_open(open), "{open}");
        }
        for closed in
            ["site.json", "site/redis", "names", "names/", "names/../site.json", "packs//a", ""]
        {
            assert!(!is_open(closed), "{closed}");
        }
    }

    #[test]
    fn ranges_are_parts_of_what_there_is() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, text.parse().unwrap());
            asked(&headers, 10)
        };
        assert_eq!(of("bytes=2-4"), Ok(Some(2..5)));
        assert_eq!(of("bytes=2-"), Ok(Some(2..10)));
        assert_eq!(of("bytes=-3"), Ok(Some(7..10)));
        assert_eq!(of("bytes=2-40"), Ok(Some(2..10)));
        assert_eq!(of("bytes=10-"), Err(()));
        for all in ["bytes=4-2", "bytes=0-1,4-5", "lines=1-2", "bytes=x-y"] {
            assert_eq!(of(all), Ok(None), "{all}");
        }
    }
}
