//! Which releases of a distribution point count: those somebody signed who may.

use std::{collections::BTreeMap, path::Path};

use content::{Index, Object};
use model::{PackageName, Version};
use trust::{Refusal, SignedRelease, Standing, StatedFile, TIMESTAMP, Verified, Want};

use super::{Pin, TrustError, TrustSettings, follow, update_trust};
use crate::{
    FetchError, FetchOptions, Finding, Found, Point, PointError,
    check::package_names,
    releases::{read_index, releases},
};

/// A publish may switch between the metadata and the index; reading both again sees it whole.
const ATTEMPTS: u32 = 3;

/// What the metadata says of a package.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) releases: Vec<SignedRelease>,
    pub(crate) standing: Standing,
    /// The newest version that is signed, if the point, which may lag, has only older ones.
    pub(crate) newer: Option<Version>,
}

/// The index of a package, with the releases that count; all of them where nobody is asked.
pub(crate) fn admitted(
    point: &Point,
    name: &PackageName,
    options: &FetchOptions,
) -> Result<Option<(Index, Option<Admitted>)>, FetchError> {
    let Some(settings) = &options.trust else {
        return Ok(releases(point, name)?.map(|index| (index, None)));
    };
    let mut attempt = 1;
    loop {
        let verified = update_trust(point, settings, Want::Package(name))?;
        let signed = verified.releases(name).map_err(TrustError::from)?;
        let index = complete(point, name, releases(point, name)?, &signed)?;
        match admit(name, index, &signed, verified.points_may_lag()) {
            Ok(None) => return Ok(None),
            Ok(Some((index, left_out))) => {
                explain(name, options, &verified, &index, &left_out)?;
                let standing = verified.standing.clone();
                let newest = signed.iter().map(|signed| &signed.version).max();
                let here = index.releases.iter().map(|release| &release.version).max();
                let newer = newest.filter(|newest| here.is_some_and(|here| here < newest)).cloned();
                return Ok(Some((index, Some(Admitted { releases: signed, standing, newer }))));
            }
            Err(refusal) if attempt == ATTEMPTS => return Err(TrustError::from(refusal).into()),
            Err(_) => attempt += 1,
        }
    }
}

/// The index with signed releases it lacks and that are recorded: another publisher may write it from what it read before.
fn complete(
    point: &Point,
    name: &PackageName,
    mut index: Option<Index>,
    signed: &[SignedRelease],
) -> Result<Option<Index>, PointError> {
    for signed in signed {
        if index.iter().flat_map(|index| &index.releases).any(|release| signed.is(release)) {
            continue;
        }
        let record = read_index(point, &Index::record_path(name, signed.identity))?;
        for release in record.into_iter().flat_map(|record| record.releases) {
            index.get_or_insert_with(|| Index::new(name.clone())).put(release);
        }
    }
    Ok(index)
}

/// The index without what nobody signed, and the versions that were left out.
fn admit(
    name: &PackageName,
    index: Option<Index>,
    signed: &[SignedRelease],
    may_lag: bool,
) -> Result<Option<(Index, Vec<String>)>, Refusal> {
    let mut index = match index {
        Some(index) => index,
        None if signed.is_empty() || may_lag => return Ok(None),
        None => Index::new(name.clone()),
    };
    let hidden = signed.iter().find(|signed| !index.releases.iter().any(|one| signed.is(one)));
    if let Some(hidden) = hidden.filter(|_| !may_lag) {
        let (role, version) = (hidden.role.clone(), hidden.version.to_string());
        return Err(Refusal::Hidden { role, name: name.to_string(), version });
    }
    let (kept, left): (Vec<_>, Vec<_>) = index
        .releases
        .into_iter()
        .partition(|release| signed.iter().any(|signed| signed.is(release)));
    index.releases = kept;
    Ok(Some((index, left.into_iter().map(|release| release.version.to_string()).collect())))
}

/// What is wanted and was left out is refused with the reason, not as if it were not there.
fn explain(
    name: &PackageName,
    options: &FetchOptions,
    verified: &Verified,
    index: &Index,
    left_out: &[String],
) -> Result<(), TrustError> {
    let version = match &options.version {
        Some(version) if index.release(Some(version)).is_some() => return Ok(()),
        None if !index.releases.is_empty() => return Ok(()),
        Some(version) if left_out.iter().any(|left| left == version.as_str()) => {
            version.to_string()
        }
        Some(_) => return Ok(()),
        None => match left_out.last() {
            Some(version) => version.clone(),
            None => return Ok(()),
        },
    };
    if let Standing::Stale { role, at } = &verified.standing {
        return Err(Refusal::Expired { role: role.clone(), at: *at }.into());
    }
    let unsigned = Refusal::Unsigned { name: name.to_string(), version };
    Err(verified.about(name).cloned().unwrap_or(unsigned).into())
}

/// Compares a distribution point with its trust metadata: files of it that are missing or damaged, signed releases
/// that are hidden or have another manifest, releases nobody signed.
pub fn verify_trust(point: &Point, settings: &TrustSettings) -> Result<Vec<Finding>, TrustError> {
    let verified = update_trust(point, settings, Want::Everything)?;
    let mut findings = Vec::new();
    let mut find = |found, path: String, object: Option<Object>| {
        findings.push(Finding { found, path, object });
    };
    for file in verified.files() {
        match point.read_limited(&file.path, file.length)? {
            None => find(Found::Missing, file.path, None),
            Some(bytes) if !file.is(&bytes) => find(Found::Damaged, file.path, None),
            Some(_) => {}
        }
    }
    let signed = verified.all_releases();
    let mut unsigned = Vec::new();
    for name in package_names(point)? {
        let index = releases(point, &name)?;
        for release in index.into_iter().flat_map(|index| index.releases) {
            if !signed.iter().any(|signed| signed.name == name && signed.is(&release)) {
                unsigned.push(Index::record_path(&name, release.identity));
            }
        }
    }
    for signed in signed.iter().filter(|_| !verified.points_may_lag()) {
        let index = releases(point, &signed.name)?;
        let mut known = index.iter().flat_map(|index| &index.releases);
        if !known.any(|release| signed.is(release)) {
            find(Found::Missing, Index::record_path(&signed.name, signed.identity), None);
        }
    }
    for path in unsigned {
        find(Found::Unsigned, path, None);
    }
    Ok(findings)
}

/// Copies trust metadata from a point where it verifies, the switch last; says which files were written.
pub fn mirror_trust(
    point: &Point,
    source: &Point,
    settings: &TrustSettings,
) -> Result<Vec<String>, TrustError> {
    let pin =
        Pin { root: &settings.root, state: settings.state.as_deref(), now: Some(settings.now) };
    relay(point, &pin, &mut |path, most| source.read_limited(path, most))
        .map(|(_, written)| written)
}

/// Copies trust metadata to a point from whatever reads it, the switch last. Nothing of it is written before all of it was
/// verified from a root, and against what was seen last if that is kept in `state`. Whether it is in time is for those to
/// judge who use it.
pub fn relay_trust(
    point: &Point,
    root: &[u8],
    state: Option<&Path>,
    read: trust::Read<'_, PointError>,
) -> Result<Verified, TrustError> {
    relay(point, &Pin { root, state, now: None }, read).map(|(verified, _)| verified)
}

fn relay(
    point: &Point,
    pin: &Pin<'_>,
    read: trust::Read<'_, PointError>,
) -> Result<(Verified, Vec<String>), TrustError> {
    // Each file is read once: what is written is what was verified.
    let mut seen: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut once = |path: &str, most: u64| -> Result<Option<Vec<u8>>, PointError> {
        if let Some(bytes) = seen.get(path) {
            return Ok(Some(bytes.clone()));
        }
        let bytes = read(path, most)?;
        seen.extend(bytes.clone().map(|bytes| (path.to_owned(), bytes)));
        Ok(bytes)
    };
    let verified = follow(pin, Want::Everything, &mut once)?;
    let mut written = Vec::new();
    let mut copy = |path: &str, most: u64, file: Option<&StatedFile>| -> Result<(), TrustError> {
        let here = point.read_limited(path, most)?;
        if file.zip(here.as_ref()).is_some_and(|(file, here)| file.is(here)) {
            return Ok(());
        }
        let theirs = once(path, most)?;
        let theirs = theirs.ok_or_else(|| PointError::Missing { path: path.to_owned() })?;
        if file.is_some_and(|file| !file.is(&theirs)) {
            let role = path.rsplit('/').next().unwrap_or(path).to_owned();
            return Err(Refusal::Hash { role, path: path.to_owned() }.into());
        }
        if here.as_ref() != Some(&theirs) {
            point.write_small(path, theirs)?;
            written.push(path.to_owned());
        }
        Ok(())
    };
    for file in verified.files() {
        copy(&file.path, file.length, Some(&file))?;
    }
    copy(TIMESTAMP, 1 << 20, None)?;
    Ok((verified, written))
}
