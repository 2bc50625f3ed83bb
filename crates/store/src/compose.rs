//! A release is composed: what of its content is there already, what comes into a new pack, and its part of the manifest.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use content::{Catalogue, Object, ObjectKind, PackFrame, PartHead, PartWriter, PlacedLeaf, Run};
use model::{Hash, Hasher};
use package::{
    ChunkPlace, FrameContent, FrameShape, Leaf, LeafBuilder, ManifestTree, PackageReader,
    StoredFrame, pack_frame,
};
use tempfile::NamedTempFile;

use crate::{PointError, PublishError, at::FileExt, known::Known, unpacked::Unpacked};

/// Of what a first install reads, so many hundredths may be content of other releases beside what it needs.
const WASTE: u64 = 10;
/// A frame less of which is there already is stored as the package has it.
const MOST_REPEATED: u64 = 4;
/// Frames made here unpack to so much at most.
const GATHERED: usize = 8 << 20;

/// A package, as far as publishing looks at it.
pub(crate) struct Scanned {
    pub(crate) header: Vec<u8>,
    root: Hash,
    frames: Vec<StoredFrame>,
    chunks: Vec<ChunkPlace>,
    leaves: Vec<ScannedLeaf>,
    nodes: Vec<(Hash, Vec<u8>)>,
}

struct ScannedLeaf {
    hash: Hash,
    bytes: Vec<u8>,
    chunks: std::ops::Range<usize>,
}

/// What a release is composed of.
pub(crate) struct Composition {
    /// The pack to write, if there is new content: the package file, or one made here.
    pub(crate) pack: Option<NewPack>,
    /// All packs, the new one first.
    pub(crate) packs: Vec<Object>,
    /// Its part of the manifest.
    pub(crate) part: Vec<u8>,
    /// Whether the part goes back to those of the release before.
    pub(crate) goes_back: bool,
    /// Where each of its chunks lies, and the frames.
    pub(crate) frames: Vec<(Object, PackFrame)>,
    pub(crate) placed: Vec<(Hash, u32)>,
}

impl Composition {
    /// Bytes of the frames a client that has `base` lacks, and of the part that says where they are.
    pub(crate) fn without(&self, base: &Unpacked) -> u64 {
        let mut have = HashSet::new();
        base.each_chunk(&mut |hash, _, _| {
            have.insert(hash);
        });
        let lacking: HashSet<u32> = self
            .placed
            .iter()
            .filter(|(hash, _)| !have.contains(hash))
            .map(|(_, frame)| *frame)
            .collect();
        let frames: u64 = lacking.iter().map(|frame| self.frames[*frame as usize].1.stored).sum();
        frames + self.part.len() as u64
    }
}

/// A pack that is not there yet.
pub(crate) enum NewPack {
    Package(Object),
    Made(Object, NamedTempFile),
}

impl Scanned {
    pub(crate) fn of<R: Read + Seek>(
        reader: &mut PackageReader<R>,
    ) -> Result<Self, package::ReadError> {
        let mut header = Vec::new();
        let _ = minicbor::encode(reader.header(), &mut header);
        let (root, frames) = (reader.manifest(), reader.frames());
        let mut scanned = Self {
            header,
            root,
            frames,
            chunks: Vec::new(),
            leaves: Vec::new(),
            nodes: Vec::new(),
        };
        let (mut building, mut tree) = (LeafBuilder::default(), ManifestTree::new());
        let mut from = 0;
        let mut contents = reader.contents();
        let mut records = 0_u64;
        while let Some(record) = contents.next_record()? {
            records += 1;
            scanned.chunks.extend(contents.places()?);
            if let Some(leaf) = building.push(&record) {
                scanned.leaf(leaf, &mut from, &mut tree);
            }
        }
        if !building.is_empty() || records == 0 {
            let leaf = building.finish();
            scanned.leaf(leaf, &mut from, &mut tree);
        }
        tree.finish(&mut |node| scanned.nodes.push((node.hash, node.bytes)));
        Ok(scanned)
    }

    fn leaf(&mut self, leaf: Leaf, from: &mut usize, tree: &mut ManifestTree) {
        let hash = Hash::of(&leaf.bytes);
        let nodes = &mut self.nodes;
        tree.leaf(hash, leaf.records, &mut |node| nodes.push((node.hash, node.bytes)));
        self.leaves.push(ScannedLeaf { hash, bytes: leaf.bytes, chunks: *from..self.chunks.len() });
        *from = self.chunks.len();
    }

    /// The names of its chunks.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = &Hash> {
        self.chunks.iter().map(|place| &place.chunk.hash)
    }

    /// The frame a chunk lies in whole, and where in it.
    fn frame_of(&self, place: &ChunkPlace) -> Option<(usize, u64)> {
        let after = self
            .frames
            .partition_point(|frame| (frame.lane, frame.start) <= (place.lane, place.position));
        let number = after.checked_sub(1)?;
        let frame = &self.frames[number];
        let offset = place.position.checked_sub(frame.start)?;
        let fits =
            frame.lane == place.lane && offset + u64::from(place.chunk.length) <= frame.plain;
        fits.then_some((number, offset))
    }
}

/// What becomes of the chunks.
struct Choice {
    /// Frames of other releases that are gone back to.
    reused: HashSet<u32>,
    /// Frames of the package that are stored as they are.
    kept: Vec<bool>,
}

/// Decides what is shared, makes what is new, and says where all of it lies.
pub(crate) fn compose(
    scanned: &Scanned,
    file: &File,
    package: Object,
    known: &Known,
    before: Option<&Catalogue>,
    scratch: &Path,
) -> Result<Composition, PublishError> {
    let own: Vec<_> = scanned.chunks.iter().map(|place| scanned.frame_of(place)).collect();
    let choice = choose(scanned, &own, known);
    let cannot =
        |source| PointError::File { doing: "writing a pack in", path: scratch.to_owned(), source };
    let mut placing = Placing::default();
    let whole = choice.reused.is_empty() && own.iter().all(Option::is_some);
    let (pack, mut places) = if whole {
        let frames: Vec<_> =
            scanned.frames.iter().map(|frame| as_stored(frame, frame.offset)).collect();
        placing.pack(package, &frames);
        let places = own.iter().map(|own| own.map(|(frame, at)| (number(frame), at))).collect();
        (Some(NewPack::Package(package)), places)
    } else {
        make_pack(scanned, file, &own, &choice, known, &mut placing, scratch).map_err(cannot)?
    };
    for (place, chunk) in places.iter_mut().zip(&scanned.chunks) {
        if place.is_none()
            && let Some((number, at)) = known.find(&chunk.chunk.hash)
        {
            let found = known.frame(number);
            *place = Some((placing.known(number, found.pack, found.frame), at));
        }
    }
    let places: Vec<(u32, u64)> = places.into_iter().map(Option::unwrap_or_default).collect();
    let (part, goes_back) = part(scanned, &placing, &places, known, before);
    let placed = scanned
        .chunks
        .iter()
        .zip(&places)
        .map(|(chunk, (frame, _))| (chunk.chunk.hash, *frame))
        .collect();
    let mut packs: Vec<Object> = placing.frames.iter().map(|(pack, _)| *pack).collect();
    if goes_back {
        packs.extend(before.iter().flat_map(|before| before.packs()));
    }
    let mut seen = HashSet::new();
    packs.retain(|pack| seen.insert(*pack));
    Ok(Composition { pack, packs, part, goes_back, frames: placing.frames, placed })
}

/// Which frames are gone back to: those most of which this release needs too, as long as a first install does not read
/// much beside; and which of its own are kept as they are.
fn choose(scanned: &Scanned, own: &[Option<(usize, u64)>], known: &Known) -> Choice {
    let total: u64 = scanned.frames.iter().map(|frame| frame.stored).sum();
    let mut kept = vec![false; scanned.frames.len()];
    let mut reused = HashSet::new();
    // Keeping a frame as it is takes need from others, and that may end their being gone back to.
    for _ in 0..4 {
        let mut needed: HashMap<u32, u64> = HashMap::new();
        let mut seen = HashSet::new();
        for (place, own) in scanned.chunks.iter().zip(own) {
            let is_kept = own.is_some_and(|(frame, _)| kept[frame]);
            if let Some((frame, _)) = known.find(&place.chunk.hash).filter(|_| !is_kept)
                && seen.insert(place.chunk.hash)
            {
                *needed.entry(frame).or_default() += u64::from(place.chunk.length);
            }
        }
        let mut candidates: Vec<_> = needed
            .into_iter()
            .map(|(number, live)| {
                let frame = known.frame(number).frame;
                let live = live.min(frame.plain);
                let waste = u128::from(frame.stored) * u128::from(frame.plain - live)
                    / u128::from(frame.plain.max(1));
                (u64::try_from(waste).unwrap_or(u64::MAX), live, number)
            })
            .collect();
        candidates.sort_by(|a, b| {
            let share = |one: &(u64, u64, u32)| u128::from(one.0) << 20;
            (share(a) / u128::from(a.1.max(1)), a.2).cmp(&(share(b) / u128::from(b.1.max(1)), b.2))
        });
        let mut left = total * WASTE / 100;
        let mut now = HashSet::new();
        for (waste, _, number) in candidates {
            if waste <= left {
                left -= waste;
                now.insert(number);
            }
        }
        let mut repeated = vec![0_u64; scanned.frames.len()];
        for (place, own) in scanned.chunks.iter().zip(own) {
            let is_there =
                known.find(&place.chunk.hash).is_some_and(|(frame, _)| now.contains(&frame));
            if let Some((frame, _)) = own.filter(|_| is_there) {
                repeated[frame] += u64::from(place.chunk.length);
            }
        }
        let keep: Vec<bool> = scanned
            .frames
            .iter()
            .zip(&repeated)
            .map(|(frame, repeated)| *repeated <= frame.plain / MOST_REPEATED)
            .collect();
        let is_stable = now == reused && keep == kept;
        (reused, kept) = (now, keep);
        if is_stable {
            break;
        }
    }
    Choice { reused, kept }
}

/// The frames a release's chunks lie in.
#[derive(Default)]
struct Placing {
    frames: Vec<(Object, PackFrame)>,
    by_known: HashMap<u32, u32>,
}

impl Placing {
    fn pack(&mut self, pack: Object, frames: &[PackFrame]) {
        self.frames.extend(frames.iter().map(|frame| (pack, *frame)));
    }

    fn known(&mut self, number: u32, pack: Object, frame: PackFrame) -> u32 {
        let next = u32::try_from(self.frames.len()).unwrap_or(u32::MAX);
        let position = *self.by_known.entry(number).or_insert(next);
        if position == next {
            self.frames.push((pack, frame));
        }
        position
    }
}

type Places = Vec<Option<(u32, u64)>>;

/// Writes the frames that are kept, then what is gathered of the others, into a pack of their own.
fn make_pack(
    scanned: &Scanned,
    file: &File,
    own: &[Option<(usize, u64)>],
    choice: &Choice,
    known: &Known,
    placing: &mut Placing,
    scratch: &Path,
) -> io::Result<(Option<NewPack>, Places)> {
    let made = NamedTempFile::new_in(scratch)?;
    let mut out = Out { file: BufWriter::new(made.as_file()), hasher: Hasher::new(), length: 0 };
    let mut places: Places = vec![None; own.len()];
    let (mut frames, mut number_of) = (Vec::new(), BTreeMap::new());
    // Chunks by frame of the package, those that are not kept.
    let mut gathered: BTreeMap<usize, BTreeMap<u64, Vec<usize>>> = BTreeMap::new();
    for (index, place) in scanned.chunks.iter().enumerate() {
        let is_there =
            known.find(&place.chunk.hash).is_some_and(|(frame, _)| choice.reused.contains(&frame));
        match own[index] {
            Some((frame, at)) if choice.kept[frame] => {
                number_of.entry(frame).or_insert(u32::MAX);
                places[index] = Some((u32::try_from(frame).unwrap_or(u32::MAX), at));
            }
            _ if is_there => {}
            Some((frame, at)) => {
                gathered.entry(frame).or_default().entry(at).or_default().push(index);
            }
            None => {
                return Err(io::Error::other(
                    "a chunk lies across frames; compile the package again",
                ));
            }
        }
    }
    let mut by_offset: Vec<usize> = number_of.keys().copied().collect();
    by_offset.sort_by_key(|frame| scanned.frames[*frame].offset);
    for frame in by_offset {
        let stored = &scanned.frames[frame];
        number_of.insert(frame, u32::try_from(frames.len()).unwrap_or(u32::MAX));
        frames.push(as_stored(stored, out.length));
        out.copy(file, stored)?;
    }
    for place in places.iter_mut().flatten() {
        place.0 = number_of[&(place.0 as usize)];
    }
    gather(scanned, file, &gathered, &mut out, &mut frames, &mut places)?;
    let object = out.finish()?;
    placing.pack(object, &frames);
    let pack = (!frames.is_empty()).then_some(NewPack::Made(object, made));
    Ok((pack, places))
}

/// A frame as it is packed, before it has a place.
struct Gathered {
    window_log: u32,
    filtered: bool,
    lane: u8,
    plain: Vec<u8>,
    /// Chunks in it, by their position among all, and where they start.
    chunks: Vec<(usize, u64)>,
}

/// Takes chunks out of frames that are not kept, and packs them again, lane by lane.
fn gather(
    scanned: &Scanned,
    file: &File,
    wanted: &BTreeMap<usize, BTreeMap<u64, Vec<usize>>>,
    out: &mut Out<'_>,
    frames: &mut Vec<PackFrame>,
    places: &mut Places,
) -> io::Result<()> {
    let length_of = |indexes: &Vec<usize>| -> u64 {
        indexes.first().map_or(0, |first| scanned.chunks[*first].chunk.length.into())
    };
    let total: u64 = wanted.values().flat_map(BTreeMap::values).map(length_of).sum();
    let level = match total {
        ..=0x10_0000 => 19,
        0x10_0001..=0x80_0000 => 12,
        0x80_0001..=0x400_0000 => 7,
        _ => 3,
    };
    let mut open: Option<Gathered> = None;
    let mut batch: Vec<Gathered> = Vec::new();
    for (number, chunks) in wanted {
        let stored = &scanned.frames[*number];
        let mut content =
            FrameContent::new(Part { file, start: stored.offset, at: 0 }, shape(stored))
                .map_err(io::Error::other)?;
        for (at, indexes) in chunks {
            let length = usize::try_from(length_of(indexes)).unwrap_or(0);
            let is_full = open.as_ref().is_some_and(|open| {
                open.lane != stored.lane || open.plain.len() + length > GATHERED
            });
            if is_full {
                batch.extend(open.take());
                if batch.len() >= 2 {
                    flush(&mut batch, level, out, frames, places)?;
                }
            }
            let open = open.get_or_insert_with(|| Gathered {
                window_log: stored.window_log,
                filtered: stored.filtered,
                lane: stored.lane,
                plain: Vec::new(),
                chunks: Vec::new(),
            });
            content.pass(at - content.position()).map_err(io::Error::other)?;
            let from = open.plain.len();
            open.plain.resize(from + length, 0);
            content.read_exact(&mut open.plain[from..]).map_err(io::Error::other)?;
            open.chunks.extend(indexes.iter().map(|index| (*index, from as u64)));
        }
    }
    batch.extend(open);
    flush(&mut batch, level, out, frames, places)
}

fn flush(
    batch: &mut Vec<Gathered>,
    level: i32,
    out: &mut Out<'_>,
    frames: &mut Vec<PackFrame>,
    places: &mut Places,
) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let packed = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..batch.len())
            .map(|_| {
                scope.spawn(|| -> io::Result<()> {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = batch.get(number) else { return Ok(()) };
                    let level = if one.window_log <= 20 { level.min(3) } else { level };
                    let bytes = pack_frame(one.plain.clone(), one.window_log, one.filtered, level)?;
                    if let Ok(mut packed) = packed.lock() {
                        packed.insert(number, bytes);
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| io::Error::other("a thread that packs a frame ended"))?
        })
    })?;
    let packed = packed.into_inner().unwrap_or_default();
    for (one, bytes) in batch.drain(..).zip(packed.into_values()) {
        let number = u32::try_from(frames.len()).unwrap_or(u32::MAX);
        frames.push(PackFrame {
            pack: 0,
            offset: out.length,
            stored: bytes.len() as u64,
            plain: one.plain.len() as u64,
            window_log: one.window_log,
            filtered: one.filtered,
        });
        out.write(&bytes)?;
        for (index, at) in one.chunks {
            places[index] = Some((number, at));
        }
    }
    Ok(())
}

/// The release's part of the manifest: nodes and leaves that the release before has not, or content of which lies elsewhere
/// now. Also says whether it goes back to that.
fn part(
    scanned: &Scanned,
    placing: &Placing,
    places: &[(u32, u64)],
    known: &Known,
    before: Option<&Catalogue>,
) -> (Vec<u8>, bool) {
    let own: HashMap<(Hash, u64), u32> = placing
        .frames
        .iter()
        .zip(0_u32..)
        .map(|((pack, frame), number)| ((pack.hash, frame.offset), number))
        .collect();
    let is_as_before = |leaf: &ScannedLeaf| {
        before.is_some_and(|before| before.has(&leaf.hash))
            && leaf.chunks.clone().all(|index| {
                known.find(&scanned.chunks[index].chunk.hash).is_some_and(|(number, at)| {
                    let found = known.frame(number);
                    own.get(&(found.pack.hash, found.frame.offset)) == Some(&places[index].0)
                        && at == places[index].1
                })
            })
    };
    let shared: Vec<bool> = scanned.leaves.iter().map(is_as_before).collect();
    // Where little is as before, the way back costs more than it saves.
    let goes_back = shared.iter().filter(|shared| **shared).count() * 2 >= shared.len();
    let mut packs: Vec<Object> = Vec::new();
    let mut numbers: HashMap<u32, u32> = HashMap::new();
    let mut frames = Vec::new();
    let mut leaves = Vec::new();
    for (leaf, shared) in scanned.leaves.iter().zip(&shared) {
        if goes_back && *shared {
            continue;
        }
        let mut runs: Vec<Run> = Vec::new();
        let mut next = None;
        for index in leaf.chunks.clone() {
            let (frame, offset) = places[index];
            let number = *numbers.entry(frame).or_insert_with(|| {
                let (pack, frame) = placing.frames[frame as usize];
                let position = packs.iter().position(|known| *known == pack).unwrap_or_else(|| {
                    packs.push(pack);
                    packs.len() - 1
                });
                frames
                    .push(PackFrame { pack: u32::try_from(position).unwrap_or(u32::MAX), ..frame });
                u32::try_from(frames.len() - 1).unwrap_or(u32::MAX)
            });
            match runs.last_mut().filter(|_| next == Some((number, offset))) {
                Some(last) => last.chunks += 1,
                None => runs.push(Run { chunks: 1, frame: number, offset }),
            }
            next = Some((number, offset + u64::from(scanned.chunks[index].chunk.length)));
        }
        leaves.push(PlacedLeaf { leaf: leaf.bytes.clone(), runs });
    }
    let head = PartHead { header: scanned.header.clone(), root: scanned.root, packs, frames };
    let mut writer = PartWriter::new(&head);
    let has = |hash: &Hash| goes_back && before.is_some_and(|before| before.has(hash));
    scanned.nodes.iter().filter(|(hash, _)| !has(hash)).for_each(|(_, node)| writer.node(node));
    for leaf in &leaves {
        writer.leaf(leaf);
    }
    (writer.finish(), goes_back)
}

fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn as_stored(frame: &StoredFrame, offset: u64) -> PackFrame {
    PackFrame {
        pack: 0,
        offset,
        stored: frame.stored,
        plain: frame.plain,
        window_log: frame.window_log,
        filtered: frame.filtered,
    }
}

fn shape(frame: &StoredFrame) -> FrameShape {
    FrameShape {
        stored: frame.stored,
        plain: frame.plain,
        window_log: frame.window_log,
        filtered: frame.filtered,
    }
}

/// A pack that is written.
struct Out<'o> {
    file: BufWriter<&'o File>,
    hasher: Hasher,
    length: u64,
}

impl Out<'_> {
    fn finish(mut self) -> io::Result<Object> {
        self.file.flush()?;
        Ok(Object { kind: ObjectKind::Pack, hash: self.hasher.finish(), length: self.length })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn copy(&mut self, file: &File, frame: &StoredFrame) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 20];
        let mut done = 0;
        while done < frame.stored {
            let take = usize::try_from(frame.stored - done).unwrap_or(usize::MAX).min(buffer.len());
            file.read_exact_at(&mut buffer[..take], frame.offset + done)?;
            self.write(&buffer[..take])?;
            done += take as u64;
        }
        Ok(())
    }
}

/// A part of a file.
struct Part<'f> {
    file: &'f File,
    start: u64,
    at: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.start + self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Part<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(at) => self.at = at,
            SeekFrom::Current(by) => self.at = self.at.saturating_add_signed(by),
            SeekFrom::End(_) => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(self.at)
    }
}
