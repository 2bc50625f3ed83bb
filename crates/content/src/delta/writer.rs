use std::io::{self, Write};

use super::{
    DELTA_FORMAT, DeltaHead, END, Effort, HEAD, OUTLINES, Outline, Recipe, START, Stream,
    pieces::{Pieces, Section, Spread, pack},
};

/// Outlines are written when there are so many bytes of them.
const OUTLINE_BYTES: usize = 1 << 20;
/// Sections that wait for an earlier piece are not let grow beyond this.
const MOST_WAITING: usize = 16 << 20;
/// Pieces are packed when there are so many bytes of them: enough for several at once.
const MOST_TO_PACK: usize = 24 << 20;
/// So many outlines of the base are a dictionary at most.
const MOST_DICTIONARY: usize = 1 << 14;

/// A delta that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("writing the delta stopped")]
pub struct WriteDeltaError(#[from] io::Error);

/// Writes a delta front to back: outlines in the records' order, each with its recipe.
pub struct DeltaWriter<'b, W> {
    out: W,
    base: &'b [Vec<u8>],
    outlines: Vec<u8>,
    /// The range of the base's records these outlines go back to.
    range: Option<(u64, u64)>,
    pieces: Pieces,
    held: Vec<(usize, Recipe)>,
    held_bytes: u64,
    expected: [u64; super::LANES],
    length: u64,
    effort: Effort,
    spread: Spread<'b>,
}

impl<'b, W: Write> DeltaWriter<'b, W> {
    /// Starts a delta; `base` are the encoded outlines of the base's records, with no data.
    pub fn new(out: W, base: &'b [Vec<u8>], head: &DeltaHead) -> Result<Self, WriteDeltaError> {
        let mut writer = Self {
            out,
            base,
            outlines: Vec::new(),
            range: None,
            pieces: Pieces::new(),
            held: Vec::new(),
            held_bytes: 0,
            expected: [0; super::LANES],
            length: 0,
            effort: Effort::Full,
            spread: &one_by_one,
        };
        writer.write(START)?;
        writer.write(&DELTA_FORMAT.to_le_bytes())?;
        let mut bytes = Vec::new();
        let _ = minicbor::encode(head, &mut bytes);
        let stored = pack(&bytes, &[], Effort::Full.level(Stream::Extra))?;
        writer.section(&Section { kind: HEAD, plain: bytes.len(), stored })?;
        Ok(writer)
    }

    /// Says who packs pieces; what comes out is the same whoever does.
    #[must_use]
    pub fn with_spread(mut self, spread: Spread<'b>) -> Self {
        self.spread = spread;
        self
    }

    /// How hard what comes from now on is packed.
    pub fn set_effort(&mut self, effort: Effort) {
        self.effort = effort;
    }

    /// Bytes written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Takes the next outline; `near` is the position of the base's record it was likely made of. Where it says that
    /// a lane makes its data, the recipes of all its segments come next.
    pub fn outline(&mut self, outline: &Outline, near: Option<u64>) -> Result<(), WriteDeltaError> {
        let _ = minicbor::encode(outline, &mut self.outlines);
        if let Some(near) = near {
            let (from, to) = self.range.unwrap_or((near, near));
            let wider = (from.min(near), to.max(near));
            if wider.1 - wider.0 < MOST_DICTIONARY as u64 {
                self.range = Some(wider);
            }
        }
        if self.outlines.len() >= OUTLINE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Takes the recipe of the next segment of the file whose outline came last.
    pub fn recipe(&mut self, lane: u8, recipe: Recipe) -> Result<(), WriteDeltaError> {
        self.held_bytes += recipe.size();
        self.held.push((usize::from(lane), recipe));
        if self.held_bytes >= MOST_WAITING as u64 { self.flush() } else { Ok(()) }
    }

    /// Writes the rest.
    pub fn finish(mut self) -> Result<(u64, W), WriteDeltaError> {
        self.flush()?;
        self.pieces.cut_all(self.effort);
        self.drain()?;
        self.section(&Section { kind: END, plain: 0, stored: Vec::new() })?;
        self.out.flush()?;
        Ok((self.length, self.out))
    }

    /// Writes the outlines so far, then what their recipes need.
    fn flush(&mut self) -> Result<(), WriteDeltaError> {
        if !self.outlines.is_empty() {
            self.write_outlines()?;
        }
        self.held_bytes = 0;
        let effort = self.effort;
        for (lane, recipe) in std::mem::take(&mut self.held) {
            let pieces = &mut self.pieces;
            recipe.pour(&mut self.expected[lane], &mut |stream, bytes| {
                pieces.put(lane, stream, bytes, effort);
            });
            if self.pieces.to_pack() >= MOST_TO_PACK {
                self.drain()?;
            }
        }
        self.drain()
    }

    fn write_outlines(&mut self) -> Result<(), WriteDeltaError> {
        // Pieces that are still open come later; a reader sets aside what it does not need yet.
        let (from, count) = self.range.map_or((0, 0), |(from, to)| (from, to - from + 1));
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        let end = usize::try_from(from + count).unwrap_or(usize::MAX);
        let dictionary = self.base.get(start..end).unwrap_or_default().concat();
        let plain = std::mem::take(&mut self.outlines);
        let mut stored = from.to_le_bytes().to_vec();
        stored.extend_from_slice(&count.to_le_bytes());
        stored.extend(pack(&plain, &dictionary, Effort::Full.level(Stream::Extra))?);
        self.range = None;
        self.section(&Section { kind: OUTLINES, plain: plain.len(), stored })
    }

    /// Packs what is cut, and writes what no open piece comes before; one that holds up too much is ended.
    fn drain(&mut self) -> Result<(), WriteDeltaError> {
        self.pieces.pack(self.spread)?;
        if self.pieces.waiting() > MOST_WAITING {
            self.pieces.cut_all(self.effort);
            self.pieces.pack(self.spread)?;
        }
        while let Some(section) = self.pieces.next() {
            self.section(&section)?;
        }
        Ok(())
    }

    /// §4.1: kind, lengths, bytes.
    fn section(&mut self, section: &Section) -> Result<(), WriteDeltaError> {
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        self.write(&[section.kind])?;
        self.write(&number(section.plain))?;
        self.write(&number(section.stored.len()))?;
        self.write(&section.stored)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteDeltaError> {
        self.length += bytes.len() as u64;
        self.out.write_all(bytes)?;
        Ok(())
    }
}

fn one_by_one(count: usize, act: &(dyn Fn(usize) + Sync)) {
    (0..count).for_each(act);
}
