//! What the model says must be in a change set.

use std::collections::{BTreeMap, BTreeSet};

use capture::ChangeSet;
use model::{Entry, Hash, Kind, MachinePath, Owner};

use super::tree::{BLOCK, Body, Inode, Modified, Tree, bytes};

/// Every path of the model with its inode, and the first name of that inode.
fn named(tree: &Tree) -> BTreeMap<MachinePath, (usize, MachinePath)> {
    let paths: BTreeMap<MachinePath, usize> = tree
        .paths()
        .into_iter()
        .map(|(path, inode)| (MachinePath::new(format!("/{path}")).unwrap(), inode))
        .collect();
    let mut firsts: BTreeMap<usize, MachinePath> = BTreeMap::new();
    for (path, inode) in &paths {
        firsts.entry(*inode).or_insert_with(|| path.clone());
    }
    paths.into_iter().map(|(path, inode)| (path, (inode, firsts[&inode].clone()))).collect()
}

/// Compares a change set with two states of the model.
pub(super) fn agree(before: &Tree, after: &Tree, changes: &ChangeSet) -> Result<(), String> {
    let (old, new) = (named(before), named(after));
    let paths: BTreeSet<&MachinePath> =
        old.keys().chain(new.keys()).chain(changes.changes.keys()).collect();
    for path in paths {
        let expected_old = old.get(path).map(|(inode, first)| (&before.inodes[*inode], first));
        let change = changes.changes.get(path);
        let resolved = new.get(path).map(|(inode, first)| {
            (settled(&after.inodes[*inode], change.and_then(|change| change.after.as_ref())), first)
        });
        let expected_new = resolved.as_ref().map(|(inode, first)| (inode, *first));
        let same = match (&expected_old, &expected_new) {
            (Some((old, old_first)), Some((new, new_first))) => {
                same(path, (old, old_first), (new, new_first))
            }
            (None, None) => true,
            _ => false,
        };
        match (same, change) {
            (true, None) => {}
            (true, Some(change)) => return Err(format!("{path}: unchanged, and yet {change:?}")),
            (false, None) => {
                return Err(format!("{path}: missed: {expected_old:?} became {expected_new:?}"));
            }
            (false, Some(change)) => {
                is(path, expected_old, change.before.as_ref(), false)?;
                is(path, expected_new, change.after.as_ref(), true)?;
            }
        }
    }
    Ok(())
}

/// Decides what the model cannot know from what was found.
fn settled(inode: &Inode, found: Option<&Entry>) -> Inode {
    let modified = match (inode.modified, found) {
        (Modified::AtUnlessCopied(time), Some(entry)) if entry.meta.modified != time => {
            Modified::Now
        }
        (Modified::AtUnlessCopied(time), _) => Modified::At(time),
        (known, _) => known,
    };
    Inode { modified, ..inode.clone() }
}

fn same(path: &MachinePath, old: (&Inode, &MachinePath), new: (&Inode, &MachinePath)) -> bool {
    let linked = |first: &MachinePath| (first != path).then(|| first.clone());
    let bodies = match (linked(old.1), linked(new.1)) {
        (None, None) => match (&old.0.body, &new.0.body) {
            (Body::Folder(_), Body::Folder(_)) => true,
            (Body::File { blocks: a, length: m }, Body::File { blocks: b, length: n }) => {
                bytes(a, *m) == bytes(b, *n)
            }
            (a, b) => a == b,
        },
        // One kind of change hides another only for names after the first.
        (a, b) => a == b,
    };
    let (old, new) = (old.0, new.0);
    bodies
        && (old.mode, old.uid, old.gid, old.modified, &old.xattrs, &old.acl)
            == (new.mode, new.uid, new.gid, new.modified, &new.xattrs, &new.acl)
}

fn is(
    path: &MachinePath,
    expected: Option<(&Inode, &MachinePath)>,
    found: Option<&Entry>,
    is_after: bool,
) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{path}: {what}: expected {expected:?}, found {found:?}"));
    let (Some((inode, first)), Some(entry)) = (expected, found) else {
        return if expected.is_none() && found.is_none() { Ok(()) } else { wrong("presence") };
    };
    let kind = if first == path {
        match (&inode.body, &entry.kind) {
            (Body::Folder(_), Kind::Directory) | (Body::Fifo, Kind::Fifo) => true,
            (Body::Symlink(target), Kind::Symlink(found)) => target.as_bytes() == found,
            (Body::File { blocks, length }, Kind::File(content)) => {
                // Overlayfs fills holes when it copies: a hole found must be one, the bytes must be right.
                let hollow = |at: u64| !blocks.contains_key(&(at / BLOCK));
                let holes = content
                    .holes
                    .iter()
                    .all(|hole| (hole.offset..hole.offset + hole.length).step_by(4096).all(hollow));
                let exact = is_after || content.holes.is_empty() == blocks_full(blocks, *length);
                holes
                    && exact
                    && content.length == *length
                    && content.hash == Some(Hash::of(&bytes(blocks, *length)))
            }
            _ => false,
        }
    } else {
        entry.kind == Kind::HardLink(first.clone())
    };
    if !kind {
        return wrong("kind or content");
    }
    let meta = &entry.meta;
    if (meta.mode, &meta.owner, &meta.group)
        != (inode.mode, &Owner::Id(inode.uid), &Owner::Id(inode.gid))
    {
        return wrong("mode or owner");
    }
    if let Modified::At(time) = inode.modified
        && time != meta.modified
    {
        return wrong("time");
    }
    let xattrs: BTreeMap<String, Vec<u8>> = meta
        .xattrs
        .iter()
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec()))
        .collect();
    if xattrs != inode.xattrs || meta.acl.as_ref().map(ToString::to_string) != inode.acl {
        return wrong("attributes");
    }
    Ok(())
}

fn blocks_full(blocks: &BTreeMap<u64, u8>, length: u64) -> bool {
    (0..length.div_ceil(BLOCK)).all(|block| blocks.contains_key(&block))
}
