use std::collections::BTreeMap;

use change::{Node, Observe, RawMeta};
use model::{Hash, MachinePath, RegistryKey, Setting, Time};

/// Everything a tree holds, but access times, change times and inode numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture(pub BTreeMap<MachinePath, Seen>);

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it is.
    pub node: Node,
    /// Its metadata.
    pub meta: RawMeta,
    /// The content of a file.
    pub hash: Option<Hash>,
    /// The first name of a file that has several in the tree.
    pub link: Option<MachinePath>,
}

impl Picture {
    /// Everything at and below `root`, folders that `skip` names left out with all they hold.
    pub fn of(machine: &(impl Observe + ?Sized), root: &str, skip: &[&str]) -> Self {
        let mut entries = BTreeMap::new();
        let root = root.parse().expect("a path");
        let skip: Vec<MachinePath> =
            skip.iter().map(|path| path.parse().expect("a path")).collect();
        collect(machine, &root, &skip, &mut entries);
        let hive = RegistryKey::new("HKLM").expect("a key");
        if machine.setting(&Setting::Key(hive.clone())).is_ok() {
            collect_settings(machine, &hive, &mut entries);
        }
        let mut names: BTreeMap<(u64, u64), MachinePath> = BTreeMap::new();
        let seen = entries.into_iter().map(|(path, (seen, identity))| {
            let link = match seen.node {
                Node::File { .. } => {
                    let first = names.entry(identity).or_insert_with(|| path.clone());
                    (*first != path).then(|| first.clone())
                }
                _ => None,
            };
            (path, Seen { link, ..seen })
        });
        Self(seen.collect())
    }

    /// A line for every difference: `-` only here, `+` only there, `~` both but not the same.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, seen) in &self.0 {
            match other.0.get(path) {
                None => lines.push(format!("- {path}")),
                Some(there) if there != seen => {
                    lines.push(format!("~ {path}: {seen:?} != {there:?}"));
                }
                Some(_) => {}
            }
        }
        lines.extend(
            other
                .0
                .keys()
                .filter(|path| !self.0.contains_key(*path))
                .map(|path| format!("+ {path}")),
        );
        lines
    }
}

/// Settings stand in the picture as if they were files.
fn collect_settings(
    machine: &(impl Observe + ?Sized),
    key: &RegistryKey,
    entries: &mut BTreeMap<MachinePath, (Seen, (u64, u64))>,
) {
    for setting in machine.settings_in(key).expect("a readable key") {
        let state = machine.setting(&setting).expect("a readable setting");
        let path = setting.path();
        let hash = Hash::of(&minicbor::to_vec(&state).expect("a state as bytes"));
        let meta = RawMeta::private(0, Time::default());
        let identity = (u64::MAX, entries.len() as u64);
        let seen = Seen { node: Node::File { length: 0 }, meta, hash: Some(hash), link: None };
        entries.insert(path, (seen, identity));
        if let Setting::Key(inner) = setting {
            collect_settings(machine, &inner, entries);
        }
    }
}

fn collect(
    machine: &(impl Observe + ?Sized),
    path: &MachinePath,
    skip: &[MachinePath],
    entries: &mut BTreeMap<MachinePath, (Seen, (u64, u64))>,
) {
    if skip.contains(path) {
        return;
    }
    let Some(found) = machine.look(path).expect("a readable tree") else { return };
    let hash = match found.node {
        Node::File { .. } => Some(machine.hash(path).expect("a readable file")),
        _ => None,
    };
    let is_directory = found.node.is_directory();
    let seen = Seen { node: found.node, meta: found.meta, hash, link: None };
    entries.insert(path.clone(), (seen, found.identity));
    if is_directory {
        for name in machine.list(path).expect("a readable folder") {
            collect(machine, &path.join(name).expect("a name"), skip, entries);
        }
    }
}
