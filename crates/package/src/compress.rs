//! Frames, packed (docs/formats/package.md §5).

use std::{io, thread};

use zstd::{bulk::Compressor, zstd_safe::CParameter};

use crate::layout::MAX_WINDOW_LOG;

/// How a package is packed. Content and names come out the same whatever is chosen here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The level of zstd, 1 to 22.
    pub level: i32,
    /// Bytes of content per frame: more packs better and in parallel only in large packages; at most 64 MiB.
    pub frame: u32,
    /// Frames packed at the same time; each needs memory for itself, most of it the level's.
    pub workers: usize,
}

impl Settings {
    /// As small as sensible; what people get unless they say otherwise.
    pub fn small(workers: usize) -> Self {
        Self { level: 19, frame: 32 << 20, workers }
    }

    /// Quick, for tests and for trying a script out.
    pub fn fast(workers: usize) -> Self {
        Self { level: 1, frame: 8 << 20, workers }
    }

    fn window_log(self) -> u32 {
        let needed = u32::BITS - self.frame.max(1 << 20).leading_zeros();
        needed.min(MAX_WINDOW_LOG)
    }

    /// How far back in the content stream a frame surely finds equal bytes.
    pub(crate) fn reach(self) -> u64 {
        (1 << self.window_log()) / 2
    }
}

/// Packs one frame.
pub(crate) fn compress(plain: &[u8], settings: Settings) -> io::Result<Vec<u8>> {
    let mut compressor = Compressor::new(settings.level)?;
    compressor.set_parameter(CParameter::WindowLog(settings.window_log()))?;
    // What repeats far back is found at every level.
    compressor.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    compressor.compress(plain)
}

/// A frame that is being packed.
pub(crate) struct Packing {
    pub plain: u64,
    job: thread::JoinHandle<io::Result<Vec<u8>>>,
}

impl Packing {
    pub(crate) fn start(plain: Vec<u8>, settings: Settings) -> Self {
        let length = plain.len() as u64;
        Self { plain: length, job: thread::spawn(move || compress(&plain, settings)) }
    }

    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        self.job.join().map_err(|_| io::Error::other("a thread that packs a frame ended"))?
    }
}
