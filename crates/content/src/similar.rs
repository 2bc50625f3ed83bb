//! Which older file a newer one was likely made from.

use std::collections::HashMap;

use model::Hash;
use package::{FileContent, Node, Record};

/// A path with what changes from version to version taken out: runs of digits, and what looks like a hash.
pub(crate) fn normalised(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(&byte) = rest.first() {
        let word = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        if word == 0 {
            out.push(byte);
            rest = &rest[1..];
            continue;
        }
        let (token, after) = rest.split_at(word);
        rest = after;
        if is_hash(token) {
            out.push(b'*');
            continue;
        }
        let mut digits = false;
        for &byte in token {
            if !byte.is_ascii_digit() {
                out.push(byte);
            } else if !digits {
                out.push(b'#');
            }
            digits = byte.is_ascii_digit();
        }
    }
    out
}

/// Eight characters or more that mix digits and letters as words do not.
fn is_hash(token: &[u8]) -> bool {
    let changes = token
        .windows(2)
        .filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit())
        .count();
    let digits = token.iter().filter(|byte| byte.is_ascii_digit()).count();
    token.len() >= 8 && digits >= 2 && changes >= 2
}

/// The files of the base, to be found.
pub struct Bases<'b> {
    records: &'b [Record],
    by_data: HashMap<(Hash, u64), usize>,
    any: HashMap<(u32, &'b [u8]), usize>,
    by_path: HashMap<(u32, &'b [u8]), usize>,
    by_normalised: HashMap<Vec<u8>, Vec<usize>>,
    by_chunk: HashMap<Hash, usize>,
}

/// What a newer file has in the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file with the same data, by the position of its record.
    Same(usize),
    /// A file it was likely made from.
    Like(usize),
    /// Nothing.
    Nothing,
}

impl<'b> Bases<'b> {
    /// Takes the records of the base.
    pub fn new(records: &'b [Record]) -> Self {
        let mut bases = Self {
            records,
            by_data: HashMap::new(),
            any: HashMap::new(),
            by_path: HashMap::new(),
            by_normalised: HashMap::new(),
            by_chunk: HashMap::new(),
        };
        for (position, record) in records.iter().enumerate() {
            bases.any.insert((record.tree, &record.path), position);
            let Node::File(content) = &record.node else { continue };
            if content.data_length() == 0 {
                continue;
            }
            if content.holes.is_empty() {
                bases.by_data.entry((content.hash, content.length)).or_insert(position);
            }
            bases.by_path.insert((record.tree, &record.path), position);
            bases.by_normalised.entry(normalised(&record.path)).or_default().push(position);
            for chunk in content.each_chunk() {
                bases.by_chunk.entry(chunk.hash).or_insert(position);
            }
        }
        bases
    }

    /// The file a newer one was likely made from.
    pub fn find(&self, record: &Record, content: &FileContent) -> Found {
        if content.holes.is_empty()
            && let Some(same) = self.by_data.get(&(content.hash, content.length))
        {
            return Found::Same(*same);
        }
        let by_path = self.by_path.get(&(record.tree, &*record.path)).copied();
        by_path
            .or_else(|| self.by_name(record, content))
            .or_else(|| self.by_chunks(content))
            .map_or(Found::Nothing, Found::Like)
    }

    /// The entry at the same path, whatever it is, by the position of its record.
    pub fn same_path(&self, record: &Record) -> Option<usize> {
        self.any.get(&(record.tree, &*record.path)).copied()
    }

    /// Of the files with the same normalised path: that with the same last part, else the one nearest in length.
    fn by_name(&self, record: &Record, content: &FileContent) -> Option<usize> {
        let candidates = self.by_normalised.get(&normalised(&record.path))?;
        let name = |path: &'_ [u8]| path.rsplit(|&byte| byte == b'/').next().map(<[u8]>::to_vec);
        let wanted = name(&record.path);
        candidates.iter().copied().min_by_key(|&position| {
            let other = &self.records[position];
            let length = match &other.node {
                Node::File(other) => other.length,
                _ => 0,
            };
            (name(&other.path) != wanted, length.abs_diff(content.length))
        })
    }

    /// The file that shares the most bytes of whole chunks.
    fn by_chunks(&self, content: &FileContent) -> Option<usize> {
        let mut shared: HashMap<usize, u64> = HashMap::new();
        for chunk in content.each_chunk() {
            if let Some(position) = self.by_chunk.get(&chunk.hash) {
                *shared.entry(*position).or_default() += u64::from(chunk.length);
            }
        }
        shared
            .into_iter()
            .max_by_key(|&(position, bytes)| (bytes, std::cmp::Reverse(position)))
            .map(|(position, _)| position)
    }
}

#[cfg(test)]
mod tests {
    use super::normalised;

    #[test]
    fn versions_and_hashes_are_taken_out_of_paths() {
        let check = |a: &str, b: &str| {
            assert_eq!(normalised(a.as_bytes()), normalised(b.as_bytes()), "{a} and {b}");
        };
        check("lib/modules/6.1.0-55-amd64/a.ko", "lib/modules/6.1.0-56-amd64/a.ko");
        check("static/main.8f3a01bc.js", "static/main.77ac92de1.js");
        check("lib/libssl.so.1.1", "lib/libssl.so.3.0");
        assert_ne!(normalised(b"static/main.js"), normalised(b"static/help.js"));
    }
}
