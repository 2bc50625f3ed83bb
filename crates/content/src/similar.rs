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

/// Numbers of a sketch at most.
const SKETCH: usize = 32;
/// Of so many places of a file one is looked at, chosen by what is there.
const LOOKED_AT: u32 = 4;
/// So many files of the base share a number at most: what all have tells nothing.
const COMMON: usize = 48;

/// What a file looks like inside, whatever its name: files that share passages share numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch(Vec<u32>);

impl Sketch {
    /// So many bytes of a file, its first, are enough.
    pub const ENOUGH: usize = 4 << 20;

    /// The sketch of a file that starts so.
    pub fn of(bytes: &[u8]) -> Self {
        // A rolling hash over 32 bytes; of the places whose hash starts with zeros, the smallest numbers.
        let mut smallest: Vec<u32> = Vec::with_capacity(SKETCH + 1);
        let mut hash = 0_u64;
        for (at, byte) in bytes.iter().enumerate() {
            hash = (hash << 2).wrapping_add(SPREAD[usize::from(*byte)]);
            if at < 31 || hash >> (64 - LOOKED_AT) != 0 {
                continue;
            }
            let number = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
            if smallest.len() == SKETCH && smallest.last().is_some_and(|last| number >= *last) {
                continue;
            }
            if let Err(place) = smallest.binary_search(&number) {
                smallest.insert(place, number);
                smallest.truncate(SKETCH);
            }
        }
        Self(smallest)
    }
}

/// Bytes as numbers whose bits say nothing about them.
const SPREAD: [u64; 256] = {
    let mut all = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut number = (byte as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        all[byte] = number ^ (number >> 31);
        byte += 1;
    }
    all
};

/// The files of the base, to be found.
pub struct Bases<'b> {
    records: &'b [Record],
    by_data: HashMap<(Hash, u64), usize>,
    any: HashMap<(u32, &'b [u8]), usize>,
    by_path: HashMap<(u32, &'b [u8]), usize>,
    by_normalised: HashMap<Vec<u8>, Vec<usize>>,
    by_chunk: HashMap<Hash, usize>,
    by_sketch: HashMap<u32, Vec<usize>>,
}

/// What a newer file has in the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file with the same data, by the position of its record.
    Same(usize),
    /// A file it was likely made from.
    Like(usize),
    /// A file it may have been made from, by a name that is like its own: content tells better.
    Perhaps(usize),
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
            by_sketch: HashMap::new(),
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
        if let Some(like) = by_path.or_else(|| self.by_chunks(content)) {
            return Found::Like(like);
        }
        match self.by_name(record, content) {
            Some(like) if name(&self.records[like].path) == name(&record.path) => Found::Like(like),
            Some(like) => Found::Perhaps(like),
            None => Found::Nothing,
        }
    }

    /// Takes what a file of the base looks like.
    pub fn learn(&mut self, position: usize, sketch: &Sketch) {
        for number in &sketch.0 {
            let files = self.by_sketch.entry(*number).or_default();
            if files.len() < COMMON {
                files.push(position);
            }
        }
    }

    /// The file of those learnt that looks most like a newer one, if any looks like it at all.
    pub fn alike(&self, sketch: &Sketch) -> Option<usize> {
        let mut shared: HashMap<usize, usize> = HashMap::new();
        for number in &sketch.0 {
            for position in self.by_sketch.get(number).into_iter().flatten() {
                *shared.entry(*position).or_default() += 1;
            }
        }
        shared
            .into_iter()
            .filter(|(_, count)| *count >= 2)
            .max_by_key(|&(position, count)| (count, std::cmp::Reverse(position)))
            .map(|(position, _)| position)
    }

    /// The entry at the same path, whatever it is, by the position of its record.
    pub fn same_path(&self, record: &Record) -> Option<usize> {
        self.any.get(&(record.tree, &*record.path)).copied()
    }

    /// Of the files with the same normalised path: that with the same last part, else the one nearest in length.
    fn by_name(&self, record: &Record, content: &FileContent) -> Option<usize> {
        let candidates = self.by_normalised.get(&normalised(&record.path))?;
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

/// The last part of a path.
fn name(path: &[u8]) -> Option<&[u8]> {
    path.rsplit(|&byte| byte == b'/').next()
}

#[cfg(test)]
mod tests {
    use super::{Bases, Sketch, normalised};

    fn text(seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut word = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            format!("word{} ", (state >> 40) % 5000)
        };
        (0..2000).flat_map(|_| word().into_bytes()).collect()
    }

    /// Bundles: names that say nothing, content that says all.
    #[test]
    fn files_are_found_by_what_is_in_them() {
        let mut bases = Bases::new(&[]);
        (0..40).for_each(|number| bases.learn(number, &Sketch::of(&text(number as u64))));
        for number in [0, 7, 39] {
            let mut changed = text(number as u64);
            changed.splice(..0, *b"!function(){");
            (0..changed.len()).step_by(700).for_each(|at| changed[at] ^= 1);
            assert_eq!(bases.alike(&Sketch::of(&changed)), Some(number));
        }
        assert_eq!(bases.alike(&Sketch::of(&text(99))), None);
    }

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
