//! Packs made again: what a delta leads to is packed as it was, so that nobody has to send it.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    ops::Range,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use content::{Catalogue, Data, DeltaReader, Entry, Object, OutlineNode, PackFrame, Release};
use model::Hash;
use package::Node;

use crate::{
    FetchError, FollowError, Point, PointError,
    assembly::{AssembleError, Assembly},
    at::FileExt,
    catalogues::catalogue,
    follow::same,
    unpacked::Unpacked,
};

/// Levels packages are packed with, the likeliest first: those of compilers, then those of what publishers gather.
const LEVELS: [i32; 22] =
    [19, 12, 7, 3, 1, 22, 21, 20, 18, 17, 16, 15, 14, 13, 11, 10, 9, 8, 6, 5, 4, 2];
/// Whoever waits is asked so often.
const BEAT: Duration = Duration::from_millis(5);
/// After so many frames that no level makes, only levels that made others are tried.
const PATIENCE: u32 = 2;
/// Windows up to this one are of content that is packed already, and never packed at a higher level than the next.
const SMALL_WINDOW_LOG: u32 = 20;
const SMALL_WINDOW_LEVEL: i32 = 3;

/// The content of a release, unpacked, and how its packs are cut into frames.
///
/// What is made of it is a guess until the whole pack is held against its hash: how a frame was packed is not written anywhere.
#[derive(Debug)]
pub struct Rebuild {
    data: File,
    /// By pack, the frames that can be made, by where they start in it.
    packs: HashMap<Hash, BTreeMap<u64, Planned>>,
    /// Levels that made frames, the last one first.
    levels: Vec<i32>,
    failures: u32,
}

#[derive(Debug)]
struct Planned {
    frame: PackFrame,
    /// Where its content is in the data, piece by piece.
    pieces: Vec<Range<u64>>,
}

/// The next bytes of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackPart {
    /// A frame that [`Rebuild::make`] may make: all of its bytes.
    Frame(Range<u64>),
    /// Bytes that have to come from elsewhere.
    Other(Range<u64>),
}

/// A delta that leads to no packs.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The base, or the manifest.
    #[error(transparent)]
    Base(#[from] FetchError),
    /// The delta.
    #[error(transparent)]
    Delta(#[from] FollowError),
    /// The disk.
    #[error("unpacking stopped")]
    Disk(#[source] io::Error),
    /// Whoever waits for it does so no more.
    #[error("nobody waits for it any more")]
    Stopped,
}

impl From<AssembleError> for RebuildError {
    fn from(error: AssembleError) -> Self {
        Self::Base(error.into())
    }
}

impl From<PointError> for RebuildError {
    fn from(error: PointError) -> Self {
        Self::Base(error.into())
    }
}

impl Rebuild {
    /// Unpacks `base` out of the packs at `point`, follows the delta from it to `release`, whose manifest is at `point`,
    /// and plans the packs `wanted`. Every chunk is held against its hash. Nameless files in `folder` take the data
    /// of both. `go_on` is asked now and then.
    pub fn new(
        point: &Point,
        base: &Release,
        release: &Release,
        delta: &Path,
        wanted: &[Object],
        folder: &Path,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Self, RebuildError> {
        let catalogue_of = |release| catalogue(point, release, None);
        let waiting = tempfile::tempdir_in(folder).map_err(RebuildError::Disk)?;
        let mut assembly = Assembly::new(point, waiting.path(), catalogue_of(base)?, Vec::new())?;
        let mut goes_on = true;
        let base = assembly.unpack(folder, &mut || {
            goes_on = goes_on && go_on();
        })?;
        drop(assembly);
        if !goes_on {
            return Err(RebuildError::Stopped);
        }
        let target = catalogue_of(release)?;
        let delta = File::open(delta).map_err(RebuildError::Disk)?;
        let data = tempfile::tempfile_in(folder).map_err(RebuildError::Disk)?;
        let mut plan = Plan::new(&target, wanted);
        follow(&target, delta, &base, &data, &mut plan, go_on)?;
        Ok(Self { data, packs: plan.finish(&target), levels: Vec::new(), failures: 0 })
    }

    /// What comes next of a pack from a byte on; `None` at its end.
    pub fn next(&self, pack: &Object, from: u64) -> Option<PackPart> {
        if from >= pack.length {
            return None;
        }
        let frames = self.packs.get(&pack.hash);
        let within = frames.and_then(|frames| frames.range(..=from).next_back());
        if let Some((_, planned)) = within.filter(|(_, planned)| from < planned.frame.end()) {
            return Some(PackPart::Frame(planned.frame.offset..planned.frame.end()));
        }
        let after = frames.and_then(|frames| frames.range(from..).next());
        Some(PackPart::Other(from..after.map_or(pack.length, |(start, _)| *start)))
    }

    /// Packs the frames of a pack that start there, each in a thread of its own; `go_on` is asked while they do. `None` where no
    /// level makes one of its length.
    pub fn make(
        &mut self,
        pack: &Object,
        starts: &[u64],
        go_on: &mut dyn FnMut() -> bool,
    ) -> io::Result<Vec<Option<Vec<u8>>>> {
        let others: &[i32] = if self.failures < PATIENCE { &LEVELS } else { &[] };
        let levels: Vec<i32> = self.levels.iter().chain(others).copied().collect();
        let frames = self.packs.get(&pack.hash);
        let planned = |start| frames.and_then(|frames| frames.get(start));
        let (data, levels, stop) = (&self.data, &levels, &AtomicBool::new(false));
        let packed = thread::scope(|scope| {
            let begin = |start| {
                let one = planned(start);
                scope.spawn(move || one.map_or(Ok(None), |one| one.pack(data, levels, stop)))
            };
            let threads: Vec<_> = starts.iter().map(begin).collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                if !go_on() {
                    stop.store(true, Ordering::Relaxed);
                }
                thread::park_timeout(BEAT);
            }
            threads.into_iter().map(join).collect::<io::Result<Vec<_>>>()
        })?;
        for one in &packed {
            match one {
                Some((_, Some(level))) => {
                    self.levels.retain(|known| known != level);
                    self.levels.insert(0, *level);
                }
                Some(_) => {}
                None => self.failures += 1,
            }
        }
        Ok(packed.into_iter().map(|one| one.map(|(bytes, _)| bytes)).collect())
    }
}

type Packed = Option<(Vec<u8>, Option<i32>)>;

fn join(thread: thread::ScopedJoinHandle<'_, io::Result<Packed>>) -> io::Result<Packed> {
    thread.join().map_err(|_| io::Error::other("a thread that packs a frame ended"))?
}

impl Planned {
    /// The frame at the first level that makes one of its length, and that level, if it says something of others.
    fn pack(&self, data: &File, levels: &[i32], stop: &AtomicBool) -> io::Result<Packed> {
        let Self { frame, pieces } = self;
        let mut plain = Vec::with_capacity(usize::try_from(frame.plain).unwrap_or_default());
        for piece in pieces {
            let from = plain.len();
            let length = usize::try_from(piece.end - piece.start).unwrap_or_default();
            plain.resize(from + length, 0);
            data.read_exact_at(&mut plain[from..], piece.start)?;
        }
        let is_small = frame.window_log <= SMALL_WINDOW_LOG;
        let mut tried = Vec::new();
        for level in levels {
            let real = if is_small { (*level).min(SMALL_WINDOW_LEVEL) } else { *level };
            if tried.contains(&real) {
                continue;
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            tried.push(real);
            let packed =
                package::pack_frame(plain.clone(), frame.window_log, frame.filtered, real)?;
            if packed.len() as u64 == frame.stored {
                return Ok(Some((packed, (!is_small).then_some(*level))));
            }
        }
        Ok(None)
    }
}

/// Where what is wanted comes to lie in the data.
struct Plan {
    /// By frame of the catalogue: by where a chunk starts in it, where it is in the data.
    wanted: HashMap<u32, BTreeMap<u64, Range<u64>>>,
}

impl Plan {
    fn new(target: &Catalogue, packs: &[Object]) -> Self {
        let is_wanted = |frame: &PackFrame| {
            target.packs().get(frame.pack as usize).is_some_and(|pack| packs.contains(pack))
        };
        let frames = (0..).zip(target.frames()).filter(|(_, frame)| is_wanted(frame));
        Self { wanted: frames.map(|(number, _)| (number, BTreeMap::new())).collect() }
    }

    fn take(&mut self, frame: u32, offset: u64, at: u64, length: u32) {
        if let Some(chunks) = self.wanted.get_mut(&frame) {
            chunks.entry(offset).or_insert(at..at + u64::from(length));
        }
    }

    /// Frames all of whose content is there.
    fn finish(self, target: &Catalogue) -> HashMap<Hash, BTreeMap<u64, Planned>> {
        let mut packs: HashMap<Hash, BTreeMap<u64, Planned>> = HashMap::new();
        for (number, chunks) in self.wanted {
            let frame = target.frames()[number as usize];
            let mut end = 0;
            let mut pieces: Vec<Range<u64>> = Vec::new();
            for (offset, piece) in chunks {
                if offset != end {
                    break;
                }
                end += piece.end - piece.start;
                match pieces.last_mut().filter(|last| last.end == piece.start) {
                    Some(last) => last.end = piece.end,
                    None => pieces.push(piece),
                }
            }
            if end == frame.plain {
                let pack = target.packs()[frame.pack as usize].hash;
                packs.entry(pack).or_default().insert(frame.offset, Planned { frame, pieces });
            }
        }
        packs
    }
}

/// Writes the data of `target` as a delta leads to it.
fn follow(
    target: &Catalogue,
    delta: File,
    base: &Unpacked,
    data: &File,
    plan: &mut Plan,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(), RebuildError> {
    let unfit = |reason| RebuildError::Delta(FollowError::Unfit { reason });
    let input = BufReader::with_capacity(256 << 10, delta);
    let mut reader = DeltaReader::open(input).map_err(FollowError::from)?;
    if reader.head().base != base.identity || reader.head().target != target.identity() {
        return Err(unfit("it leads from or to another package"));
    }
    let outlines = base.outlines();
    let mut out = Out { file: BufWriter::with_capacity(1 << 20, data), at: 0 };
    let mut read_base = |at: u64, buffer: &mut [u8]| base.read_at(at, buffer);
    for entry in target.entries() {
        let entry = entry.map_err(AssembleError::from)?;
        let outline = reader.next_outline(&outlines).map_err(FollowError::from)?;
        let outline = outline.ok_or(unfit("it ends too early"))?;
        if outline.tree != entry.record.tree || outline.path != entry.record.path {
            return Err(unfit("it leads to other files"));
        }
        let Node::File(content) = &entry.record.node else { continue };
        let bytes = content.data_length();
        let OutlineNode::File { data, .. } = &outline.node else {
            return Err(unfit("it leads to other files"));
        };
        match data {
            Data::None if bytes == 0 => {}
            Data::None => return Err(unfit("a file has no data")),
            Data::Same(position) => {
                out.take(&entry, &mut same(base, *position, bytes)?, plan, go_on)?;
            }
            Data::Made(lane) => {
                let mut made =
                    reader.data(*lane, bytes, &mut read_base).map_err(FollowError::from)?;
                out.take(&entry, &mut made, plan, go_on)?;
            }
        }
    }
    out.file.flush().map_err(RebuildError::Disk)
}

struct Out<'f> {
    file: BufWriter<&'f File>,
    at: u64,
}

impl Out<'_> {
    fn take(
        &mut self,
        entry: &Entry,
        from: &mut dyn Read,
        plan: &mut Plan,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), RebuildError> {
        let mut chunk = Vec::new();
        for place in &entry.places {
            if !go_on() {
                return Err(RebuildError::Stopped);
            }
            chunk.resize(place.chunk.length as usize, 0);
            from.read_exact(&mut chunk)
                .map_err(|_| FollowError::Unfit { reason: "it leads to shorter files" })?;
            if Hash::of(&chunk) != place.chunk.hash {
                return Err(FollowError::Unfit { reason: "it leads to other content" }.into());
            }
            self.file.write_all(&chunk).map_err(RebuildError::Disk)?;
            plan.take(place.frame, place.offset, self.at, place.chunk.length);
            self.at += u64::from(place.chunk.length);
        }
        Ok(())
    }
}
