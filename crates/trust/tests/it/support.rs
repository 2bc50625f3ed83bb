//! A distribution point in memory, its keys, and clients of it.

use std::{collections::BTreeMap, convert::Infallible};

use content::{Object, ObjectKind, Release};
use jiff::{SignedDuration, Timestamp};
use model::{Architecture, Hash, PackageName, Version};
use trust::{
    Change, Edit, Lifetimes, Party, Refusal, SigningKey, Trusted, UpdateError, Verified, Want,
};

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

pub(crate) const ROOT: [u8; 3] = [1, 2, 3];
pub(crate) const TARGETS: u8 = 10;
pub(crate) const ONLINE: u8 = 20;
pub(crate) const TEAM: u8 = 30;

pub(crate) fn party(seeds: &[u8], threshold: u64) -> Party {
    Party { keys: seeds.iter().map(|seed| key(*seed).public()).collect(), threshold }
}

pub(crate) fn keys(seeds: &[u8]) -> Vec<SigningKey> {
    seeds.iter().copied().map(key).collect()
}

pub(crate) fn name(text: &str) -> PackageName {
    PackageName::new(text).unwrap()
}

pub(crate) fn day(days: i64) -> Timestamp {
    let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    start + SignedDuration::from_hours(24 * days)
}

pub(crate) fn manifest(version: &str) -> Vec<u8> {
    format!("manifest of {version}").into_bytes()
}

pub(crate) fn release(version: &str) -> Release {
    Release {
        version: Version::new(version),
        architecture: Architecture::Any,
        identity: Hash::of(version.as_bytes()),
        manifest: Object::of(ObjectKind::Manifest, &manifest(version)),
        totals: package::Totals::default(),
        packs: Vec::new(),
        deltas: Vec::new(),
        composed: None,
    }
}

/// What a distribution point has.
#[derive(Clone, Default)]
pub(crate) struct Shop {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Shop {
    /// Root 2 of 3, one key each for the rest; nothing published.
    pub(crate) fn new() -> Self {
        let mut shop = Self::default();
        let root = party(&ROOT, 2);
        let edit =
            Edit::create(&root, &party(&[TARGETS], 1), &party(&[ONLINE], 1), Hash::of(b"shop"));
        shop.write(edit.unwrap(), &[1, 2, TARGETS, ONLINE], 0);
        shop
    }

    pub(crate) fn root(&self, version: u64) -> Vec<u8> {
        self.files[&trust::root_path(version)].clone()
    }

    pub(crate) fn edit(&self) -> Edit {
        Edit::begin(Some(&self.root(1)), &mut |path, _| Ok::<_, Infallible>(self.read(path)))
            .unwrap()
    }

    pub(crate) fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.files.get(path).cloned()
    }

    pub(crate) fn write(&mut self, edit: Edit, seeds: &[u8], at: i64) -> Change {
        let change = edit.finish(&keys(seeds), day(at), &Lifetimes::default()).unwrap();
        self.files.extend(change.files.iter().cloned());
        self.files.extend(change.switch.clone());
        change
    }

    pub(crate) fn publish(
        &mut self,
        role: &str,
        package: &str,
        version: &str,
        seeds: &[u8],
        at: i64,
    ) {
        let mut edit = self.edit();
        edit.put(role, &name(package), &release(version), &manifest(version)).unwrap();
        self.write(edit, seeds, at);
    }

    pub(crate) fn refresh(&mut self, at: i64) {
        let edit = self.edit();
        self.write(edit, &[ONLINE], at);
    }

    /// A team with its names.
    pub(crate) fn delegate(&mut self, team: &str, seeds: &[u8], names: &str, at: i64) {
        let mut edit = self.edit();
        edit.delegate(team, &party(seeds, 1), &[names.parse().unwrap()]).unwrap();
        self.write(edit, &[TARGETS, ONLINE], at);
    }

    /// The bytes of a file, changed as text and not signed again.
    pub(crate) fn forge(&mut self, path: &str, from: &str, to: &str) {
        let text = String::from_utf8(self.files[path].clone()).unwrap();
        assert!(text.contains(from), "{path} has no `{from}`: {text}");
        self.files.insert(path.to_owned(), text.replace(from, to).into_bytes());
    }

    /// Takes away what came along with the timestamp, so that files of their own are read.
    pub(crate) fn detach(&mut self) {
        let bytes = &self.files["trust/timestamp.json"];
        let mut whole: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        whole["attached"]["files"] = serde_json::json!({});
        self.files.insert("trust/timestamp.json".to_owned(), serde_json::to_vec(&whole).unwrap());
    }
}

/// A client and what it has saved.
pub(crate) struct Client {
    pub(crate) pinned: Vec<u8>,
    pub(crate) saved: Option<Vec<u8>>,
    pub(crate) requests: Vec<(String, u64)>,
}

impl Client {
    pub(crate) fn new(shop: &Shop) -> Self {
        Self { pinned: shop.root(1), saved: None, requests: Vec::new() }
    }

    pub(crate) fn update(&mut self, shop: &Shop, at: i64) -> Result<Verified, Refusal> {
        let mut trusted = Trusted::pinned(&self.pinned, self.saved.as_deref()).unwrap();
        self.requests.clear();
        let requests = &mut self.requests;
        let result =
            trust::update(&mut trusted, Some(day(at)), Want::Everything, &mut |path, most| {
                requests.push((path.to_owned(), most));
                let bytes = shop.read(path);
                let most = usize::try_from(most).unwrap();
                Ok::<_, Infallible>(bytes.map(|bytes| bytes.into_iter().take(most + 1).collect()))
            });
        self.saved = Some(trusted.to_bytes());
        result.map_err(|error| match error {
            UpdateError::Refused(refusal) => refusal,
            UpdateError::Read(never) => match never {},
        })
    }

    /// The versions of a package it believes.
    pub(crate) fn versions(&mut self, shop: &Shop, package: &str, at: i64) -> Vec<String> {
        let verified = self.update(shop, at).unwrap();
        versions(&verified, package)
    }
}

pub(crate) fn versions(verified: &Verified, package: &str) -> Vec<String> {
    let releases = verified.releases(&name(package)).unwrap();
    releases.iter().map(|release| release.version.to_string()).collect()
}
