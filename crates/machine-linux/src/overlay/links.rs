//! Hard links: which names one inode has on each side, and the first of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd},
    rc::Rc,
};

use capture::Node;
use model::{Kind, MachinePath};
use rustix::fs::FileType;

use crate::scan::{list, open_folder, open_parts};

/// An inode of one of the two folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Inode {
    Upper(u64),
    Lower(u64),
}

/// What one side of a path holds.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) node: Node,
    pub(super) inode: Inode,
}

/// A path with what it held on both sides.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    pub(super) before: Option<Found>,
    pub(super) after: Option<Found>,
}

/// Makes every name of an inode after its first a hard link to the first, on each side, and leaves out
/// paths that turn out to be what they were.
pub(super) fn grouped(
    pairs: BTreeMap<MachinePath, Pair>,
) -> Vec<(MachinePath, Option<Node>, Option<Node>)> {
    let mut firsts = [HashMap::new(), HashMap::new()];
    pairs
        .into_iter()
        .filter_map(|(path, pair)| {
            let same_inode = match (&pair.before, &pair.after) {
                (Some(before), Some(after)) => before.inode == after.inode,
                _ => false,
            };
            let before = pair.before.map(|found| linked(&mut firsts[0], &path, found));
            let after = pair.after.map(|found| linked(&mut firsts[1], &path, found));
            let left_alone = same_inode && before == after;
            (!left_alone).then_some((path, before, after))
        })
        .collect()
}

fn linked(firsts: &mut HashMap<Inode, MachinePath>, path: &MachinePath, mut found: Found) -> Node {
    if found.node.kind != Kind::Directory {
        match firsts.get(&found.inode) {
            Some(first) => found.node.kind = Kind::HardLink(first.clone()),
            None => {
                firsts.insert(found.inode, path.clone());
            }
        }
    }
    found.node
}

/// Every name of some inodes below a root. `wanted` says how many names each has; `hints` are paths
/// beside which they probably lie. Without luck the whole file system is listed, though nothing is
/// opened but folders; other file systems mounted in it are left out.
pub(super) fn names_of(
    root: BorrowedFd<'_>,
    mut wanted: HashMap<u64, u32>,
    hints: &BTreeSet<MachinePath>,
    mounted: &HashSet<MachinePath>,
) -> io::Result<BTreeMap<MachinePath, u64>> {
    let mut found = BTreeMap::new();
    let mut buffer = vec![MaybeUninit::uninit(); 64 << 10];
    let mut take = |names: &mut BTreeMap<_, _>, path: MachinePath, inode: u64| {
        if let Some(left) = wanted.get_mut(&inode)
            && names.insert(path, inode).is_none()
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                wanted.remove(&inode);
            }
        }
        wanted.is_empty()
    };
    for folder in hints.iter().filter_map(MachinePath::parent).collect::<BTreeSet<_>>() {
        let Ok(opened) = open_parts(root, &folder) else { continue };
        for (name, kind, inode) in list(opened.as_fd(), &mut buffer)? {
            if kind != FileType::Directory
                && let Ok(path) = folder.join(name.to_bytes())
                && take(&mut found, path, inode)
            {
                return Ok(found);
            }
        }
    }
    // A folder stays open until the last folder in it was opened.
    let mut folders = vec![(MachinePath::root(), c"".to_owned(), Rc::new(open_folder(root, c"")?))];
    while let Some((path, name, parent)) = folders.pop() {
        let Ok(opened) = open_folder(parent.as_fd(), &name) else { continue };
        let opened = Rc::new(opened);
        for (name, kind, inode) in list(opened.as_fd(), &mut buffer)? {
            let Ok(path) = path.join(name.to_bytes()) else { continue };
            if kind == FileType::Directory {
                if !mounted.contains(&path) {
                    folders.push((path, name, Rc::clone(&opened)));
                }
            } else if take(&mut found, path, inode) {
                return Ok(found);
            }
        }
    }
    Ok(found)
}
