//! Where what has come so far waits to be complete: found again after a cut, named only when it is whole.

use std::{
    fs::{File, OpenOptions},
    io::{Seek, SeekFrom},
    path::{Path, PathBuf},
};

use content::Object;

use crate::{Point, PointError};

/// Fetches an object into a file of `folder`, going on from what came before; says where it is. It stays there until
/// somebody deletes it.
pub(crate) fn fetch_object(
    point: &Point,
    object: &Object,
    folder: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<PathBuf, PointError> {
    let path = partial_path(object, folder);
    match attempt(point, object, &path, progress) {
        // What was there before may be at fault, and not what came now.
        Err(PointError::Damaged { .. }) if began_before(&path) => {
            discard(&path)?;
            attempt(point, object, &path, progress)?;
        }
        result => result?,
    }
    Ok(path)
}

/// Where an object that is not whole yet is kept.
pub(crate) fn partial_path(object: &Object, folder: &Path) -> PathBuf {
    folder.join(format!(".{}.partial", object.hash))
}

fn attempt(
    point: &Point,
    object: &Object,
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), PointError> {
    let cannot = |source| PointError::File { doing: "opening", path: path.to_owned(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(cannot)?;
    if file.metadata().map_err(cannot)?.len() > object.length {
        file.set_len(0).map_err(cannot)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(cannot)?;
    point.read_into(object, &mut file, path, progress)
}

fn began_before(path: &Path) -> bool {
    File::open(path).and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.len() > 0)
}

pub(crate) fn discard(path: &Path) -> Result<(), PointError> {
    std::fs::remove_file(path).map_err(|source| PointError::File {
        doing: "deleting",
        path: path.to_owned(),
        source,
    })
}
