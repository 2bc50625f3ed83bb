use std::io::{Read, Seek};

use model::{Extent, Hash};

use crate::{
    Chunk, Damage, FileContent, Node, Origin, Part, ReadError, Record,
    decompress::{FrameReader, unpack},
    layout::{Frame, Index, Lane},
    reader::RecordCursor,
    repeat::Repeat,
    source::Source,
};

/// Gives content back that was handed out before.
///
/// What repeats is in the package once. When it comes again, the one who wrote the first file is asked for it; if
/// it cannot say, or says something else, the package is unpacked there once more, which costs time only.
pub trait Recall {
    /// Fills `buffer` from `origin`, or says that it cannot.
    fn recall(&mut self, origin: &Origin, buffer: &mut [u8]) -> bool;
}

/// Remembers nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoRecall;

impl Recall for NoRecall {
    fn recall(&mut self, _: &Origin, _: &mut [u8]) -> bool {
        false
    }
}

impl<F: FnMut(&Origin, &mut [u8]) -> bool> Recall for F {
    fn recall(&mut self, origin: &Origin, buffer: &mut [u8]) -> bool {
        self(origin, buffer)
    }
}

/// A piece of a file's data, its hash checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Where it belongs in the file, in bytes, holes counted.
    pub offset: u64,
    /// The bytes.
    pub data: &'a [u8],
}

/// Where a chunk lies in a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    /// The chunk.
    pub chunk: Chunk,
    /// The lane its bytes are in.
    pub lane: u8,
    /// Where they start in the lane's stream.
    pub position: u64,
}

/// Records in order, each file's data after its record.
///
/// Data nobody asks for before the next record is passed over.
pub struct Contents<'a, R> {
    source: &'a mut Source<R>,
    index: &'a Index,
    records: RecordCursor,
    repeats: RepeatCursor,
    choices: ChoiceCursor,
    /// By lane, where its stream is read on, and how far the records so far go in it.
    next: Vec<(Stream, u64)>,
    /// Where content is read once more.
    again: Stream,
    chunk: u64,
    file: Option<OpenFile>,
}

/// Where a chunk's bytes are.
enum Taken {
    Next { position: u64 },
    Repeat(Repeat),
}

/// The file whose data is being read.
struct OpenFile {
    lane: u8,
    chunks: std::vec::IntoIter<Chunk>,
    data: std::vec::IntoIter<Extent>,
    /// What is left of the extent that is being filled.
    extent: Extent,
    /// Room for the longest chunk so far; what of it is the checked chunk, and how much of that was handed out.
    room: Vec<u8>,
    filled: usize,
    used: usize,
}

impl<'a, R: Read + Seek> Contents<'a, R> {
    pub(crate) fn new(source: &'a mut Source<R>, index: &'a Index, trees: usize) -> Self {
        Self {
            source,
            index,
            records: RecordCursor::new(trees),
            repeats: RepeatCursor::default(),
            choices: ChoiceCursor::default(),
            next: index.lanes.iter().map(|_| (Stream::default(), 0)).collect(),
            again: Stream::default(),
            chunk: 0,
            file: None,
        }
    }

    /// The next record; its data comes from [`piece`](Self::piece).
    pub fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        self.pass_over()?;
        let Some(record) = self.records.next(self.source, self.index)? else {
            return Ok(None);
        };
        if let Node::File(content) = &record.node {
            let room = self.file.take().map(|file| file.room).unwrap_or_default();
            let has_data = content.data_length() > 0;
            let lane = if has_data { self.choices.take(self.source, self.index)? } else { 0 };
            self.file = Some(OpenFile::new(content, lane, room));
        }
        Ok(Some(record))
    }

    /// The next piece of the file whose record came last; `None` when it is complete.
    pub fn piece(&mut self, recall: &mut dyn Recall) -> Result<Option<Piece<'_>>, ReadError> {
        let Some(file) = &mut self.file else { return Ok(None) };
        if file.used == file.filled {
            let Some(chunk) = file.chunks.next() else { return Ok(None) };
            let length = chunk.length as usize;
            let mut room = std::mem::take(&mut file.room);
            if room.len() < length {
                room.resize(length, 0);
            }
            self.read_chunk(chunk, &mut room[..length], recall)?;
            let Some(file) = &mut self.file else { return Ok(None) };
            (file.room, file.filled, file.used) = (room, length, 0);
        }
        Ok(self.file.as_mut().and_then(OpenFile::piece))
    }

    /// Where the chunks of the file whose record came last lie, those handed out already left out. Nothing is
    /// unpacked; afterwards the file has no more pieces.
    pub fn places(&mut self) -> Result<Vec<ChunkPlace>, ReadError> {
        let Some(mut file) = self.file.take() else { return Ok(Vec::new()) };
        let mut places = Vec::with_capacity(file.chunks.len());
        for chunk in file.chunks.by_ref() {
            let (lane, position) = match self.take_chunk(chunk, file.lane)? {
                Taken::Next { position } => (file.lane, position),
                Taken::Repeat(repeat) => (repeat.lane, repeat.position),
            };
            places.push(ChunkPlace { chunk, lane, position });
        }
        Ok(places)
    }

    fn read_chunk(
        &mut self,
        chunk: Chunk,
        bytes: &mut [u8],
        recall: &mut dyn Recall,
    ) -> Result<(), ReadError> {
        let lane = self.file.as_ref().map_or(0, |file| file.lane);
        let repeat = match self.take_chunk(chunk, lane)? {
            Taken::Next { position } => {
                let stream = &mut self.next[usize::from(lane)].0;
                stream.read_at(self.source, &self.index.lanes, lane, position, bytes)?;
                return self.check(chunk, lane, position, bytes);
            }
            Taken::Repeat(repeat) => repeat,
        };
        let recalled = repeat.origin.is_some_and(|origin| recall.recall(&origin, bytes));
        if recalled && Hash::of(bytes) == chunk.hash {
            return Ok(());
        }
        let Repeat { lane, position, .. } = repeat;
        self.again.read_at(self.source, &self.index.lanes, lane, position, bytes)?;
        self.check(chunk, lane, position, bytes)
    }

    /// Counts a chunk: either it is one that repeats, or the next in its lane.
    fn take_chunk(&mut self, chunk: Chunk, lane: u8) -> Result<Taken, ReadError> {
        let repeat = self.repeats.take(self.source, self.index, self.chunk)?;
        self.chunk += 1;
        if let Some(repeat) = repeat {
            return Ok(Taken::Repeat(repeat));
        }
        let Some((_, next)) = self.next.get_mut(usize::from(lane)) else {
            return Err(no_lane(self.source, lane).into());
        };
        let position = *next;
        *next = next.saturating_add(chunk.length.into());
        Ok(Taken::Next { position })
    }

    fn check(&self, chunk: Chunk, lane: u8, position: u64, bytes: &[u8]) -> Result<(), ReadError> {
        if Hash::of(bytes) == chunk.hash {
            return Ok(());
        }
        let frames = &self.index.lanes[usize::from(lane)].frames;
        let at = locate(frames, position).map_or(0, |(frame, _)| frame.offset);
        let reason = format!("a chunk is not `{}`", chunk.hash);
        Err(Damage::new(Part::Content, self.source.absolute(at), reason).into())
    }

    fn pass_over(&mut self) -> Result<(), ReadError> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        for chunk in file.chunks.by_ref() {
            self.take_chunk(chunk, file.lane)?;
        }
        // Kept for its room.
        (file.filled, file.used, file.data) = (0, 0, Vec::new().into_iter());
        self.file = Some(file);
        Ok(())
    }
}

impl OpenFile {
    fn new(content: &FileContent, lane: u8, room: Vec<u8>) -> Self {
        let plain =
            model::Content { length: content.length, hash: None, holes: content.holes.clone() };
        let mut data = plain.data().collect::<Vec<_>>().into_iter();
        let extent = data.next().unwrap_or(Extent { offset: 0, length: 0 });
        let chunks = content.each_chunk().collect::<Vec<_>>().into_iter();
        Self { lane, chunks, data, extent, room, filled: 0, used: 0 }
    }

    /// As much of the chunk as goes into one extent.
    fn piece(&mut self) -> Option<Piece<'_>> {
        if self.extent.length == 0 {
            self.extent = self.data.next()?;
        }
        let left = self.filled - self.used;
        let take = usize::try_from(self.extent.length).unwrap_or(usize::MAX).min(left);
        let offset = self.extent.offset;
        self.extent.offset += take as u64;
        self.extent.length -= take as u64;
        self.used += take;
        Some(Piece { offset, data: &self.room[self.used - take..self.used] })
    }
}

/// A place in a lane's stream.
#[derive(Default)]
struct Stream {
    open: Option<Open>,
    scratch: Vec<u8>,
}

/// The frame a stream is in.
struct Open {
    lane: u8,
    start: u64,
    reader: FrameReader,
}

impl Stream {
    /// Reads from `position`; going on from where it stands costs nothing, going back the frame's beginning.
    fn read_at<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        lanes: &[Lane],
        number: u8,
        position: u64,
        bytes: &mut [u8],
    ) -> Result<(), ReadError> {
        let Some(lane) = lanes.get(usize::from(number)) else {
            return Err(no_lane(source, number).into());
        };
        let mut filled = 0;
        while filled < bytes.len() {
            let at = position.saturating_add(filled as u64);
            let Some((frame, start)) = locate(&lane.frames, at) else {
                let end = lane.frames.last().map_or(0, |frame| frame.offset + frame.stored);
                let reason = "it has fewer bytes than the manifest says";
                return Err(Damage::new(Part::Content, source.absolute(end), reason).into());
            };
            let reader = self.reader(source, lane, number, (frame, start), at)?;
            let room = usize::try_from(start + frame.plain - at).unwrap_or(usize::MAX);
            let take = room.min(bytes.len() - filled);
            reader.read_exact(source, &mut bytes[filled..filled + take])?;
            filled += take;
        }
        Ok(())
    }

    /// A reader of a frame, which starts at `start` of the stream, that stands at `at`.
    fn reader<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        lane: &Lane,
        number: u8,
        (frame, start): (Frame, u64),
        at: u64,
    ) -> Result<&mut FrameReader, ReadError> {
        let usable = self.open.take().filter(|open| {
            open.lane == number && open.start == start && open.reader.given() <= at - start
        });
        let open = if let Some(open) = usable {
            open
        } else {
            let place = source.absolute(frame.offset);
            let reader =
                FrameReader::new(Part::Content, frame, place, lane.window_log, lane.filtered)?;
            Open { lane: number, start, reader }
        };
        let reader = &mut self.open.insert(open).reader;
        self.scratch.resize(64 << 10, 0);
        while reader.given() < at - start {
            let left = at - start - reader.given();
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(self.scratch.len());
            reader.read_exact(source, &mut self.scratch[..take])?;
        }
        Ok(reader)
    }
}

fn no_lane<R: Read + Seek>(source: &Source<R>, lane: u8) -> Damage {
    Damage::new(Part::Content, source.absolute(0), format!("there is no lane {lane}"))
}

/// The frame that holds a position of the content stream, and where the frame starts in it.
fn locate(frames: &[Frame], position: u64) -> Option<(Frame, u64)> {
    let mut start = 0_u64;
    for frame in frames {
        let end = start.saturating_add(frame.plain);
        if position < end {
            return Some((*frame, start));
        }
        start = end;
    }
    None
}

/// A place in the list of repeats.
#[derive(Default)]
struct RepeatCursor {
    frame: usize,
    bytes: Vec<u8>,
    at: usize,
    next: Option<Repeat>,
}

impl RepeatCursor {
    /// The repeat for this chunk, if it is one.
    fn take<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        index: &Index,
        chunk: u64,
    ) -> Result<Option<Repeat>, ReadError> {
        if self.next.is_none() {
            self.next = self.read(source, index)?;
        }
        Ok(self.next.take_if(|repeat| repeat.chunk == chunk))
    }

    fn read<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        index: &Index,
    ) -> Result<Option<Repeat>, ReadError> {
        if self.at == self.bytes.len() {
            let Some(frame) = index.repeats.get(self.frame) else { return Ok(None) };
            self.bytes = unpack(source, Part::Repeats, *frame)?;
            (self.at, self.frame) = (0, self.frame + 1);
        }
        let mut decoder = minicbor::Decoder::new(&self.bytes[self.at..]);
        let repeat = decoder.decode().map_err(|error| {
            let at =
                index.repeats.get(self.frame.saturating_sub(1)).map_or(0, |frame| frame.offset);
            let reason = format!("it does not parse: {error}");
            ReadError::from(Damage::new(Part::Repeats, source.absolute(at), reason))
        })?;
        self.at += decoder.position();
        Ok(Some(repeat))
    }
}

/// A place in the list of choices.
#[derive(Default)]
struct ChoiceCursor {
    frame: usize,
    bytes: Vec<u8>,
    at: usize,
}

impl ChoiceCursor {
    /// The lane of the next file with data.
    fn take<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        index: &Index,
    ) -> Result<u8, ReadError> {
        if self.at == self.bytes.len() {
            let Some(frame) = index.choices.get(self.frame) else {
                let reason = "fewer files have a lane than have data";
                return Err(Damage::new(Part::Content, source.absolute(0), reason).into());
            };
            self.bytes = unpack(source, Part::Content, *frame)?;
            (self.at, self.frame) = (0, self.frame + 1);
        }
        self.at += 1;
        Ok(self.bytes[self.at - 1])
    }
}
