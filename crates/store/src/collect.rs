use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    time::Duration,
};

use content::ObjectKind;
use rustix::fs::FlockOperation;

use crate::{Listed, Point, PointError, check::package_names, releases::recorded};

/// What came of a collection.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Collected {
    /// Objects that were found needless now, and will go when their time has come.
    pub marked: Vec<String>,
    /// Objects that wait for their time.
    pub waiting: Vec<String>,
    /// Objects that went.
    pub swept: Vec<String>,
    /// Bytes they had.
    pub bytes: u64,
}

/// Takes away what no release needs, in two passes `grace` or more apart: the first marks, a later one sweeps what is
/// marked so long and still needless. A client that read the index before the mark has `grace` to end.
///
/// Only the store's own clock is asked.
pub fn collect(point: &Point, grace: Duration) -> Result<Collected, PointError> {
    let _lock = Lock::exclusive(point)?;
    let now = store_time(point)?;
    let grace = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
    let marks: HashMap<String, Listed> = point
        .list("marks")?
        .into_iter()
        .filter_map(|mark| {
            let path = mark.path.strip_prefix("marks/")?.to_owned();
            Some((path, mark))
        })
        .collect();
    // Objects first, then who needs them: what a publish under way adds is younger than the list, or recorded.
    let mut objects = Vec::new();
    for kind in ObjectKind::ALL {
        objects.extend(point.list(kind.folder())?);
    }
    let mut needed = HashSet::new();
    for name in package_names(point)? {
        needed.extend(recorded(point, &name)?.objects().map(|object| object.path()));
    }
    let mut collected = Collected::default();
    for object in objects {
        let mark = marks.get(&object.path);
        let is_old = |modified: i64| now.saturating_sub(modified) >= grace;
        if needed.contains(&object.path) {
            if mark.is_some() {
                point.delete(&format!("marks/{}", object.path))?;
            }
        } else if let Some(mark) = mark {
            if is_old(mark.modified) && is_old(object.modified) {
                point.delete(&object.path)?;
                point.delete(&format!("marks/{}", object.path))?;
                collected.bytes += object.length;
                collected.swept.push(object.path);
            } else {
                collected.waiting.push(object.path);
            }
        } else {
            point.write_small(&format!("marks/{}", object.path), Vec::new())?;
            collected.marked.push(object.path);
        }
    }
    Ok(collected)
}

/// What time it is where the point's times come from.
fn store_time(point: &Point) -> Result<i64, PointError> {
    point.write_small("marks/now", Vec::new())?;
    let listed = point.list("marks")?;
    let now = listed.iter().find(|listed| listed.path == "marks/now");
    now.map(|now| now.modified).ok_or(PointError::Missing { path: "marks/now".to_owned() })
}

/// Publishers share a folder, a collection has it alone. A bucket has no locks: there the grace alone protects.
pub(crate) struct Lock {
    _file: Option<File>,
}

impl Lock {
    pub(crate) fn shared(point: &Point) -> Result<Self, PointError> {
        Self::take(point, FlockOperation::LockShared)
    }

    fn exclusive(point: &Point) -> Result<Self, PointError> {
        Self::take(point, FlockOperation::NonBlockingLockExclusive)
    }

    fn take(point: &Point, operation: FlockOperation) -> Result<Self, PointError> {
        let Some(folder) = point.as_folder() else { return Ok(Self { _file: None }) };
        let path = folder.join(".lock");
        let cannot = |source| PointError::File { doing: "locking", path: path.clone(), source };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(cannot)?;
        match rustix::fs::flock(&file, operation) {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(PointError::InUse { path }),
            // Shares that know no locks are left to the grace, as buckets are.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                Ok(Self { _file: None })
            }
            Err(error) => Err(cannot(error.into())),
        }
    }
}
