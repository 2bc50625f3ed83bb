//! Frames, packed (docs/formats/package.md §5).

use std::{io, thread};

use zstd::{bulk::Compressor, zstd_safe::CParameter};

use crate::{calls, lane::Kind};

/// How a package is packed. Content and names come out the same whatever is chosen here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The level of zstd, 1 to 22; below 1, quicker still and larger.
    pub level: i32,
    /// Bytes of content per frame: more of them pack better, fewer keep more processors busy; at most 56 MiB.
    pub frame: u32,
    /// Frames packed at the same time; each needs memory for itself, most of it the level's.
    pub workers: usize,
}

impl Settings {
    /// As small as sensible, for a file that is sent as it is: an installer.
    pub fn small(workers: usize) -> Self {
        Self { level: 19, frame: 32 << 20, workers }
    }

    /// For a package that is published: an update brings the frames that hold something new, so they are smaller.
    pub fn shared(workers: usize) -> Self {
        Self { frame: 8 << 20, ..Self::small(workers) }
    }

    /// Quick, for tests and for trying a script out.
    pub fn fast(workers: usize) -> Self {
        Self { level: 1, frame: 8 << 20, workers }
    }

    /// Whether calls are made absolute: not where nothing but speed is wanted.
    pub(crate) fn filters(self, kind: Kind) -> bool {
        kind.is_filtered() && self.level > 0
    }

    /// No frame has more bytes than the format allows.
    pub(crate) fn frame(self) -> usize {
        (self.frame as usize).clamp(1 << 16, 56 << 20)
    }
}

/// Packs a list or the header.
pub(crate) fn compress(plain: &[u8], settings: Settings) -> io::Result<Vec<u8>> {
    Compressor::new(settings.level)?.compress(plain)
}

/// Packs content of a lane.
fn compress_content(plain: Vec<u8>, kind: Kind, settings: Settings) -> io::Result<Vec<u8>> {
    let filtered = settings.filters(kind);
    pack_content(plain, kind.window_log(), filtered, kind.level(settings.level))
}

pub(crate) fn pack_content(
    mut plain: Vec<u8>,
    window_log: u32,
    filtered: bool,
    level: i32,
) -> io::Result<Vec<u8>> {
    if filtered {
        calls::encode(&mut plain);
    }
    let mut compressor = Compressor::new(level)?;
    compressor.set_parameter(CParameter::WindowLog(window_log))?;
    // What repeats far back is found at every level but those that want nothing but speed.
    if level > 0 {
        compressor.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    }
    compressor.compress(&plain)
}

/// A frame of content that is being packed.
pub(crate) struct Packing {
    pub kind: Kind,
    pub plain: u64,
    job: thread::JoinHandle<io::Result<Vec<u8>>>,
}

impl Packing {
    pub(crate) fn start(plain: Vec<u8>, kind: Kind, settings: Settings) -> Self {
        let length = plain.len() as u64;
        let job = thread::spawn(move || compress_content(plain, kind, settings));
        Self { kind, plain: length, job }
    }

    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        self.job.join().map_err(|_| io::Error::other("a thread that packs a frame ended"))?
    }
}
