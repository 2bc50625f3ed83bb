use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions, TryLockError},
    io,
    time::Duration,
};

use content::{Object, ObjectKind};

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
    Seen::at(point)?.sweep(point, grace)
}

/// What a point had when it was looked at.
struct Seen {
    now: i64,
    marks: HashMap<String, Listed>,
    objects: Vec<Listed>,
    needed: HashSet<String>,
}

impl Seen {
    fn at(point: &Point) -> Result<Self, PointError> {
        let now = store_time(point)?;
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
        Ok(Self { now, marks, objects, needed })
    }

    fn sweep(self, point: &Point, grace: Duration) -> Result<Collected, PointError> {
        let grace = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        let is_old = |modified: i64| self.now.saturating_sub(modified) >= grace;
        let mut collected = Collected::default();
        for object in self.objects {
            let mark = self.marks.get(&object.path);
            if self.needed.contains(&object.path) {
                if mark.is_some() {
                    point.delete(&mark_of(&object.path))?;
                }
            } else if let Some(mark) = mark {
                // Where there are no locks, somebody may have found a use for it since it was listed (see `spare`).
                let is_spared = || point.length(&mark_of(&object.path)).map(|mark| mark.is_none());
                if is_old(mark.modified) && is_old(object.modified) && !is_spared()? {
                    point.delete(&object.path)?;
                    point.delete(&mark_of(&object.path))?;
                    collected.bytes += object.length;
                    collected.swept.push(object.path);
                } else {
                    collected.waiting.push(object.path);
                }
            } else {
                point.write_small(&mark_of(&object.path), Vec::new())?;
                collected.marked.push(object.path);
            }
        }
        Ok(collected)
    }
}

/// What is about to be named again is not needless any more: a collection under way, perhaps on another machine, leaves it. To be
/// called before it is looked whether the object is there.
pub fn spare(point: &Point, object: &Object) -> Result<(), PointError> {
    point.delete(&mark_of(&object.path()))
}

fn mark_of(path: &str) -> String {
    format!("marks/{path}")
}

/// What time it is where the point's times come from.
fn store_time(point: &Point) -> Result<i64, PointError> {
    point.write_small("marks/now", Vec::new())?;
    let listed = point.list("marks")?;
    let now = listed.iter().find(|listed| listed.path == "marks/now");
    now.map(|now| now.modified).ok_or(PointError::Missing { path: "marks/now".to_owned() })
}

/// Publishers share a folder, a collection has it alone. A bucket has no locks: there the grace protects, and who
/// needs what was marked says so (see `spare`).
pub(crate) struct Lock {
    _file: Option<File>,
}

impl Lock {
    pub(crate) fn shared(point: &Point) -> Result<Self, PointError> {
        Self::take(point, |file| file.lock_shared().map_err(TryLockError::Error))
    }

    pub(crate) fn exclusive(point: &Point) -> Result<Self, PointError> {
        Self::take(point, File::try_lock)
    }

    fn take(
        point: &Point,
        lock: impl FnOnce(&File) -> Result<(), TryLockError>,
    ) -> Result<Self, PointError> {
        let Some(folder) = point.as_folder() else { return Ok(Self { _file: None }) };
        let path = folder.join(".lock");
        let cannot = |source| PointError::File { doing: "locking", path: path.clone(), source };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(cannot)?;
        match lock(&file) {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(PointError::InUse { path }),
            // Shares that know no locks are left to the grace, as buckets are.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(Self { _file: None })
            }
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use model::PackageName;
    use object_store::{memory::InMemory, path::Path as Key};
    use testkit::Sample;

    use super::{Seen, collect};
    use crate::{Point, PublishOptions, Published, publish, verify};

    fn put(point: &Point) -> Published {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut sample = Sample::new("redis", "1");
        let tree = sample.tree("/opt/redis");
        sample.file(tree, "program", &vec![7; 50_000]);
        std::fs::write(file.path(), sample.bytes()).unwrap();
        publish(point, file.path(), &PublishOptions::default(), &mut |_, _, _| {}).unwrap()
    }

    fn withdraw(point: &Point) {
        for folder in ["names", "releases"] {
            for listed in point.list(folder).unwrap() {
                point.delete(&listed.path).unwrap();
            }
        }
    }

    #[test]
    fn in_a_bucket_what_is_named_again_while_it_is_collected_stays() {
        let point = Point::new(Arc::new(InMemory::new()), Key::default(), None).unwrap();
        put(&point);
        withdraw(&point);
        let marked = collect(&point, Duration::ZERO).unwrap().marked;
        assert!(!marked.is_empty());
        // Another machine publishes it after this one looked: nothing is written that is there.
        let seen = Seen::at(&point).unwrap();
        assert_eq!(put(&point).written, 0);
        assert_eq!(seen.sweep(&point, Duration::ZERO).unwrap().swept, [""; 0]);
        let redis = PackageName::new("redis").unwrap();
        assert!(crate::releases(&point, &redis).unwrap().is_some());
        assert_eq!(verify(&point, &mut |_, _, _| {}).unwrap(), []);
        // What nobody names again goes.
        withdraw(&point);
        assert_eq!(collect(&point, Duration::ZERO).unwrap().marked.len(), marked.len());
        assert_eq!(collect(&point, Duration::ZERO).unwrap().swept.len(), marked.len());
    }
}
