use std::io::{self, Read};

use aho_corasick::AhoCorasick;

/// How much is read at once, in bytes.
const PIECE: usize = 256 << 10;
/// How far to the left of a hit a longer path is looked for, in bytes.
const LEFT: usize = 128;

/// Text that is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Needle {
    pub(crate) text: Vec<u8>,
    pub(crate) boundary: Boundary,
}

/// Where a hit may start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boundary {
    /// Neither a letter nor a digit on either side.
    Word,
    /// A whole path, or the folder of a longer one: as replacements of a script see it.
    Path,
}

/// What was found in one stream of bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Hits by needle.
    pub(crate) hits: Vec<u64>,
    /// Hits by needle that end like a path but start within a longer one.
    pub(crate) within: Vec<u64>,
    /// Whether a zero byte was seen: it is no text.
    pub(crate) binary: bool,
    /// The first bytes, at most 64.
    pub(crate) head: Vec<u8>,
    /// How many bytes there were.
    pub(crate) length: u64,
}

/// Looks for many texts in one pass, in memory that does not depend on the input.
#[derive(Debug)]
pub(crate) struct Scanner {
    needles: Vec<Needle>,
    automaton: Option<AhoCorasick>,
    longest: usize,
}

impl Scanner {
    pub(crate) fn new(needles: Vec<Needle>) -> Self {
        let longest = needles.iter().map(|needle| needle.text.len()).max().unwrap_or(0);
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(false)
            .build(needles.iter().map(|needle| &needle.text))
            .ok()
            .filter(|_| !needles.is_empty());
        Self { needles, automaton, longest }
    }

    /// Looks through bytes at hand.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Scan {
        let mut scan = self.empty();
        scan.head = bytes[..bytes.len().min(64)].to_vec();
        scan.length = bytes.len() as u64;
        scan.binary = bytes.contains(&0);
        self.find(bytes, 0..bytes.len(), &mut scan);
        scan
    }

    /// Looks through a stream to its end.
    pub(crate) fn stream(&self, mut reader: impl Read) -> io::Result<Scan> {
        let mut scan = self.empty();
        let mut buffer: Vec<u8> = Vec::with_capacity(PIECE + LEFT + self.longest + 2);
        // Hits that start before this position of the buffer are counted already.
        let mut fresh = 0;
        loop {
            let kept = buffer.len();
            buffer.resize(kept + PIECE, 0);
            let count = fill(&mut reader, &mut buffer[kept..])?;
            buffer.truncate(kept + count);
            let new = &buffer[kept..];
            scan.binary |= new.contains(&0);
            scan.length += count as u64;
            if scan.head.len() < 64 {
                let missing = (64 - scan.head.len()).min(new.len());
                scan.head.extend_from_slice(&new[..missing]);
            }
            let ended = count < PIECE;
            // A hit near the end may go on, and so may its boundary, in the next piece.
            let sure = if ended {
                buffer.len()
            } else {
                buffer.len().saturating_sub(self.longest + 1).max(fresh)
            };
            self.find(&buffer, fresh..sure, &mut scan);
            if ended {
                return Ok(scan);
            }
            let drop = sure.saturating_sub(LEFT);
            buffer.drain(..drop);
            fresh = sure - drop;
        }
    }

    fn empty(&self) -> Scan {
        let count = self.needles.len();
        Scan { hits: vec![0; count], within: vec![0; count], ..Scan::default() }
    }

    fn find(&self, bytes: &[u8], starts: std::ops::Range<usize>, scan: &mut Scan) {
        let Some(automaton) = &self.automaton else { return };
        for found in automaton.find_overlapping_iter(bytes) {
            if !starts.contains(&found.start()) {
                continue;
            }
            let index = found.pattern().as_usize();
            let (left, right) = (&bytes[..found.start()], &bytes[found.end()..]);
            let boundary = self.needles[index].boundary;
            let ends = match boundary {
                Boundary::Word => !is_word(left.last()) && !is_word(right.first()),
                Boundary::Path => ends_path(right),
            };
            if ends && boundary == Boundary::Path && starts_within_path(left) {
                scan.within[index] += 1;
            } else if ends {
                scan.hits[index] += 1;
            }
        }
    }
}

/// Where `needle`, a path, stands as a whole path or the folder of a longer one.
pub(crate) fn path_occurrences(bytes: &[u8], needle: &[u8]) -> Vec<usize> {
    if needle.is_empty() {
        return Vec::new();
    }
    bytes
        .windows(needle.len())
        .enumerate()
        .filter(|(at, window)| {
            *window == needle
                && ends_path(&bytes[at + needle.len()..])
                && !starts_within_path(&bytes[..*at])
        })
        .map(|(at, _)| at)
        .collect()
}

fn is_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(u8::is_ascii_alphanumeric)
}

fn ends_path(right: &[u8]) -> bool {
    right.first().is_none_or(|byte| !byte.is_ascii_alphanumeric() && !b"_.-".contains(byte))
}

/// Whether what stands to the left belongs to the same path: `/srv` before `/opt/app`, but not the
/// `-I` of a compiler's option, and not the slashes of `file://`.
fn starts_within_path(left: &[u8]) -> bool {
    if left.last() == Some(&b'/') {
        return false;
    }
    left.iter()
        .rev()
        .take(LEFT)
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"_.-+@~/".contains(byte))
        .any(|byte| *byte == b'/')
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::{Boundary, Needle, PIECE, Scanner};

    fn scanner(text: &str, boundary: Boundary) -> Scanner {
        Scanner::new(vec![Needle { text: text.into(), boundary }])
    }

    #[test]
    fn paths_are_found_whole() {
        let scanner = scanner("/opt/app", Boundary::Path);
        let count = |text: &str| {
            let scan = scanner.bytes(text.as_bytes());
            (scan.hits[0], scan.within[0])
        };
        assert_eq!(count("/opt/app"), (1, 0));
        assert_eq!(count("a=/opt/app/bin:/opt/app"), (2, 0));
        assert_eq!(count("-I/opt/app/include file:///opt/app"), (2, 0));
        assert_eq!(count("/opt/app2 /opt/app-1 /opt/app.old"), (0, 0));
        assert_eq!(count("/srv/opt/app"), (0, 1));
    }

    #[test]
    fn a_hit_across_two_pieces_counts_once() {
        let scanner = scanner("machine-abc", Boundary::Word);
        for shift in 0..14 {
            let mut bytes = vec![b' '; PIECE * 2 + 40];
            let at = PIECE - shift;
            bytes[at..at + 11].copy_from_slice(b"machine-abc");
            bytes[PIECE * 2 + 5..PIECE * 2 + 16].copy_from_slice(b"machine-abc");
            assert_eq!(scanner.stream(&bytes[..]).unwrap().hits, [2], "{shift}");
            bytes[at + 11] = b'd';
            assert_eq!(scanner.stream(&bytes[..]).unwrap().hits, [1], "{shift}");
        }
    }
}
