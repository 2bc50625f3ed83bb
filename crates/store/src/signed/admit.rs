//! Which releases of a distribution point count: those somebody signed who may.

use content::{Index, Object};
use model::PackageName;
use trust::{Refusal, SignedRelease, Standing, TIMESTAMP, Verified, Want};

use super::{TrustError, TrustSettings, update_trust};
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
        match admit(name, index, &signed) {
            Ok(None) => return Ok(None),
            Ok(Some((index, left_out))) => {
                explain(name, options, &verified, &index, &left_out)?;
                let standing = verified.standing.clone();
                return Ok(Some((index, Some(Admitted { releases: signed, standing }))));
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
) -> Result<Option<(Index, Vec<String>)>, Refusal> {
    let mut index = match index {
        Some(index) => index,
        None if signed.is_empty() => return Ok(None),
        None => Index::new(name.clone()),
    };
    let hidden = signed.iter().find(|signed| !index.releases.iter().any(|one| signed.is(one)));
    if let Some(hidden) = hidden {
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
    for signed in &signed {
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
    let verified = update_trust(source, settings, Want::Everything)?;
    let mut written = Vec::new();
    let mut copy = |path: &str, most: u64| -> Result<(), PointError> {
        let theirs = source.read_limited(path, most)?;
        let theirs = theirs.ok_or_else(|| PointError::Missing { path: path.to_owned() })?;
        if point.read_limited(path, most)?.as_ref() != Some(&theirs) {
            point.write_small(path, theirs)?;
            written.push(path.to_owned());
        }
        Ok(())
    };
    for file in verified.files() {
        copy(&file.path, file.length)?;
    }
    copy(TIMESTAMP, 1 << 20)?;
    Ok(written)
}
