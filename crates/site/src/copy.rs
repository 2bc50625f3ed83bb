//! One package at one point: written, looked at, taken away. Every write is fenced by the marker beside it.

use std::{collections::HashSet, fs::File, io::Read, path::Path};

use content::{Index, Object, Release};
use model::{Hash, Hasher, PackageName, with_causes};
use policy::{Cause, Fence, Observed, Switch, VersionNumber, switch};
use serde::{Deserialize, Serialize};
use store::{Point, PointError};

use crate::master::Master;

/// What a site notes at a point beside a package: who was there last, and what for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The greatest fence that was there.
    pub fence: Fence,
    /// What readers see: the version's number and the package's identity.
    pub visible: Option<(VersionNumber, Hash)>,
}

/// What an attempt asks while it runs: whether to go on, after so many more bytes.
pub(crate) type GoOn<'a> = &'a mut dyn FnMut(u64) -> bool;

/// How an attempt ended that did not come to its end.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The lease is over: nobody needs to hear of it.
    Cancelled,
    /// The site's own copy is not what it should be.
    Source(String),
    /// For this reason.
    Failed(Cause, String),
}

impl From<PointError> for Stopped {
    fn from(error: PointError) -> Self {
        let text = with_causes(&error);
        Self::Failed(cause(&error), text)
    }
}

/// What stands behind a point's error, as far as anybody can tell.
fn cause(error: &PointError) -> Cause {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(next) = source {
        if let Some(io) = next.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    Cause::NoSpace { needs: 0, has: 0 }
                }
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    Cause::Denied
                }
                std::io::ErrorKind::ResourceBusy => Cause::InUse,
                _ => Cause::Unreachable,
            };
        }
        source = next.source();
    }
    match error {
        error if error.is_denied() => Cause::Denied,
        PointError::Damaged { .. } | PointError::Index { .. } => Cause::ContentDamaged,
        PointError::InUse { .. } => Cause::InUse,
        _ => Cause::Unreachable,
    }
}

fn marker_path(name: &PackageName) -> String {
    format!("site/{name}")
}

/// What the site noted at a point. A marker nobody can read counts as none.
pub fn marker(point: &Point, name: &PackageName) -> Result<Marker, PointError> {
    let bytes = point.read_small(&marker_path(name))?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

fn write_marker(point: &Point, name: &PackageName, marker: &Marker) -> Result<(), PointError> {
    point.write_small(&marker_path(name), serde_json::to_vec(marker).unwrap_or_default())
}

/// What a point holds of a package, every byte hashed.
pub fn look(point: &Point, name: &PackageName) -> Result<Observed, PointError> {
    look_while(point, name, &mut |_| true).map(|seen| seen.unwrap_or(Observed::Unknown))
}

/// The same; nothing if it was stopped.
pub(crate) fn look_while(
    point: &Point,
    name: &PackageName,
    go_on: GoOn<'_>,
) -> Result<Option<Observed>, PointError> {
    let marker = marker(point, name)?;
    let number = marker.visible.map(|(number, _)| number).unwrap_or_default();
    let index = match store::releases(point, name) {
        Ok(index) => index,
        Err(PointError::Index { .. }) => return Ok(Some(Observed::Damaged(number))),
        Err(error) => return Err(error),
    };
    let Some(index) = index.filter(|index| !index.releases.is_empty()) else {
        // Records without an index are what a cut left behind.
        let left = point.list(&Index::records(name))?;
        let seen = if left.is_empty() { Observed::Absent } else { Observed::Damaged(number) };
        return Ok(Some(seen));
    };
    let Some((number, identity)) = marker.visible else {
        return Ok(Some(Observed::Damaged(number)));
    };
    let Some(release) = index.releases.iter().find(|release| release.identity == identity) else {
        return Ok(Some(Observed::Damaged(number)));
    };
    for object in release.objects() {
        if !is_whole(point, &object)? {
            return Ok(Some(Observed::Damaged(number)));
        }
        if !go_on(object.length) {
            return Ok(None);
        }
    }
    Ok(Some(Observed::Holds(number)))
}

/// Whether a point has an object, every byte of it hashed.
pub(crate) fn is_whole(point: &Point, object: &Object) -> Result<bool, PointError> {
    let mut hasher = Hasher::new();
    let read = point.read_from(object, 0, &mut |piece| {
        hasher.update(piece);
        Ok(())
    });
    match read {
        Ok(()) => Ok(hasher.finish() == object.hash),
        Err(PointError::Damaged { .. } | PointError::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a point hold a release of the own copies: objects first, each read back, then the record, then
/// the index in one switch. What readers saw before stays until then.
pub(crate) fn complete(
    from: &Master,
    to: &Point,
    name: &PackageName,
    (number, identity): (VersionNumber, Hash),
    fence: Fence,
    go_on: GoOn<'_>,
) -> Result<(), Stopped> {
    let index = store::releases(from.point(), name).map_err(source)?;
    let release = index
        .and_then(|index| index.releases.into_iter().find(|release| release.identity == identity));
    let Some(release) = release else {
        return Err(Stopped::Source(format!("the store has no release of `{name}` like that")));
    };
    let noted = enter(to, name, fence)?;
    let visible = noted.visible.map(|(visible, _)| visible);
    if switch(visible, number, noted.fence, fence) != Switch::Now {
        return Err(Stopped::Cancelled);
    }
    for object in release.objects() {
        store::spare(to, &object)?;
        if is_whole(to, &object)? {
            if !go_on(object.length) {
                return Err(Stopped::Cancelled);
            }
            continue;
        }
        let file = from.sound(&object).map_err(source)?;
        let mut cancelled = false;
        to.write_object(&object, file.path(), &mut |bytes| cancelled |= !go_on(bytes))?;
        if cancelled {
            return Err(Stopped::Cancelled);
        }
        if !is_whole(to, &object)? {
            let text = format!("`{}` was written and reads back as something else", object.path());
            return Err(Stopped::Failed(Cause::ContentDamaged, text));
        }
    }
    // Somebody with a later lease may have come meanwhile.
    if marker(to, name)?.fence != fence {
        return Err(Stopped::Cancelled);
    }
    let mut alone = Index::new(name.clone());
    alone.put(release.clone());
    let bytes = alone.to_bytes();
    to.write_small(&Index::record_path(name, identity), bytes.clone())?;
    write_marker(to, name, &Marker { fence, visible: Some((number, identity)) })?;
    to.write_small(&Index::path(name), bytes)?;
    for listed in to.list(&Index::records(name))? {
        if listed.path != Index::record_path(name, identity) {
            to.delete(&listed.path)?;
        }
    }
    Ok(())
}

/// Notes the fence at the point, or stops because a later one was there.
pub(crate) fn enter(to: &Point, name: &PackageName, fence: Fence) -> Result<Marker, Stopped> {
    let noted = marker(to, name)?;
    if noted.fence > fence {
        return Err(Stopped::Cancelled);
    }
    let noted = Marker { fence, ..noted };
    write_marker(to, name, &noted)?;
    Ok(noted)
}

/// What the own store cannot give. Only what it said of itself counts: unknown is not damaged.
fn source(error: PointError) -> Stopped {
    let why = format!("the site's own store: {}", with_causes(&error));
    if error.is_of_content() { Stopped::Source(why) } else { own_store(&error) }
}

/// What an attempt at the own store came to: it is not the parent that is silent, nor a point that refuses.
pub(crate) fn at_own(stopped: Stopped) -> Stopped {
    match stopped {
        Stopped::Failed(cause, why) => {
            let is_silent = matches!(cause, Cause::Unreachable | Cause::Denied);
            let cause = if is_silent { Cause::OwnStore } else { cause };
            Stopped::Failed(cause, format!("the site's own store: {why}"))
        }
        other => other,
    }
}

/// The same for an answer of it.
pub(crate) fn of_own(error: PointError) -> Stopped {
    at_own(error.into())
}

/// The own store is silent, or what is kept of it here has no room.
pub(crate) fn own_store(error: &PointError) -> Stopped {
    let why = with_causes(error);
    Stopped::Failed(Cause::OwnStore, format!("the site's own store: {why}"))
}

pub(crate) fn hash_of(path: &Path) -> std::io::Result<Hash> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
    }
}

/// Makes a point hold nothing of a package: the index goes first, then records, then objects no other package there
/// names. Nothing that is not the package's is touched.
pub(crate) fn remove_fenced(
    point: &Point,
    name: &PackageName,
    fence: Fence,
) -> Result<(), Stopped> {
    enter(point, name, fence)?;
    remove(point, name)?;
    Ok(write_marker(point, name, &Marker { fence, visible: None })?)
}

/// The same without a fence, for the site's own store.
pub fn remove(point: &Point, name: &PackageName) -> Result<(), PointError> {
    let mut releases: Vec<Release> = Vec::new();
    let mut paths = Vec::new();
    for listed in point.list(&Index::records(name))? {
        let record = point.read_small(&listed.path)?;
        let record = record.and_then(|bytes| Index::parse(&bytes).ok());
        releases.extend(record.into_iter().flat_map(|record| record.releases));
        paths.push(listed.path);
    }
    if let Ok(Some(index)) = store::releases(point, name) {
        releases.extend(index.releases);
    }
    point.delete(&Index::path(name))?;
    let needed = needed_by_others(point, name)?;
    for object in releases.iter().flat_map(Release::objects) {
        if !needed.contains(&object.path()) {
            point.delete(&object.path())?;
        }
    }
    // Last: as long as they are there, a cut is noticed and all of this is done again.
    for path in paths {
        point.delete(&path)?;
    }
    Ok(())
}

fn needed_by_others(point: &Point, name: &PackageName) -> Result<HashSet<String>, PointError> {
    let mut needed = HashSet::new();
    let own = format!("{}/", Index::records(name));
    for listed in point.list("releases")? {
        if listed.path.starts_with(&own) {
            continue;
        }
        // A record that cannot be read may need anything: what it is of stays, and the failure is said.
        let Some(bytes) = point.read_small(&listed.path)? else { continue };
        let index = Index::parse(&bytes)
            .map_err(|source| PointError::Index { path: listed.path.clone(), source })?;
        needed.extend(index.objects().map(|object| object.path()));
    }
    Ok(needed)
}
