use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use model::PackageName;
use policy::Observed;
use site::{Folder, Server, Status};
use store::Point;
use testkit::Sample;

/// A site in a folder of its own, in this process.
pub(crate) struct World {
    pub(crate) home: tempfile::TempDir,
    pub(crate) server: Arc<Server>,
}

impl World {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(&home.path().join("site"));
        site::init(&folder, "TOP", None).unwrap();
        Self { server: Server::start(folder).unwrap(), home }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn add(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        self.server.add_point(name, &path.to_string_lossy()).unwrap();
        path
    }

    /// Publishes a version with content of its own.
    pub(crate) fn publish(&self, package: &str, version: &str) {
        let file = package_file(self.home.path(), package, version);
        self.server.publish(&file, false).unwrap();
    }

    pub(crate) fn assign(&self, package: &str, points: &[&str]) {
        let points: Vec<String> = points.iter().map(|name| (*name).to_owned()).collect();
        self.server.assign(&name(package), &points, &[], true).unwrap();
    }

    /// Waits until nothing is left to do, and says how it is then.
    pub(crate) fn settled(&self) -> Status {
        self.until(Status::is_settled)
    }

    pub(crate) fn until(&self, is_so: impl Fn(&Status) -> bool) -> Status {
        let began = Instant::now();
        loop {
            let status = self.server.status();
            if is_so(&status) {
                return status;
            }
            assert!(began.elapsed() < Duration::from_mins(1), "{}", status.to_text());
            std::thread::yield_now();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.stop(Duration::from_secs(5));
    }
}

pub(crate) fn name(package: &str) -> PackageName {
    PackageName::new(package).unwrap()
}

/// A package file with a megabyte that no other version has.
pub(crate) fn package_file(folder: &Path, package: &str, version: &str) -> PathBuf {
    let mut sample = Sample::new(package, version);
    let tree = sample.tree("/opt");
    sample.directory(tree, package);
    let seed = model::Hash::of(format!("{package} {version}").as_bytes()).to_string();
    let content: Vec<u8> = seed.bytes().cycle().take(200_000).collect();
    sample.file(tree, &format!("{package}/data"), &content);
    let path = folder.join(format!("{package}-{version}.package"));
    std::fs::write(&path, sample.bytes()).unwrap();
    path
}

/// What a folder holds of a package, hashed, and the version readers see.
pub(crate) fn held(point: &Path, package: &str) -> (Observed, Option<String>) {
    let point = Point::open(&point.to_string_lossy(), []).unwrap();
    let index = store::releases(&point, &name(package)).unwrap();
    let version =
        index.and_then(|index| index.releases.last().map(|one| one.version.as_str().to_owned()));
    (site::look(&point, &name(package)).unwrap(), version)
}

/// The first file below a folder whose path has `part` in it.
pub(crate) fn find(folder: &Path, part: &str) -> PathBuf {
    let mut folders = vec![folder.join(part)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                return path;
            }
            folders.push(path);
        }
    }
    panic!("nothing in {part}")
}
