//! Frames, packed (docs/formats/package.md §5).

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

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
    /// Chunks remembered to find repeats, about 90 bytes each, at most twice as many for a while; what is forgotten is merely
    /// written again.
    pub remembered: usize,
}

/// Enough for packages of some gigabytes.
const REMEMBERED: usize = 512 << 10;

impl Settings {
    /// As small as sensible, for a file that is sent as it is: an installer.
    pub fn small(workers: usize) -> Self {
        Self { level: 19, frame: 32 << 20, workers, remembered: REMEMBERED }
    }

    /// For a package that is published: an update brings the frames that hold something new, so they are smaller.
    pub fn shared(workers: usize) -> Self {
        Self { frame: 8 << 20, ..Self::small(workers) }
    }

    /// Quick, for tests and for trying a script out.
    pub fn fast(workers: usize) -> Self {
        Self { level: 1, frame: 8 << 20, workers, remembered: REMEMBERED }
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

pub(crate) fn pack_content(
    plain: &mut [u8],
    window_log: u32,
    filtered: bool,
    level: i32,
) -> io::Result<Vec<u8>> {
    pack_with(&mut Compressor::new(level)?, plain, window_log, filtered, level)
}

fn pack_with(
    compressor: &mut Compressor<'_>,
    plain: &mut [u8],
    window_log: u32,
    filtered: bool,
    level: i32,
) -> io::Result<Vec<u8>> {
    if filtered {
        calls::encode(plain);
    }
    compressor.set_compression_level(level)?;
    compressor.set_parameter(CParameter::WindowLog(window_log))?;
    // What repeats far back is found at every level but those that want nothing but speed.
    compressor.set_parameter(CParameter::EnableLongDistanceMatching(level > 0))?;
    compressor.compress(plain)
}

/// What one frame leaves for the next: memory that is given back and asked for again for every frame ends up in pieces, and
/// a large package would need more of it than a small one.
#[derive(Clone, Default)]
pub(crate) struct Leftovers(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    compressors: Vec<Compressor<'static>>,
    buffers: Vec<Vec<u8>>,
}

impl Leftovers {
    /// An empty buffer.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.lock().buffers.pop().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pack(&self, mut plain: Vec<u8>, kind: Kind, settings: Settings) -> io::Result<Vec<u8>> {
        let (filtered, level) = (settings.filters(kind), kind.level(settings.level));
        let kept = self.lock().compressors.pop();
        let mut compressor = kept.map_or_else(|| Compressor::new(level), Ok)?;
        let packed = pack_with(&mut compressor, &mut plain, kind.window_log(), filtered, level);
        plain.clear();
        let mut kept = self.lock();
        kept.compressors.push(compressor);
        kept.buffers.push(plain);
        packed
    }
}

/// A frame of content that is being packed.
pub(crate) struct Packing {
    pub kind: Kind,
    pub plain: u64,
    job: thread::JoinHandle<io::Result<Vec<u8>>>,
}

impl Packing {
    pub(crate) fn start(
        plain: Vec<u8>,
        kind: Kind,
        settings: Settings,
        leftovers: &Leftovers,
    ) -> Self {
        let (length, leftovers) = (plain.len() as u64, leftovers.clone());
        let job = thread::spawn(move || leftovers.pack(plain, kind, settings));
        Self { kind, plain: length, job }
    }

    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        self.job.join().map_err(|_| io::Error::other("a thread that packs a frame ended"))?
    }
}
