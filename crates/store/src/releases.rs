use content::{Index, Release};
use model::PackageName;

use crate::{Point, PointError};

/// What a distribution point has of a package, `None` if nothing of that name was ever published there.
pub fn releases(point: &Point, name: &PackageName) -> Result<Option<Index>, PointError> {
    read_index(point, &Index::path(name))
}

/// The names of all packages a distribution point has. Not every HTTP server can say.
pub fn names(point: &Point) -> Result<Vec<PackageName>, PointError> {
    let listed = point.list("names")?;
    let mut names: Vec<_> = listed
        .iter()
        .filter_map(|listed| PackageName::new(listed.path.strip_prefix("names/")?).ok())
        .collect();
    names.sort();
    Ok(names)
}

fn read_index(point: &Point, path: &str) -> Result<Option<Index>, PointError> {
    let Some(bytes) = point.read_small(path)? else { return Ok(None) };
    let index = Index::parse(&bytes)
        .map_err(|source| PointError::Index { path: path.to_owned(), source })?;
    Ok(Some(index))
}

/// The index as its records say it: what the index is a copy of.
pub(crate) fn recorded(point: &Point, name: &PackageName) -> Result<Index, PointError> {
    let mut index = Index::new(name.clone());
    for listed in point.list(&Index::records(name))? {
        // One that went away meanwhile was replaced.
        let record = read_index(point, &listed.path)?;
        record
            .into_iter()
            .flat_map(|record| record.releases)
            .for_each(|release| index.put(release));
    }
    Ok(index)
}

/// Writes a release's record, then the index of all records.
///
/// No store we can rely on compares and swaps. So the index is only a copy: whoever writes it reads the records
/// afterwards, and writes again if it lacks one. Of publishers at the same time the last one sees all records.
pub(crate) fn record(
    point: &Point,
    name: &PackageName,
    release: &Release,
    replaced: &[Release],
) -> Result<(), PointError> {
    let mut alone = Index::new(name.clone());
    alone.put(release.clone());
    point.write_small(&Index::record_path(name, release.identity), alone.to_bytes())?;
    for old in replaced {
        point.delete(&Index::record_path(name, old.identity))?;
    }
    refresh(point, name)
}

/// Makes the index what the records say.
pub(crate) fn refresh(point: &Point, name: &PackageName) -> Result<(), PointError> {
    let mut wanted = recorded(point, name)?;
    loop {
        point.write_small(&Index::path(name), wanted.to_bytes())?;
        let now = recorded(point, name)?;
        if now == wanted {
            return Ok(());
        }
        wanted = now;
    }
}
