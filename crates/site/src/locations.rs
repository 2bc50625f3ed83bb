//! Whether a folder may become a distribution point. Folders are compared by device and inode, never by text.

use std::path::{Path, PathBuf};

use crate::SiteError;

type Identity = (u64, u64);

fn identity(path: &Path) -> Option<Identity> {
    let stat = rustix::fs::stat(path).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// The folders from `path` up to the root, as far as they exist.
fn upwards(path: &Path) -> Vec<Identity> {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there: Option<PathBuf> = whole.ancestors().find_map(|path| path.canonicalize().ok());
    there.iter().flat_map(|path| path.ancestors()).filter_map(identity).collect()
}

/// The folder a location stands for, if it is one.
pub(crate) fn folder(location: &str) -> Option<PathBuf> {
    match location.strip_prefix("file://") {
        Some(path) => Some(PathBuf::from(path)),
        None if location.contains("://") => None,
        None => Some(PathBuf::from(location)),
    }
}

/// Refuses a folder that is, holds or is held by one of `others`, and one with anything in it that is no point's.
pub(crate) fn check<'a>(
    location: &str,
    others: impl IntoIterator<Item = (&'a str, &'a Path)>,
) -> Result<(), SiteError> {
    let refuse = |reason: String| SiteError::Location { location: location.to_owned(), reason };
    let Some(path) = folder(location) else { return Ok(()) };
    if !path.is_absolute() {
        return Err(refuse("the path must begin with `/`".to_owned()));
    }
    let above = upwards(&path);
    let own = identity(&path);
    for (what, other) in others {
        let is_inside = identity(other).is_some_and(|other| above.contains(&other));
        let holds = own.is_some_and(|own| upwards(other).contains(&own));
        if is_inside || holds {
            let other = other.display();
            return Err(refuse(format!("it is, holds, or is inside {what} `{other}`")));
        }
    }
    let entries = match std::fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refuse(format!("it cannot be read: {error}"))),
    };
    let ours =
        ["deltas", "hints", "manifests", "marks", "names", "packs", "releases", "site", ".lock"];
    let foreign = entries
        .filter_map(Result::ok)
        .find(|entry| !ours.iter().any(|name| entry.file_name() == *name));
    match foreign {
        None => Ok(()),
        Some(entry) => Err(refuse(format!(
            "it holds `{}`, which is not ours: take an empty folder",
            entry.file_name().display()
        ))),
    }
}
