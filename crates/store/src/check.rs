use std::collections::HashMap;

use content::{Index, Object};
use model::Hasher;

use crate::{
    Point, PointError, Progress, names,
    point::listed_object,
    releases::{recorded, refresh, releases},
    waiting::Waiting,
};

/// What is wrong with something at a distribution point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// It is needed and not there.
    Missing,
    /// Its bytes are not what its name says.
    Damaged,
    /// Nobody needs it.
    Surplus,
    /// An index that does not say what the records say.
    Stale,
    /// A release nobody signed who may.
    Unsigned,
}

/// Something wrong at a distribution point.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What is wrong.
    pub found: Found,
    /// Where, below the point's root.
    pub path: String,
    /// What it should be, if it is an object.
    pub object: Option<Object>,
}

/// What came of a repair.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Repaired {
    /// What is mended.
    pub mended: Vec<String>,
    /// What no source could mend.
    pub left: Vec<Finding>,
    /// Bytes taken from sources.
    pub bytes: u64,
}

/// Reads and hashes everything a distribution point has, and says what is wrong.
pub fn verify(point: &Point, progress: Progress<'_>) -> Result<Vec<Finding>, PointError> {
    let mut findings = Vec::new();
    let mut needed: HashMap<String, Object> = HashMap::new();
    for name in package_names(point)? {
        let by_records = recorded(point, &name)?;
        let found = wrong_index(point, &name, &by_records)?;
        findings.extend(found.map(|found| Finding {
            found,
            path: Index::path(&name),
            object: None,
        }));
        needed.extend(by_records.objects().map(|object| (object.path(), object)));
    }
    let mut have = HashMap::new();
    for kind in content::ObjectKind::ALL {
        for listed in point.list(kind.folder())? {
            have.insert(listed.path.clone(), listed);
        }
    }
    let total: u64 = needed.values().map(|object| object.length).sum();
    let mut done = 0;
    let mut paths: Vec<_> = needed.keys().cloned().collect();
    paths.sort();
    for path in paths {
        let object = needed[&path];
        let found = if have.remove(&path).is_none() {
            Some(Found::Missing)
        } else if is_whole(point, &object, &mut |bytes| progress("verifying", done + bytes, total))?
        {
            None
        } else {
            Some(Found::Damaged)
        };
        done += object.length;
        findings.extend(found.map(|found| Finding { found, path, object: Some(object) }));
    }
    let mut surplus: Vec<_> = have.into_values().collect();
    surplus.sort_by(|a, b| a.path.cmp(&b.path));
    findings.extend(surplus.into_iter().map(|listed| Finding {
        found: Found::Surplus,
        object: listed_object(&listed),
        path: listed.path,
    }));
    Ok(findings)
}

/// What is wrong with an index, if it does not say what the records say.
fn wrong_index(
    point: &Point,
    name: &model::PackageName,
    by_records: &Index,
) -> Result<Option<Found>, PointError> {
    match releases(point, name) {
        Ok(Some(index)) if index == *by_records => Ok(None),
        Ok(Some(_)) => Ok(Some(Found::Stale)),
        Ok(None) => Ok(Some(Found::Missing)),
        Err(PointError::Index { .. }) => Ok(Some(Found::Damaged)),
        Err(error) => Err(error),
    }
}

/// Makes every index say what its records say, and returns the paths of those that did not: a publish that was killed
/// between a record and the index leaves such behind. For points publishers alone write.
pub fn mend_indexes(point: &Point) -> Result<Vec<String>, PointError> {
    let mut mended = Vec::new();
    for name in package_names(point)? {
        if wrong_index(point, &name, &recorded(point, &name)?)?.is_some() {
            refresh(point, &name)?;
            mended.push(Index::path(&name));
        }
    }
    Ok(mended)
}

/// Names with an index or with records: a lost index is found by its records.
pub(crate) fn package_names(point: &Point) -> Result<Vec<model::PackageName>, PointError> {
    let mut all = names(point)?;
    for listed in point.list("releases")? {
        let name =
            listed.path.split('/').nth(1).and_then(|name| model::PackageName::new(name).ok());
        all.extend(name);
    }
    all.sort();
    all.dedup();
    Ok(all)
}

fn is_whole(
    point: &Point,
    object: &Object,
    progress: &mut dyn FnMut(u64),
) -> Result<bool, PointError> {
    let mut hasher = Hasher::new();
    let mut done = 0;
    let result = point.read_from(object, 0, &mut |piece| {
        hasher.update(piece);
        done += piece.len() as u64;
        progress(done);
        Ok(())
    });
    match result {
        Ok(()) => Ok(hasher.finish() == object.hash),
        Err(PointError::Damaged { .. } | PointError::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Mends what [`verify`] found from the first source that has it whole. Surplus objects stay: [`collect`](crate::collect)
/// takes them when their time has come.
pub fn repair(
    point: &Point,
    findings: &[Finding],
    sources: &[Point],
    progress: Progress<'_>,
) -> Result<Repaired, PointError> {
    let mut repaired = Repaired::default();
    let mut sources: Vec<&Point> = sources.iter().collect();
    for (number, finding) in findings.iter().enumerate() {
        progress("repairing", number as u64, findings.len() as u64);
        let mended = match (finding.found, finding.object) {
            (Found::Surplus, _) => continue,
            (_, Some(object)) => mend(point, &object, &mut sources, &mut |_| {})?,
            (_, None) => {
                let name = finding.path.rsplit('/').next().unwrap_or_default();
                match model::PackageName::new(name) {
                    Ok(name) => refresh(point, &name).map(|()| true)?,
                    Err(_) => false,
                }
            }
        };
        if mended {
            repaired.bytes += finding.object.map_or(0, |object| object.length);
            repaired.mended.push(finding.path.clone());
        } else {
            repaired.left.push(finding.clone());
        }
    }
    Ok(repaired)
}

/// Brings an object to a point from the first source that has it whole; whether one had. A service that does not answer is no
/// source any longer: nobody waits for it once more with the next object. `progress` gets the bytes that came and went.
pub fn mend(
    point: &Point,
    object: &Object,
    sources: &mut Vec<&Point>,
    progress: &mut dyn FnMut(u64),
) -> Result<bool, PointError> {
    let scratch = Waiting::scratch()?;
    let mut at = 0;
    while let Some(source) = sources.get(at) {
        match crate::partial::fetch_object(source, object, scratch.folder(), progress) {
            Ok(path) => {
                point.write_object(object, &path, progress)?;
                return Ok(true);
            }
            Err(error) if error.is_silence() && source.as_folder().is_none() => {
                sources.remove(at);
            }
            // A source that has it not, or not whole, is no reason not to ask the next.
            Err(_) => at += 1,
        }
    }
    Ok(false)
}
