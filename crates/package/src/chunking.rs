//! How content is cut (docs/formats/package.md §8).

use std::io::{self, Read};

use fastcdc::v2020::{FastCDC, Normalization};

/// §8.1: no chunk is longer, in bytes.
pub const MAX_CHUNK: u32 = 8 << 20;

/// The lengths chunks of a file have, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizes {
    /// None is shorter but a file's last.
    pub least: usize,
    /// About the mean.
    pub mean: usize,
    /// None is longer.
    pub most: usize,
}

impl ChunkSizes {
    /// §8.1: the sizes for a file with `length` bytes of data: 16, 64, 256 KiB up to 1 GiB; from there on so
    /// much larger that there are about as many chunks, with a mean of 4 MiB at most.
    pub fn of_file(length: u64) -> Self {
        let mut mean = 64 << 10;
        while mean < 4 << 20 && length / (mean as u64) > 16 << 10 {
            mean *= 2;
        }
        Self { least: mean / 4, mean, most: (mean * 4).min(MAX_CHUNK as usize) }
    }
}

/// Cuts a stream of bytes into chunks.
pub(crate) struct Cutter {
    sizes: ChunkSizes,
    buffer: Vec<u8>,
    start: usize,
    at_end: bool,
}

impl Cutter {
    pub(crate) fn new(sizes: ChunkSizes) -> Self {
        Self { sizes, buffer: Vec::new(), start: 0, at_end: false }
    }

    /// The next chunk of what `data` gives, or `None` when it has ended.
    pub(crate) fn next(&mut self, data: &mut dyn Read) -> io::Result<Option<&[u8]>> {
        self.fill(data)?;
        let rest = &self.buffer[self.start..];
        if rest.is_empty() {
            return Ok(None);
        }
        let length = if rest.len() <= self.sizes.least {
            rest.len()
        } else {
            let ChunkSizes { least, mean, most } = self.sizes;
            FastCDC::with_level(rest, least, mean, most, Normalization::Level1)
                .next()
                .map_or(rest.len(), |chunk| chunk.length)
        };
        let chunk = self.start..self.start + length;
        self.start = chunk.end;
        Ok(Some(&self.buffer[chunk]))
    }

    /// Makes sure that the longest chunk there can be is in the buffer, or all that is left.
    fn fill(&mut self, data: &mut dyn Read) -> io::Result<()> {
        let have = self.buffer.len() - self.start;
        if self.at_end || have >= self.sizes.most {
            return Ok(());
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let want = (self.sizes.most * 2 - have) as u64;
        let read = data.take(want).read_to_end(&mut self.buffer)?;
        self.at_end = (read as u64) < want;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{ChunkSizes, Cutter};

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                (state >> 56) as u8
            })
            .collect()
    }

    fn lengths(bytes: &[u8], sizes: ChunkSizes) -> Vec<usize> {
        let (mut cutter, mut rest) = (Cutter::new(sizes), bytes);
        let mut lengths = Vec::new();
        while let Some(chunk) = cutter.next(&mut rest).unwrap() {
            lengths.push(chunk.len());
        }
        lengths
    }

    /// Frozen: other cut points would make every older package's chunks useless for updates.
    #[test]
    fn cut_points_are_frozen() {
        let lengths = lengths(&noise(700_000), ChunkSizes::of_file(700_000));
        assert_eq!(lengths.iter().sum::<usize>(), 700_000);
        insta::assert_compact_debug_snapshot!(lengths, @"[66200, 97817, 116688, 53152, 53168, 109419, 82313, 68073, 53170]");
    }

    #[test]
    fn an_insertion_moves_few_cuts() {
        let old = noise(4 << 20);
        let mut new = old.clone();
        new.splice(1_000_000..1_000_000, *b"inserted");
        let sizes = ChunkSizes::of_file(4 << 20);
        let (old, new) = (lengths(&old, sizes), lengths(&new, sizes));
        let same = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
        assert!(same * 100 > old.len() * 60, "{same} of {} chunks at the end are equal", old.len());
    }

    #[test]
    fn sizes_grow_with_the_file() {
        let mean = |length| ChunkSizes::of_file(length).mean;
        assert_eq!(
            [mean(0), mean(1 << 30), mean((1 << 30) + (1 << 20)), mean(1 << 40)],
            [65536, 65536, 131_072, 4 << 20]
        );
        assert_eq!(ChunkSizes::of_file(1 << 40).most, 8 << 20);
    }
}
