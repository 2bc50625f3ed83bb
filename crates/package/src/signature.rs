//! What signing changes in an installer for Windows (docs/formats/package.md §3.5).
//!
//! A signature (Authenticode) is put behind the file's end, in a table the program's head points to, and the head
//! has a sum over the file. All else stays as it was, and so does the package.

use std::{
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

/// Where a program for Windows says where its head is.
const POINTER: usize = 0x3c;
/// The first bytes of the head in the file, and its parts up to the table of directories.
const HEAD: &[u8; 4] = b"PE\0\0";
const COFF: usize = 24;
const SUM: usize = 64;
/// By the number the optional header starts with, 32 and 64 bits: where its table of directories starts.
const DIRECTORIES: [(u16, usize); 2] = [(0x10b, 96), (0x20b, 112)];
/// Which of the directories says where signatures are; of eight bytes each.
const SIGNATURES: usize = 4;
/// A signature starts at a multiple of so many bytes.
const ALIGNED: u8 = 8;

/// The places of a program for Windows that signing writes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signature {
    /// What counts as zeros, by its bytes in the file.
    blank: [Range<usize>; 2],
    /// Where the table of signatures is in the file, by its start and length; `None` without one.
    table: Option<(u64, u64)>,
}

impl Signature {
    /// Looks at the start of a file; nothing is found in what is no program for Windows.
    pub(crate) fn find(start: &[u8]) -> Option<Self> {
        let u32_at = |at: usize| {
            let bytes = start.get(at..at.checked_add(4)?)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let at = start.starts_with(b"MZ").then(|| u32_at(POINTER)).flatten()?;
        let head = usize::try_from(at).ok()?;
        let optional = head.checked_add(COFF)?;
        if start.get(head..head.checked_add(HEAD.len())?)? != HEAD {
            return None;
        }
        let magic = u16::try_from(u32_at(optional)? & 0xffff).ok()?;
        let (_, directories) = DIRECTORIES.iter().find(|(known, _)| *known == magic)?;
        let entry = optional + directories + SIGNATURES * 8;
        let (from, length) = (u32_at(entry)?, u32_at(entry + 4)?);
        let sum = optional + SUM;
        Some(Self {
            blank: [sum..sum + 4, entry..entry + 8],
            table: (length > 0).then_some((from.into(), length.into())),
        })
    }

    /// Looks at a file.
    pub(crate) fn of<R: Read + Seek>(input: &mut R) -> io::Result<Option<Self>> {
        let mut start = Vec::new();
        input.seek(SeekFrom::Start(0))?;
        // Heads are far shorter; longer ones come from nobody's linker.
        input.take(1 << 16).read_to_end(&mut start)?;
        Ok(Self::find(&start))
    }

    /// Where the signed part of a file of `length` bytes ends; nothing if no signature is there.
    pub(crate) fn end(&self, length: u64) -> Option<u64> {
        let (from, size) = self.table?;
        (from.checked_add(size) == Some(length)).then_some(from)
    }

    /// Makes zeros of what signing changes in `bytes`, which stand at `at` in the file.
    pub(crate) fn blank(&self, at: u64, bytes: &mut [u8]) {
        let Ok(at) = usize::try_from(at) else { return };
        for range in &self.blank {
            let end = range.end.saturating_sub(at).min(bytes.len());
            let start = range.start.saturating_sub(at).min(end);
            bytes[start..end].fill(0);
        }
    }
}

/// The bytes before a signature that fill up to its place: so many at most, and all zero.
pub(crate) const PADDING: usize = ALIGNED as usize - 1;

#[cfg(test)]
mod tests {
    use super::Signature;

    /// The head of a program for 64 bits that says its signatures are at `table`.
    fn program(table: (u32, u32)) -> Vec<u8> {
        let mut bytes = vec![0xaa; 0x400];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c..0x40].copy_from_slice(&0x80_u32.to_le_bytes());
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x98..0x9a].copy_from_slice(&0x20b_u16.to_le_bytes());
        bytes[0x98 + 144..0x98 + 148].copy_from_slice(&table.0.to_le_bytes());
        bytes[0x98 + 148..0x98 + 152].copy_from_slice(&table.1.to_le_bytes());
        bytes
    }

    #[test]
    fn what_signing_writes_is_found() {
        let found = Signature::find(&program((0x500, 0x40))).unwrap();
        assert_eq!(found.end(0x540), Some(0x500));
        assert_eq!(found.end(0x541), None);
        assert_eq!(Signature::find(&program((0, 0))).unwrap().end(0), None);
        assert_eq!(Signature::find(b"\x7fELF"), None);
        assert_eq!(Signature::find(&program((0, 0))[..0x110]), None);
    }

    #[test]
    fn in_whatever_pieces_a_file_is_read_the_same_bytes_become_zero() {
        let bytes = program((0x500, 0x40));
        let found = Signature::find(&bytes).unwrap();
        let mut whole = bytes.clone();
        found.blank(0, &mut whole);
        let (sum, entry) = (0x98 + 64..0x98 + 68, 0x98 + 144..0x98 + 152);
        for (at, (new, old)) in std::iter::zip(&whole, &bytes).enumerate() {
            let is_blank = sum.contains(&at) || entry.contains(&at);
            assert_eq!(*new, if is_blank { 0 } else { *old }, "{at:#x}");
        }
        for size in [1, 3, 7, 64, 0x99] {
            let mut pieces = bytes.clone();
            let mut at = 0;
            for piece in pieces.chunks_mut(size) {
                found.blank(at, piece);
                at += piece.len() as u64;
            }
            assert_eq!(pieces, whole);
        }
    }
}
