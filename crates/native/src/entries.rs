use std::{
    collections::BTreeMap,
    io::{Read, Seek},
};

use model::{Extent, MachinePath, Meta, ReplaceRule};
use package::{Action, FileContent, Header, Node, PackageReader};

use crate::{
    Remark,
    condition::{self, Answer},
    error::ExportError,
    values::Values,
};

/// An entry of the payload, where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub path: MachinePath,
    pub node: ItemNode,
    pub meta: Meta,
    pub step: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ItemNode {
    Directory,
    /// A folder that is only on the way.
    Carrier,
    File(ItemFile),
    Symlink(Vec<u8>),
    /// Another name of the item at this position among the records.
    HardLink(usize),
    Fifo,
    Device {
        block: bool,
        major: u32,
        minor: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ItemFile {
    /// Bytes once variables have their values.
    pub length: u64,
    /// Ranges of the payload, and what stands there instead.
    pub changes: Vec<(Extent, Vec<u8>)>,
    pub has_holes: bool,
}

/// All entries in the order of the records; `None` for those of steps that never happen here.
pub(crate) struct Entries {
    pub items: Vec<Option<Item>>,
    pub remarks: Vec<Remark>,
    pub refusals: Vec<Remark>,
}

/// A tree's place, once.
struct Place {
    step: usize,
    /// `None` where the tree is left out.
    to: Option<MachinePath>,
}

/// Reads all records, no content.
pub(crate) fn collect<R: Read + Seek>(
    package: &mut PackageReader<R>,
    values: &Values,
) -> Result<Entries, ExportError> {
    let mut entries = Entries { items: Vec::new(), remarks: Vec::new(), refusals: Vec::new() };
    let places = places(package.header(), values, &mut entries);
    let mut at: BTreeMap<(u32, Vec<u8>), usize> = BTreeMap::new();
    let mut taken: BTreeMap<MachinePath, usize> = BTreeMap::new();
    for record in package.records() {
        let record = record?;
        let position = entries.items.len();
        let Some(Place { step, to: Some(to) }) = places.get(record.tree as usize) else {
            entries.items.push(None);
            continue;
        };
        let step = *step;
        let Ok(path) = to.join(&record.path) else {
            entries.items.push(None);
            continue;
        };
        let node = match item_node(&record.node, values, &at) {
            Ok(node) => node,
            Err(reason) => {
                entries.refusals.push(Remark::new(step, format!("`{path}`: {reason}")));
                entries.items.push(None);
                continue;
            }
        };
        if matches!(record.node, Node::File(_)) {
            at.insert((record.tree, record.path.clone()), position);
        }
        if let Some(&before) = taken.get(&path) {
            let is_folder =
                |node: &ItemNode| matches!(node, ItemNode::Directory | ItemNode::Carrier);
            let older = entries.items[before].as_ref();
            if !is_folder(&node) || !older.is_some_and(|older| is_folder(&older.node)) {
                let first = older.map_or(0, |older| older.step);
                let text = format!("`{path}` is installed by step {first} already");
                entries.refusals.push(Remark::new(step, text));
                entries.items.push(None);
                continue;
            }
            // The later folder says more, unless it is only on the way.
            if node == ItemNode::Carrier {
                entries.items.push(None);
                continue;
            }
            entries.items[before] = None;
        }
        taken.insert(path.clone(), position);
        entries.items.push(Some(Item { path, node, meta: record.meta, step }));
    }
    Ok(entries)
}

/// Where the trees go, and which step each belongs to.
fn places(header: &Header, values: &Values, entries: &mut Entries) -> Vec<Place> {
    let mut places: Vec<Place> = header.trees.iter().map(|_| Place { step: 0, to: None }).collect();
    for (index, step) in header.steps.iter().enumerate() {
        let Action::Tree(number) = step.action else { continue };
        let (Some(tree), number) = (header.trees.get(number as usize), number as usize) else {
            continue;
        };
        let index = index + 1;
        places[number].step = index;
        match step.when.as_ref().map(|when| condition::decide(when, values)) {
            None | Some(Some(Answer::Yes)) => {}
            Some(Some(Answer::No)) => {
                let text = "left out: its condition is never so on these machines";
                entries.remarks.push(Remark::new(index, text));
                continue;
            }
            Some(_) => {
                let text = "its condition differs by machine, and payload is the same on all of \
                            them: make two packages, or install the files by `run`";
                entries.refusals.push(Remark::new(index, text));
                continue;
            }
        }
        if tree.replace == ReplaceRule::Never {
            let text = "`replace = \"never\"`: the package system always writes its files; mark \
                        them as `configuration`, or leave the rule out";
            entries.refusals.push(Remark::new(index, text));
        }
        let to = values
            .expand(&tree.to)
            .and_then(|bytes| MachinePath::new(bytes).map_err(|error| error.to_string()));
        match to {
            Ok(to) => places[number].to = Some(to),
            Err(reason) => entries.refusals.push(Remark::new(index, reason)),
        }
    }
    places
}

fn item_node(
    node: &Node,
    values: &Values,
    at: &BTreeMap<(u32, Vec<u8>), usize>,
) -> Result<ItemNode, String> {
    Ok(match node {
        Node::Directory => ItemNode::Directory,
        Node::Carrier => ItemNode::Carrier,
        Node::File(content) => ItemNode::File(item_file(content, values)?),
        Node::Symlink(target) => ItemNode::Symlink(values.expand(target)?),
        Node::HardLink { tree, path } => match at.get(&(*tree, path.clone())) {
            Some(first) => ItemNode::HardLink(*first),
            None => return Err("it is another name of a file that is left out".to_owned()),
        },
        Node::Fifo => ItemNode::Fifo,
        Node::CharacterDevice { major, minor } => {
            ItemNode::Device { block: false, major: *major, minor: *minor }
        }
        Node::BlockDevice { major, minor } => {
            ItemNode::Device { block: true, major: *major, minor: *minor }
        }
    })
}

fn item_file(content: &FileContent, values: &Values) -> Result<ItemFile, String> {
    let mut length = content.length;
    let mut changes = Vec::with_capacity(content.substitutions.len());
    for substitution in &content.substitutions {
        if substitution.form.is_some() {
            return Err("a shortcut of Windows".to_owned());
        }
        let value = values.expand(&substitution.with)?;
        length = length.saturating_sub(substitution.range.length) + value.len() as u64;
        changes.push((substitution.range, value));
    }
    Ok(ItemFile { length, changes, has_holes: !content.holes.is_empty() })
}
