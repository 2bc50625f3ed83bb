//! What all tests use: a folder as a point, packages, ways to break things.

use std::path::{Path, PathBuf};

use model::PackageName;
use store::{FetchOptions, Fetched, Point, PublishOptions, Published};
use testkit::Sample;

/// A distribution point in a folder of its own, and room beside it.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) point: Point,
}

pub(crate) fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("dp");
    let point = Point::open(at.to_str().unwrap(), []).unwrap();
    Place { folder, point }
}

pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// A program whose versions differ a little.
pub(crate) fn program(version: &str) -> Sample {
    let mut sample = Sample::new("redis", version);
    let tree = sample.tree("/opt/redis");
    sample.directory(tree, "");
    let mut code = b"\x7fELF".to_vec();
    code.extend(noise(900_000, 1));
    for at in (0..code.len()).step_by(5000) {
        code[at] ^= version.bytes().fold(0, u8::wrapping_add);
    }
    sample.file(tree, "program", &code);
    sample.file(tree, "same", &noise(100_000, 2));
    sample.file(tree, &format!("text-{version}"), format!("version {version}\n").as_bytes());
    sample.file(tree, "empty", b"");
    sample
}

pub(crate) fn name() -> PackageName {
    PackageName::new("redis").unwrap()
}

impl Place {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, sample: &Sample) -> PathBuf {
        let path = self.path(&format!("{}.package", sample.header.version));
        std::fs::write(&path, sample.bytes()).unwrap();
        path
    }

    pub(crate) fn publish(&self, sample: &Sample) -> Published {
        let options = PublishOptions { workers: Some(2), ..PublishOptions::default() };
        store::publish(&self.point, &self.file(sample), &options, &mut |_, _, _| {}).unwrap()
    }

    /// Fetches the newest, starting from these package files, and compares it.
    pub(crate) fn fetch(&self, have: &[&Path], wanted: &Sample) -> Fetched {
        let to = self.path("fetched.package");
        let fetched = fetch_to(&self.point, have, &to);
        let made = package::PackageReader::open(std::fs::File::open(&to).unwrap()).unwrap();
        assert_eq!(made.identity(), wanted.open().identity());
        fetched
    }

    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        let root = self.path("dp");
        let mut found = Vec::new();
        for kind in ["packs", "deltas", "manifests"] {
            for folder in std::fs::read_dir(root.join(kind)).into_iter().flatten() {
                let inner = std::fs::read_dir(folder.unwrap().path()).unwrap();
                found.extend(inner.map(|entry| entry.unwrap().path()));
            }
        }
        found.sort();
        found
    }
}

pub(crate) fn fetch_to(point: &Point, have: &[&Path], to: &Path) -> Fetched {
    let have = have.iter().map(|path| path.to_path_buf()).collect();
    let options = FetchOptions { have, ..FetchOptions::default() };
    let wanted = store::wanted(point, &name(), &options).unwrap();
    wanted.fetch(to, &mut |_, _, _| {}).unwrap()
}

pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
