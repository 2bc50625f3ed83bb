//! One frame by itself, as a store keeps them (docs/formats/package.md §5).

use std::io::{self, Read, Seek};

use crate::{
    Part, ReadError,
    compress::pack_content,
    decompress::FrameReader,
    lane::MAX_WINDOW_LOG,
    layout::{Frame, MAX_FRAME},
    source::Source,
};

/// What a reader must know of a frame before it unpacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameShape {
    /// Its bytes, packed.
    pub stored: u64,
    /// The bytes it unpacks to.
    pub plain: u64,
    /// How far it looks back at most, as a power of two.
    pub window_log: u32,
    /// Whether it went through the x86 filter.
    pub filtered: bool,
}

impl FrameShape {
    /// Whether a reader can take it within the format's limits (§4.2, §5.2).
    pub fn is_possible(&self) -> bool {
        self.stored > 0
            && (1..=MAX_FRAME).contains(&self.plain)
            && self.window_log <= MAX_WINDOW_LOG
    }

    /// Bytes of memory unpacking it takes, roughly.
    pub fn memory(&self) -> u64 {
        (1_u64 << self.window_log.min(MAX_WINDOW_LOG)).min(self.plain) + (512 << 10)
    }
}

/// A frame that is being unpacked, front to back. What comes out is **not yet checked**.
pub struct FrameContent<R> {
    source: Source<R>,
    reader: FrameReader,
    plain: u64,
}

impl<R: Read + Seek> FrameContent<R> {
    /// Starts unpacking the frame that is all of `input`.
    pub fn new(input: R, shape: FrameShape) -> Result<Self, ReadError> {
        let frame = Frame { offset: 0, stored: shape.stored, plain: shape.plain };
        let reader = FrameReader::new(Part::Content, frame, 0, shape.window_log, shape.filtered)?;
        Ok(Self { source: Source::new(input, 0), reader, plain: shape.plain })
    }

    /// How many bytes came out so far.
    pub fn position(&self) -> u64 {
        self.reader.given()
    }

    /// How many come out at most from here on.
    pub fn left(&self) -> u64 {
        self.plain.saturating_sub(self.reader.given())
    }

    /// Fills `out` with the next bytes.
    pub fn read_exact(&mut self, out: &mut [u8]) -> Result<(), ReadError> {
        self.reader.read_exact(&mut self.source, out)
    }

    /// Passes over the next bytes.
    pub fn pass(&mut self, mut bytes: u64) -> Result<(), ReadError> {
        let mut room = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX).min(64 << 10)];
        while bytes > 0 {
            let take = usize::try_from(bytes).unwrap_or(usize::MAX).min(room.len());
            self.read_exact(&mut room[..take])?;
            bytes -= take as u64;
        }
        Ok(())
    }
}

/// Packs a frame as a writer of packages would, for a lane with this window.
pub fn pack_frame(
    mut plain: Vec<u8>,
    window_log: u32,
    filtered: bool,
    level: i32,
) -> io::Result<Vec<u8>> {
    pack_content(&mut plain, window_log, filtered, level)
}
