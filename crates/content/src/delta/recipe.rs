//! How a file is made of the base: the streams of one file (docs/formats/delta.md §6).

use super::{Stream, fold, put_number};
use crate::align::{Seeds, Stretch, align};

/// How hard matches are looked for and streams are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// As small as sensible.
    Full,
    /// Half the time, a few hundredths more bytes.
    Less,
    /// As quick as looking can be.
    Least,
    /// Nothing is looked for.
    None,
}

impl Effort {
    /// The level of zstd. What says how far it is to the next difference takes a quarter of all time at the highest
    /// level, for a hundredth of the bytes.
    pub(crate) fn level(self, stream: Stream) -> i32 {
        match (self, stream) {
            (Self::Full, Stream::Values | Stream::Extra) => 16,
            (Self::Full, Stream::Control | Stream::Runs) => 12,
            (Self::Less, _) => 7,
            (Self::Least | Self::None, _) => 3,
        }
    }
}

/// The lane of a file that starts so: machine code packs better apart.
pub fn lane_of(start: &[u8]) -> u8 {
    let is_code = [&b"\x7fELF"[..], b"MZ"].iter().any(|code| start.starts_with(code));
    u8::from(!is_code)
}

/// A stretch of the base's data that a file is likely made of: all of an older version of it, or the
/// part of that which is near.
#[derive(Clone, Copy, Debug)]
pub struct BaseFile<'b> {
    /// Where it starts in the base's data.
    pub start: u64,
    /// Its bytes, fewer than 4 GiB.
    pub bytes: &'b [u8],
}

/// Takes bytes of a stream.
pub(crate) type Put<'p> = &'p mut dyn FnMut(Stream, &[u8]);

/// The streams of a segment of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    pub(crate) stretches: Vec<Placed>,
    pub(crate) runs: Vec<u8>,
    pub(crate) values: Vec<u8>,
    pub(crate) extra: Vec<u8>,
    /// Equal bytes since the last difference.
    zeros: u64,
}

/// A stretch, by its place in the base's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Extra bytes before it.
    pub(crate) gap: u64,
    pub(crate) length: u64,
    /// Where it starts in the base's data.
    pub(crate) base: u64,
    /// Where what it needs of the other streams ends.
    pub(crate) runs_end: usize,
    pub(crate) values_end: usize,
}

impl Recipe {
    /// How `new` is made of `base`, or of nothing.
    pub fn of(new: &[u8], base: Option<BaseFile<'_>>, effort: Effort) -> Self {
        let mut recipe = Self::default();
        let stretches = match base {
            Some(base) if effort != Effort::None && base.bytes.len() >= 8 => {
                // Bounds the index's memory by 4 bytes for each 4 of the base.
                let step = match base.bytes.len() {
                    ..=0x40_0000 => 1,
                    0x40_0001..=0x200_0000 => 2,
                    _ => 4,
                };
                let (step, tries) = match effort {
                    Effort::Full => (step, 6),
                    Effort::Less => (step, 3),
                    _ => (step * 2, 1),
                };
                align(&Seeds::new(base.bytes, step, tries), new)
            }
            _ => Vec::new(),
        };
        let (start, old) = base.map_or((0, &[][..]), |base| (base.start, base.bytes));
        let mut done = 0;
        for stretch in stretches {
            recipe.extra.extend_from_slice(&new[done..stretch.new]);
            recipe.compare(old, new, stretch);
            recipe.stretches.push(Placed {
                gap: (stretch.new - done) as u64,
                length: stretch.length as u64,
                base: start + stretch.old as u64,
                runs_end: recipe.runs.len(),
                values_end: recipe.values.len(),
            });
            done = stretch.new + stretch.length;
        }
        recipe.extra.extend_from_slice(&new[done..]);
        recipe
    }

    fn compare(&mut self, old: &[u8], new: &[u8], stretch: Stretch) {
        let old = &old[stretch.old..stretch.old + stretch.length];
        let new = &new[stretch.new..stretch.new + stretch.length];
        let mut at = 0;
        loop {
            let equal = crate::align::equal(&old[at..], &new[at..]);
            self.zeros += equal as u64;
            at += equal;
            if at == old.len() {
                return;
            }
            put_number(self.zeros, &mut self.runs);
            self.zeros = 0;
            self.values.push(new[at].wrapping_sub(old[at]));
            at += 1;
        }
    }

    /// Hands the streams out in the order a reader needs them; `expected` is where the base's data is thought to go on.
    pub(crate) fn pour(mut self, expected: &mut u64, put: Put<'_>) {
        // §6.3: the bytes after the last difference are a run too.
        if let Some(last) = self.stretches.last_mut() {
            put_number(self.zeros, &mut self.runs);
            last.runs_end = self.runs.len();
        }
        let mut control = Vec::new();
        put_number(self.stretches.len() as u64, &mut control);
        let (mut runs, mut values, mut extra) = (0, 0, 0);
        for placed in &self.stretches {
            put_number(placed.gap, &mut control);
            put_number(placed.length, &mut control);
            put_number(fold(placed.base.wrapping_sub(*expected).cast_signed()), &mut control);
            *expected = placed.base + placed.length;
            put(Stream::Control, &control);
            control.clear();
            let extra_end = extra + usize::try_from(placed.gap).unwrap_or(usize::MAX);
            put(Stream::Extra, &self.extra[extra..extra_end]);
            put(Stream::Runs, &self.runs[runs..placed.runs_end]);
            put(Stream::Values, &self.values[values..placed.values_end]);
            (runs, values, extra) = (placed.runs_end, placed.values_end, extra_end);
        }
        put(Stream::Control, &control);
        put(Stream::Extra, &self.extra[extra..]);
    }

    /// Bytes of all streams, before packing.
    pub fn size(&self) -> u64 {
        (self.stretches.len() * 6 + self.runs.len() + self.values.len() + self.extra.len()) as u64
    }
}
