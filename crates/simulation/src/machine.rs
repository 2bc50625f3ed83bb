use std::collections::{BTreeMap, BTreeSet};

use model::{Hash, PackageName};
use policy::{Fence, Key, PackageId, PlaceId, Row, Sender, Site, VersionNumber, Work};

/// Content as its units; equal numbers, equal bytes.
pub type Units = Vec<u64>;

/// What a site knows of one content: its manifest is the hash over its units.
pub fn manifest(units: &[u64]) -> Hash {
    let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    Hash::of(&bytes)
}

/// A distribution point's disk.
#[derive(Clone, Debug, Default)]
pub struct PointDisk {
    /// What readers see, by package: switched in one step.
    pub visible: BTreeMap<PackageName, (VersionNumber, Units)>,
    /// The greatest fence seen, by package.
    pub fences: BTreeMap<PackageName, Fence>,
    /// Does not answer before.
    pub dead_until: u64,
    /// Is full before.
    pub full_until: u64,
    /// Holds a file open before.
    pub in_use_until: u64,
}

/// A transfer under way, as far as it is on disk.
#[derive(Clone, Debug, Default)]
pub struct Spool {
    /// Units that arrived or came from a base.
    pub units: Vec<Option<u64>>,
    /// Whether a base gave some.
    pub has_base: bool,
}

/// One site's server: its tables, its disks, its life.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The decisions. Durable after each event.
    pub site: Site,
    /// The tables as the database has them.
    pub rows: BTreeMap<Key, Row>,
    /// Another process of the same site, as it was when it decided last, and the rows that changed since.
    pub other: Option<(Site, BTreeSet<Key>)>,
    /// Volatile.
    pub sender: Sender,
    /// The site above, by its number.
    pub parent: Option<usize>,
    /// Sites below, by their numbers.
    pub children: Vec<usize>,
    /// Whether it runs.
    pub up: bool,
    /// Rises with each crash: what an earlier life began is gone.
    pub life: u32,
    /// The steady clock began so long before the world's.
    pub steady: u64,
    /// The wall clock lies by so many seconds.
    pub wall: i64,
    /// Own copies.
    pub store: BTreeMap<(PackageName, VersionNumber), Units>,
    /// Own copies that are not whole yet.
    pub spool: BTreeMap<(PackageName, VersionNumber), Spool>,
    /// Disks of its points.
    pub points: BTreeMap<PlaceId, PointDisk>,
    /// The own store is full before.
    pub full_until: u64,
    /// Works under way in this life.
    pub works: BTreeMap<(PlaceId, PackageId), Work>,
    /// Tables as they were saved last, with the greatest epoch noted beside them.
    pub backup: Option<Site>,
    /// The greatest epoch there was, kept outside the tables.
    pub epoch: u32,
    /// When somebody last answered.
    pub answered: u64,
    /// The timer that is set.
    pub timer: Option<u64>,
    /// The question to the parent that is open, by package; answers to others are not heard.
    pub questions: BTreeMap<PackageId, u64>,
    /// Packages that were given up in this life, by fence; for workers that look.
    pub cancelled: BTreeSet<(PlaceId, PackageId, Fence)>,
}

impl Machine {
    /// A server without anything on it.
    pub fn new(site: Site, parent: Option<usize>) -> Self {
        let rows = site.keys().filter_map(|key| Some((key, site.row(key)?))).collect();
        Self {
            site,
            rows,
            other: None,
            sender: Sender::default(),
            parent,
            children: Vec::new(),
            up: true,
            life: 0,
            steady: 0,
            wall: 0,
            store: BTreeMap::new(),
            spool: BTreeMap::new(),
            points: BTreeMap::new(),
            full_until: 0,
            works: BTreeMap::new(),
            backup: None,
            epoch: 0,
            answered: 0,
            timer: None,
            questions: BTreeMap::new(),
            cancelled: BTreeSet::new(),
        }
    }

    /// The version of a package the own store holds, as the tables know it.
    pub fn master_of(&self, package: &str) -> Option<VersionNumber> {
        let name = PackageName::new(package).ok()?;
        self.site.master(self.site.package_id(&name)?)
    }
}
