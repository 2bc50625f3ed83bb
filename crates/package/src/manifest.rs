//! The manifest: records in leaves, leaves in a hash tree (docs/formats/package.md §7).

use minicbor::{Decode, Encode, Encoder};
use model::Hash;

use crate::Record;

/// §7.2: a leaf never ends before it has so many records, unless it is the last …
const LEAF_MIN: usize = 12;
/// … ends on average so many records later …
const LEAF_MEAN: u64 = 16;
/// … and always at so many.
const LEAF_MAX: usize = 64;
/// §7.3: the same for the children of an upper node.
const NODE_MIN: usize = 16;
const NODE_MEAN: u64 = 16;
const NODE_MAX: usize = 64;

/// Gathers records into leaves (§7.2).
#[derive(Debug, Default)]
pub struct LeafBuilder {
    records: Vec<u8>,
    count: usize,
}

/// A complete leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
    /// How many records it has.
    pub records: u64,
}

impl Leaf {
    /// The records of a leaf whose hash was checked, and which none of the rules of §7.4 was held against yet.
    pub fn parse(bytes: &[u8]) -> Result<Vec<Record>, String> {
        minicbor::decode(bytes).map_err(|error| format!("a leaf does not parse: {error}"))
    }
}

impl LeafBuilder {
    /// Takes the next record; gives the leaf that is complete with it, if one is.
    pub fn push(&mut self, record: &Record) -> Option<Leaf> {
        // Encoding into a vector cannot fail.
        let _ = minicbor::encode(record, &mut self.records);
        self.count += 1;
        let ends = self.count >= LEAF_MAX
            || (self.count >= LEAF_MIN && is_boundary(&key_hash(record), LEAF_MEAN));
        ends.then(|| self.finish())
    }

    /// The leaf of what is left; an empty one is the manifest of no records.
    pub fn finish(&mut self) -> Leaf {
        let mut bytes = Vec::with_capacity(self.records.len() + 9);
        let _ = Encoder::new(&mut bytes).array(self.count as u64);
        bytes.append(&mut self.records);
        let records = self.count as u64;
        self.count = 0;
        Leaf { bytes, records }
    }

    /// Whether no record waits for its leaf to end.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Where a leaf ends depends on the names in it and on nothing else: a changed file moves no boundary.
fn key_hash(record: &Record) -> Hash {
    let mut hasher = model::Hasher::new();
    hasher.update(&record.tree.to_le_bytes()).update(&record.path);
    hasher.finish()
}

fn is_boundary(hash: &Hash, mean: u64) -> bool {
    let mut number = [0; 8];
    number.copy_from_slice(&hash.0[..8]);
    u64::from_le_bytes(number).is_multiple_of(mean)
}

/// Builds the upper nodes from the leaves, bottom up, holding one unfinished node per level.
#[derive(Debug, Default)]
pub struct ManifestTree {
    levels: Vec<Vec<Child>>,
}

/// A finished upper node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestNode {
    /// Its height above the leaves, from 1.
    pub level: u32,
    /// Its name: the hash of `bytes`.
    pub hash: Hash,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
}

impl ManifestNode {
    /// The hashes of what is right below an upper node whose hash was checked (§7.3), and its height.
    pub fn children(bytes: &[u8]) -> Result<(u32, Vec<Hash>), String> {
        let parsed: Result<(u32, Vec<Child>), _> = minicbor::decode(bytes);
        let (height, children) =
            parsed.map_err(|error| format!("a node does not parse: {error}"))?;
        Ok((height, children.into_iter().map(|child| child.hash).collect()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Child {
    #[n(0)]
    hash: Hash,
    #[n(1)]
    records: u64,
}

impl ManifestTree {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next leaf by the hash of its canonical bytes and the count of its records; hands
    /// every upper node that is complete with it to `node`.
    pub fn leaf(&mut self, hash: Hash, records: u64, node: &mut dyn FnMut(ManifestNode)) {
        self.push(0, Child { hash, records }, node);
    }

    /// The root, when all leaves are in; hands the last nodes to `node`. `None` if there was no leaf.
    pub fn finish(mut self, node: &mut dyn FnMut(ManifestNode)) -> Option<Hash> {
        let mut level = 0;
        while level < self.levels.len() {
            let is_top = level + 1 == self.levels.len();
            match self.levels[level].as_slice() {
                [only] if is_top => return Some(only.hash),
                [] => {}
                _ => self.close(level, node),
            }
            level += 1;
        }
        None
    }

    fn push(&mut self, level: usize, child: Child, node: &mut dyn FnMut(ManifestNode)) {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        let children = &mut self.levels[level];
        children.push(child);
        let count = children.len();
        if count >= NODE_MAX || (count >= NODE_MIN && is_boundary(&child.hash, NODE_MEAN)) {
            self.close(level, node);
        }
    }

    fn close(&mut self, level: usize, node: &mut dyn FnMut(ManifestNode)) {
        let children = std::mem::take(&mut self.levels[level]);
        let records = children.iter().map(|child| child.records).sum();
        let height = u32::try_from(level + 1).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(children.len() * 40 + 16);
        let _ = minicbor::encode((height, children), &mut bytes);
        let hash = Hash::of(&bytes);
        node(ManifestNode { level: height, hash, bytes });
        self.push(level + 1, Child { hash, records }, node);
    }
}

/// §6.3: what a package is called by machines: the hash over its header and its manifest.
pub fn identity(header: &[u8], manifest: &Hash) -> Hash {
    let mut hasher = model::Hasher::new();
    hasher.update(b"packhorse package 1\n").update(&Hash::of(header).0).update(&manifest.0);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use model::{Hash, Meta, Time};

    use super::{LeafBuilder, ManifestTree};
    use crate::{FileContent, Node, Record};

    fn record(number: usize, content: &[u8]) -> Record {
        let content = FileContent {
            length: content.len() as u64,
            hash: Hash::of(content),
            holes: vec![],
            chunks: vec![],
            substitutions: vec![],
        };
        let path = format!("usr/share/program/folder-{}/file-{number:07}", number / 50);
        Record {
            tree: 0,
            path: path.into_bytes(),
            node: Node::File(content),
            meta: Meta::of_root(0o644, Time::default()),
        }
    }

    fn nodes(records: impl Iterator<Item = Record>) -> (Hash, Vec<(Hash, Vec<u8>)>) {
        let (mut leaves, mut tree) = (LeafBuilder::default(), ManifestTree::new());
        let mut all = Vec::new();
        let mut take = |leaf: super::Leaf, all: &mut Vec<_>| {
            let hash = Hash::of(&leaf.bytes);
            all.push((hash, leaf.bytes));
            tree.leaf(hash, leaf.records, &mut |node| all.push((node.hash, node.bytes)));
        };
        for record in records {
            if let Some(leaf) = leaves.push(&record) {
                take(leaf, &mut all);
            }
        }
        take(leaves.finish(), &mut all);
        let root = tree.finish(&mut |node| all.push((node.hash, node.bytes))).unwrap();
        (root, all)
    }

    /// An update of 10 files among 200,000 (a million differs by one level's few nodes at most).
    #[test]
    fn an_update_of_few_files_changes_few_nodes() {
        let count = 200_000;
        let changed: HashSet<usize> = (0..10).map(|index| index * 19_973 + 7).collect();
        let (old_root, old) = nodes((0..count).map(|number| record(number, b"old")));
        let (new_root, new) =
            nodes((0..count).map(|number| {
                record(number, if changed.contains(&number) { b"new" } else { b"old" })
            }));
        assert_ne!(old_root, new_root);
        let known: HashSet<Hash> = old.into_iter().map(|(hash, _)| hash).collect();
        let fetched: usize = new
            .iter()
            .filter(|(hash, _)| !known.contains(hash))
            .map(|(_, bytes)| zstd::bulk::compress(bytes, 19).unwrap().len())
            .sum();
        assert!(fetched < 56 << 10, "{fetched} bytes of nodes for 10 changed files");
    }

    #[test]
    fn the_root_depends_on_every_record() {
        let root = |count| nodes((0..count).map(|number| record(number, b"x"))).0;
        let roots: HashSet<Hash> = [0, 1, 2, 11, 12, 100, 5000].map(root).into();
        assert_eq!(roots.len(), 7);
        assert_eq!(root(5000), root(5000));
    }
}
