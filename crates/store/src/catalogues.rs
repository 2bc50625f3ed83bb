//! Manifests, read part by part; a client keeps parts, for the next update goes back to them.

use std::path::Path;

use content::{Catalogue, Object, Release};
use model::Hash;

use crate::{FetchError, Point, cache::Cache};

/// The manifest of a release, its parts from the cache or the point.
pub(crate) fn catalogue(
    point: &Point,
    release: &Release,
    cache: Option<&Cache>,
) -> Result<Catalogue, FetchError> {
    let mut parts = Vec::with_capacity(1 + release.older().len());
    for object in std::iter::once(&release.manifest).chain(release.older()) {
        parts.push(part(point, object, cache)?);
    }
    Catalogue::open(parts, release.identity)
        .map_err(|source| FetchError::Manifest { path: release.manifest.path(), source })
}

/// What of a release's manifest would have to come: bytes and requests.
pub(crate) fn missing(release: &Release, cache: Option<&Cache>) -> content::Cost {
    let mut cost = content::Cost::default();
    for object in std::iter::once(&release.manifest).chain(release.older()) {
        if cache.is_none_or(|cache| !cache.part(object).is_file()) {
            cost.bytes += object.length;
            cost.requests += 1;
        }
    }
    cost
}

fn part(point: &Point, object: &Object, cache: Option<&Cache>) -> Result<Vec<u8>, FetchError> {
    if let Some(cache) = cache {
        let path = cache.part(object);
        if let Some(bytes) = read_whole(&path, object) {
            return Ok(bytes);
        }
        let bytes = point.read_object(object)?;
        // Without it the next update asks again, no more.
        let _ = cache.put(&path, &bytes);
        return Ok(bytes);
    }
    Ok(point.read_object(object)?)
}

fn read_whole(path: &Path, object: &Object) -> Option<Vec<u8>> {
    let bytes = std::fs::read(path).ok()?;
    (Hash::of(&bytes) == object.hash).then_some(bytes)
}
