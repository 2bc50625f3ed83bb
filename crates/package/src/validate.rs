//! What every record must keep to (docs/formats/package.md §7.4).

use std::cmp::Ordering;

use model::{Extent, escape};

use crate::{FileContent, MAX_CHUNK, Node, Record, compare_paths};

/// Checks records one after the other (§7.4).
#[derive(Debug, Default)]
pub struct RecordCheck {
    last: Option<(u32, Vec<u8>)>,
}

impl RecordCheck {
    /// Says what is wrong with the next record, if anything is.
    pub fn check(&mut self, record: &Record, trees: usize) -> Result<(), String> {
        let refuse = |what: &str| Err(format!("`{}` {what}", escape(&record.path)));
        if record.tree as usize >= trees {
            return refuse("belongs to no tree");
        }
        if !is_clean(&record.path) {
            return refuse("is no clean path");
        }
        if let Some((tree, path)) = &self.last {
            let order = tree.cmp(&record.tree).then_with(|| compare_paths(path, &record.path));
            if order != Ordering::Less {
                return refuse("is out of order");
            }
        }
        if record.meta.mode > 0o7777 || record.meta.modified.nanoseconds >= 1_000_000_000 {
            return refuse("has impossible metadata");
        }
        match &record.node {
            Node::File(content) if !is_sound(content) => return refuse("has impossible content"),
            Node::HardLink { tree, path } => {
                let order = tree.cmp(&record.tree).then_with(|| compare_paths(path, &record.path));
                if order != Ordering::Less || !is_clean(path) {
                    return refuse("links to nothing before it");
                }
            }
            _ => {}
        }
        let last = self.last.get_or_insert_default();
        last.0 = record.tree;
        last.1.clone_from(&record.path);
        Ok(())
    }
}

/// Whether a path stays below its tree: parts that are neither empty nor `.` nor `..`, no zero byte.
fn is_clean(path: &[u8]) -> bool {
    path.is_empty()
        || (!path.contains(&0)
            && path
                .split(|&byte| byte == b'/')
                .all(|part| !part.is_empty() && part != b"." && part != b".."))
}

fn is_sound(content: &FileContent) -> bool {
    let Some(holes) = total(&content.holes, content.length) else { return false };
    let ranges: Vec<Extent> = content.substitutions.iter().map(|one| one.range).collect();
    if total(&ranges, content.length).is_none() || (!ranges.is_empty() && holes > 0) {
        return false;
    }
    let chunks = content.each_chunk().try_fold(0_u64, |sum, chunk| {
        (1..=MAX_CHUNK).contains(&chunk.length).then(|| sum + u64::from(chunk.length))
    });
    chunks == Some(content.length - holes)
}

/// The bytes in ranges that ascend, stand apart and lie within `length`; `None` if they do not.
fn total(ranges: &[Extent], length: u64) -> Option<u64> {
    let mut end = 0_u64;
    let mut sum = 0;
    for range in ranges {
        let next = range.offset.checked_add(range.length)?;
        if range.length == 0 || range.offset < end || next > length {
            return None;
        }
        end = next;
        sum += range.length;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use model::{Extent, Hash, Meta, Time};

    use super::RecordCheck;
    use crate::{Chunk, FileContent, Node, Record};

    fn record(path: &[u8], node: Node) -> Record {
        let meta = Meta::of_root(0o644, Time::default());
        Record { tree: 0, path: path.to_vec(), node, meta }
    }

    fn refusal(records: &[Record]) -> String {
        let mut check = RecordCheck::default();
        records.iter().find_map(|record| check.check(record, 1).err()).unwrap_or_default()
    }

    fn content(length: u64) -> FileContent {
        let hash = Hash::of(b"");
        FileContent { length, hash, holes: vec![], chunks: vec![], substitutions: vec![] }
    }

    /// A package from a stranger may say anything; nothing of this gets past.
    #[test]
    fn impossible_records_are_refused() {
        let folder = |path: &[u8]| record(path, Node::Directory);
        for path in [&b"../etc"[..], b"a/../b", b"/etc", b"a//b", b"a/", b"a\0b", b"."] {
            assert!(refusal(&[folder(path)]).ends_with("is no clean path"), "{path:?}");
        }
        assert_eq!(refusal(&[folder(b"b"), folder(b"a")]), "`a` is out of order");
        assert_eq!(refusal(&[folder(b"a"), folder(b"a")]), "`a` is out of order");
        assert_eq!(refusal(&[Record { tree: 1, ..folder(b"a") }]), "`a` belongs to no tree");
        let link = Node::HardLink { tree: 0, path: b"z".to_vec() };
        assert_eq!(refusal(&[record(b"a", link)]), "`a` links to nothing before it");
        let mut odd = folder(b"a");
        odd.meta.mode = 0o10_000;
        assert_eq!(refusal(&[odd]), "`a` has impossible metadata");
    }

    #[test]
    fn impossible_content_is_refused() {
        let refused =
            |content| refusal(&[record(b"a", Node::File(content))]) == "`a` has impossible content";
        let chunk = |length| Chunk { hash: Hash::of(b""), length };
        let hole = |offset, length| Extent { offset, length };
        assert!(!refused(content(0)) && !refused(content(5000)));
        assert!(refused(content(u64::MAX)), "one chunk is never so long");
        assert!(refused(FileContent { chunks: vec![chunk(3), chunk(3)], ..content(5) }));
        assert!(refused(FileContent { chunks: vec![chunk(0), chunk(5)], ..content(5) }));
        assert!(refused(FileContent { holes: vec![hole(0, 6)], ..content(5) }));
        assert!(refused(FileContent { holes: vec![hole(3, 1), hole(2, 1)], ..content(5) }));
        assert!(refused(FileContent { holes: vec![hole(u64::MAX, 2)], ..content(5) }));
        assert!(!refused(FileContent { holes: vec![hole(0, 5)], ..content(5) }));
    }
}
