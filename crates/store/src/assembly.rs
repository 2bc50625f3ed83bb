//! A release put together from what is here and from frames: as a package file, or straight into an installation.

mod following;
mod payload;

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::Path,
    sync::Arc,
};

use content::{Catalogue, Cost, Entry, Object, Place, ReadManifestError};
use model::Hash;
use package::{FrameContent, Node, PackageWriter};

use self::following::Following;
pub(crate) use self::following::as_frame;
use crate::{
    FetchError, Point, PointError,
    follow::quick,
    frames::{FrameFile, Frames},
    unpacked::Unpacked,
};

/// What frames that are open at once may take of memory, in bytes: all lanes of a package fit.
const OPEN: u64 = 36 << 20;

/// Is told how many bytes came.
pub(crate) type Came<'a> = &'a (dyn Fn(u64) + Sync);

/// A release, as far as it is here, and the way to the rest.
pub struct Assembly<'p> {
    catalogue: Catalogue,
    bases: Vec<Arc<Unpacked>>,
    located: HashMap<Hash, (usize, u64)>,
    wanted: Vec<u32>,
    here: u64,
    frames: Frames<'p>,
    delta: Option<Following<'p>>,
    open: Vec<(u32, FrameContent<FrameFile>)>,
    room: Vec<u8>,
}

/// Content that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The distribution point.
    #[error(transparent)]
    Point(#[from] PointError),
    /// The manifest says what cannot be.
    #[error("reading the manifest stopped")]
    Manifest(#[from] ReadManifestError),
    /// A frame is not what the manifest says it is.
    #[error(
        "the pack `{pack}` is damaged in the frame at {offset}: {reason}; run `packhorse dp repair`"
    )]
    Damaged {
        /// The pack.
        pack: String,
        /// Where the frame starts.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
}

impl<'p> Assembly<'p> {
    /// Finds out what of a release is in `bases`. Every chunk that is taken from there is hashed now, and again when it
    /// is used.
    pub(crate) fn new(
        point: &'p Point,
        folder: &Path,
        catalogue: Catalogue,
        bases: Vec<Arc<Unpacked>>,
    ) -> Result<Self, AssembleError> {
        let mut wished: HashMap<Hash, Option<(usize, u64)>> = HashMap::new();
        if !bases.is_empty() {
            for entry in catalogue.entries() {
                wished.extend(entry?.places.iter().map(|place| (place.chunk.hash, None)));
            }
        }
        let mut room = Vec::new();
        for (number, base) in bases.iter().enumerate() {
            base.each_chunk(&mut |hash, at, length| {
                let Some(place @ None) = wished.get_mut(&hash) else { return };
                room.resize(length as usize, 0);
                if base.read_at(at, &mut room).is_ok() && Hash::of(&room) == hash {
                    *place = Some((number, at));
                }
            });
        }
        let located: HashMap<_, _> =
            wished.into_iter().filter_map(|(hash, place)| Some((hash, place?))).collect();
        let (mut wanted, mut here) = (BTreeSet::new(), 0);
        for entry in catalogue.entries() {
            for place in entry?.places {
                if located.contains_key(&place.chunk.hash) {
                    here += u64::from(place.chunk.length);
                } else {
                    wanted.insert(place.frame);
                }
            }
        }
        let frames = Frames::new(point, folder, catalogue.packs(), catalogue.frames());
        let wanted = wanted.into_iter().collect();
        let open = Vec::new();
        Ok(Self { catalogue, bases, located, wanted, here, frames, delta: None, open, room })
    }

    /// The same release over a delta from `base`; frames come only for what that does not lead to.
    pub(crate) fn following(
        point: &'p Point,
        folder: &Path,
        catalogue: Catalogue,
        delta: &Object,
        base: Arc<Unpacked>,
    ) -> Result<Self, AssembleError> {
        let mut assembly = Self::new(point, folder, catalogue, Vec::new())?;
        assembly.wanted = Vec::new();
        assembly.delta = Some(Following::new(point, folder, delta, base));
        Ok(assembly)
    }

    /// Why the delta was of no use, if it was not.
    pub(crate) fn strayed(&self) -> Option<&str> {
        self.delta.as_ref().and_then(Following::strayed)
    }

    /// Says where frames wait.
    pub(crate) fn wait_in(&mut self, folder: &Path) {
        self.frames.wait_in(folder);
    }

    /// What is still to come.
    pub(crate) fn cost(&self) -> Cost {
        Frames::cost(&self.frames.missing(&self.wanted))
    }

    /// Frames that are needed, packs they are in, bytes of content that are here.
    pub(crate) fn shape(&self) -> (usize, usize, u64) {
        let frames = self.catalogue.frames();
        let packs: BTreeSet<_> =
            self.wanted.iter().map(|frame| frames[*frame as usize].pack).collect();
        (self.wanted.len(), packs.len(), self.here)
    }

    /// The manifest alone.
    pub(crate) fn into_catalogue(self) -> Catalogue {
        self.catalogue
    }

    /// Forgets what came.
    pub fn discard(&self) -> Result<(), PointError> {
        self.delta.as_ref().map_or(Ok(()), Following::discard)?;
        self.frames.discard()
    }

    /// Runs `act` while what is missing comes.
    fn while_fetching<T>(&mut self, came: Came<'_>, act: impl FnOnce(&mut Work<'_, 'p>) -> T) -> T {
        let missing = self.frames.missing(&self.wanted);
        self.frames.begin();
        let Self { catalogue, bases, located, wanted, frames, open, room, .. } = self;
        open.clear();
        let mut work = Work { catalogue, bases, located, wanted, frames, open, room };
        let frames = work.frames;
        std::thread::scope(|scope| {
            let ended = Ended(frames);
            scope.spawn(move || frames.fetch(&missing, &mut |bytes| came(bytes)));
            let done = act(&mut work);
            drop(ended);
            done
        })
    }

    /// Makes a package file of it in `out`, not named and not synced; its identity is the release's.
    pub(crate) fn write(&mut self, out: &File, came: Came<'_>) -> Result<(), FetchError> {
        let identity = self.catalogue.identity();
        let header = self.catalogue.header().clone();
        self.while_fetching(came, |work| {
            let stopped = |source| FetchError::Write { source };
            let out = BufWriter::with_capacity(1 << 20, out);
            let mut writer = PackageWriter::new(out, &[], quick()).map_err(stopped)?;
            let catalogue = work.catalogue;
            for entry in catalogue.entries() {
                let Entry { record, places } = entry.map_err(AssembleError::from)?;
                if let Node::File(content) = &record.node {
                    let mut data =
                        Data { work, places: &places, chunk: Vec::new(), used: 0, failed: None };
                    let (length, holes) = (content.length, content.holes.clone());
                    let written =
                        writer.content(record.tree, &record.path, length, holes, &mut data);
                    if let Some(error) = data.failed {
                        return Err(error.into());
                    }
                    written.map_err(stopped)?;
                }
                writer.record(&record).map_err(stopped)?;
            }
            let (written, mut out) = writer.finish(header).map_err(stopped)?;
            out.flush().map_err(|error| stopped(package::WriteError::Write(error)))?;
            if written.identity == identity {
                Ok(())
            } else {
                Err(FetchError::NotTheRelease { object: work.catalogue.packs()[0] })
            }
        })
    }

    /// Unpacks it into a nameless file of `folder`; `each` hears of every file.
    pub(crate) fn unpack(
        &mut self,
        folder: &Path,
        each: &mut dyn FnMut(),
    ) -> Result<Unpacked, FetchError> {
        let cannot =
            |source| PointError::File { doing: "writing", path: folder.to_owned(), source };
        let data = tempfile::tempfile_in(folder).map_err(cannot)?;
        let records = self.while_fetching(&|_| {}, |work| -> Result<_, FetchError> {
            let mut out = BufWriter::with_capacity(1 << 20, &data);
            let mut records = Vec::new();
            let mut chunk = Vec::new();
            let catalogue = work.catalogue;
            for entry in catalogue.entries() {
                let entry = entry.map_err(AssembleError::from)?;
                each();
                for place in &entry.places {
                    work.chunk(place, &mut chunk)?;
                    out.write_all(&chunk).map_err(cannot)?;
                }
                records.push(entry.record);
            }
            out.flush().map_err(cannot)?;
            Ok(records)
        })?;
        Ok(Unpacked::of_parts(&self.catalogue, records, data))
    }

    /// Fetches the data of these records of the catalogue, by their positions, into an installed package that lacks it.
    pub(crate) fn fill(&mut self, into: &Unpacked, lacking: &[usize]) -> Result<(), FetchError> {
        let lacking: BTreeSet<_> = lacking.iter().copied().collect();
        self.while_fetching(&|_| {}, |work| {
            let mut chunk = Vec::new();
            let catalogue = work.catalogue;
            for (position, entry) in catalogue.entries().enumerate() {
                let entry = entry.map_err(AssembleError::from)?;
                if !lacking.contains(&position) {
                    continue;
                }
                let mut at = into.range(position).start;
                for place in &entry.places {
                    work.chunk(place, &mut chunk)?;
                    into.patch(at, &chunk).map_err(|source| PointError::File {
                        doing: "writing",
                        path: std::env::temp_dir(),
                        source,
                    })?;
                    at += chunk.len() as u64;
                }
            }
            Ok(())
        })
    }
}

/// What is wanted of a catalogue are the chunks of some records only.
pub(crate) fn only<'p>(
    point: &'p Point,
    folder: &Path,
    catalogue: Catalogue,
    records: &[usize],
) -> Result<Assembly<'p>, AssembleError> {
    let chosen: BTreeSet<_> = records.iter().copied().collect();
    let mut assembly = Assembly::new(point, folder, catalogue, Vec::new())?;
    let mut wanted = BTreeSet::new();
    for (position, entry) in assembly.catalogue.entries().enumerate() {
        if chosen.contains(&position) {
            wanted.extend(entry?.places.iter().map(|place| place.frame));
        }
    }
    assembly.wanted = wanted.into_iter().collect();
    Ok(assembly)
}

/// Tells the one that fetches when nobody reads any more.
struct Ended<'f, 'p>(&'f Frames<'p>);

impl Drop for Ended<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// An assembly while frames come.
struct Work<'a, 'p> {
    catalogue: &'a Catalogue,
    bases: &'a [Arc<Unpacked>],
    located: &'a HashMap<Hash, (usize, u64)>,
    wanted: &'a [u32],
    frames: &'a Frames<'p>,
    open: &'a mut Vec<(u32, FrameContent<FrameFile>)>,
    room: &'a mut Vec<u8>,
}

impl Work<'_, '_> {
    /// The bytes of a chunk, its hash checked.
    fn chunk(&mut self, place: &Place, out: &mut Vec<u8>) -> Result<(), AssembleError> {
        out.resize(place.chunk.length as usize, 0);
        if let Some((base, at)) = self.located.get(&place.chunk.hash)
            && self.bases[*base].read_at(*at, out).is_ok()
            && Hash::of(out) == place.chunk.hash
        {
            return Ok(());
        }
        // A file of the base changed since it was looked at: its frame is not among those that come.
        if self.wanted.binary_search(&place.frame).is_err() {
            self.fetch_alone(place.frame)?;
        }
        let first = match self.read_frame(place, out) {
            Ok(()) if Hash::of(out) == place.chunk.hash => return Ok(()),
            Ok(()) => format!("a chunk is not `{}`", place.chunk.hash),
            Err(error) => error.to_string(),
        };
        if let Some(error) = self.frames.failed() {
            return Err(error.into());
        }
        // What waited here from before may be at fault.
        self.open.retain(|(number, _)| *number != place.frame);
        self.frames.forget(place.frame)?;
        self.fetch_alone(place.frame)?;
        match self.read_frame(place, out) {
            Ok(()) if Hash::of(out) == place.chunk.hash => Ok(()),
            _ => {
                let frame = self.catalogue.frames()[place.frame as usize];
                let pack = self.catalogue.packs()[frame.pack as usize].path();
                Err(AssembleError::Damaged { pack, offset: frame.offset, reason: first })
            }
        }
    }

    /// Fetches one frame now.
    fn fetch_alone(&self, frame: u32) -> Result<(), AssembleError> {
        let alone = self.frames.beside();
        alone.fetch(&alone.missing(&[frame]), &mut |_| {});
        alone.failed().map_or(Ok(()), |error| Err(error.into()))
    }

    fn read_frame(&mut self, place: &Place, out: &mut [u8]) -> Result<(), package::ReadError> {
        let usable = self
            .open
            .iter()
            .position(|(number, frame)| *number == place.frame && frame.position() <= place.offset);
        let mut open = if let Some(index) = usable {
            self.open.remove(index)
        } else {
            self.open.retain(|(number, _)| *number != place.frame);
            let shape = self.catalogue.frames()[place.frame as usize].shape();
            self.make_room(shape.memory());
            (place.frame, FrameContent::new(self.frames.open(place.frame), shape)?)
        };
        let skip = place.offset - open.1.position();
        open.1.pass(skip)?;
        open.1.read_exact(out)?;
        if open.1.left() > 0 {
            self.open.push(open);
        }
        Ok(())
    }

    /// Closes what was used longest ago.
    fn make_room(&mut self, bytes: u64) {
        let shape = |number: u32| self.catalogue.frames()[number as usize].shape().memory();
        let mut held: u64 = self.open.iter().map(|(number, _)| shape(*number)).sum();
        while held + bytes > OPEN && !self.open.is_empty() {
            let (number, _) = self.open.remove(0);
            held -= self.catalogue.frames()[number as usize].shape().memory();
        }
    }
}

/// The data of one file, as it is put together.
struct Data<'w, 'a, 'p> {
    work: &'w mut Work<'a, 'p>,
    places: &'w [Place],
    chunk: Vec<u8>,
    used: usize,
    failed: Option<AssembleError>,
}

impl Read for Data<'_, '_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.used == self.chunk.len() {
            let Some((place, rest)) = self.places.split_first() else { return Ok(0) };
            if let Err(error) = self.work.chunk(place, &mut self.chunk) {
                self.failed = Some(error);
                return Err(io::Error::other("content cannot be had"));
            }
            (self.places, self.used) = (rest, 0);
        }
        let take = out.len().min(self.chunk.len() - self.used);
        out[..take].copy_from_slice(&self.chunk[self.used..self.used + take]);
        self.used += take;
        Ok(take)
    }
}
