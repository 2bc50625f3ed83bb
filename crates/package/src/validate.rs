//! What every record must keep to (docs/formats/package.md §7.4).

use std::cmp::Ordering;

use model::{Extent, escape};

use crate::{FileContent, MAX_CHUNK, Node, Record, compare_paths};

/// Checks records one after the other.
#[derive(Default)]
pub(crate) struct RecordCheck {
    last: Option<(u32, Vec<u8>)>,
}

impl RecordCheck {
    /// Says what is wrong with the next record, if anything is.
    pub(crate) fn check(&mut self, record: &Record, trees: usize) -> Result<(), String> {
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
