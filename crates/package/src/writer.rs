use std::{
    cmp::Ordering,
    collections::VecDeque,
    io::{self, Read, Write},
};

use model::{Extent, Hash, Hasher, escape};

use crate::{
    Chunk, ChunkSizes, FileContent, Header, Layout, ManifestTree, Node, Record, Settings, Totals,
    chunking::Cutter,
    compare_paths,
    compress::{Leftovers, Packing, compress},
    extents::{Place, WholeHash},
    known::{First, Known, OpenLane},
    lane::Kind,
    layout::{self, FORMAT, Frame, Index, Lane, TRAILER_LENGTH},
    manifest::{LeafBuilder, identity},
    signature::Signature,
};

/// Frames of leaves and of repeats are written when they have so many bytes.
const LIST_FRAME: usize = 256 << 10;

/// A package that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output takes no more.
    #[error("writing the package stopped")]
    Write(#[source] io::Error),
    /// The content of a file cannot be read.
    #[error("reading the content of `{path}` stopped")]
    Content {
        /// The file below its tree, escaped.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file has another length than was said.
    #[error("`{path}` has not the {expected} bytes of data it had: did it change meanwhile?")]
    Length {
        /// The file below its tree, escaped.
        path: String,
        /// Bytes of data it should have.
        expected: u64,
    },
    /// Records must come sorted, each once.
    #[error("`{path}` of tree {tree} comes twice or after a path it sorts before")]
    Order {
        /// The tree.
        tree: u32,
        /// The path below it, escaped.
        path: String,
    },
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The package's identity: equal for equal headers and payloads, whatever the settings.
    pub identity: Hash,
    /// The root of the manifest's hash tree.
    pub manifest: Hash,
    /// The hash of the whole file, as its trailer says it.
    pub whole: Hash,
    /// How much payload it has.
    pub totals: Totals,
    /// Bytes of content that stand in the package once while files hold them several times.
    pub repeated: u64,
    /// Length of the file in bytes, an installer's program included.
    pub length: u64,
}

/// Writes a package front to back.
///
/// Per record, in order: [`content`](Self::content) first if it is a file with data, then
/// [`record`](Self::record); at the end [`finish`](Self::finish).
pub struct PackageWriter<W> {
    out: Output<W>,
    settings: Settings,
    index: Frames,
    queue: VecDeque<Pending>,
    lanes: [OpenLane; Kind::ALL.len()],
    leftovers: Leftovers,
    leaves: LeafBuilder,
    leaf_bytes: Vec<u8>,
    repeats: Vec<u8>,
    choices: Vec<u8>,
    tree: ManifestTree,
    known: Known,
    chunks: u64,
    totals: Totals,
    repeated: u64,
    last: Option<(u32, Vec<u8>)>,
}

#[derive(Default)]
struct Frames {
    lanes: [Vec<Frame>; Kind::ALL.len()],
    leaves: Vec<Frame>,
    repeats: Vec<Frame>,
    choices: Vec<Frame>,
}

enum Pending {
    Content(Packing),
    List(List, u64, Vec<u8>),
}

#[derive(Clone, Copy)]
enum List {
    Leaves,
    Repeats,
    Choices,
}

impl<W: Write> PackageWriter<W> {
    /// Starts a package behind `stub`, the bytes of an installer's program, or behind nothing.
    pub fn new(out: W, stub: &[u8], settings: Settings) -> Result<Self, WriteError> {
        let mut out = Output { out, hasher: Hasher::new(), stub: stub.len() as u64, length: 0 };
        out.write(stub)?;
        out.write(&layout::preamble())?;
        Ok(Self {
            out,
            settings,
            index: Frames::default(),
            queue: VecDeque::new(),
            lanes: Default::default(),
            leftovers: Leftovers::default(),
            leaves: LeafBuilder::default(),
            leaf_bytes: Vec::new(),
            repeats: Vec::new(),
            choices: Vec::new(),
            tree: ManifestTree::new(),
            known: Known::new(settings.remembered),
            chunks: 0,
            totals: Totals::default(),
            repeated: 0,
            last: None,
        })
    }

    /// Takes the content of the file whose record comes next: `length` bytes with `holes`; `data` gives
    /// what is between the holes.
    pub fn content(
        &mut self,
        tree: u32,
        path: &[u8],
        length: u64,
        holes: Vec<Extent>,
        data: &mut dyn Read,
    ) -> Result<FileContent, WriteError> {
        let expected = length - holes.iter().map(|hole| hole.length).sum::<u64>();
        let mut cutter = Cutter::new(ChunkSizes::of_file(expected));
        let mut place = Place::new(tree, path, &holes);
        let mut whole = WholeHash::new(&holes);
        let mut chunks = Vec::new();
        let mut taken = 0_u64;
        let mut kind = None;
        let changed = || WriteError::Length { path: escape(path), expected };
        // One byte more than there should be, to notice when there is.
        let data = &mut data.take(expected.saturating_add(1));
        while let Some(bytes) = cutter
            .next(data)
            .map_err(|source| WriteError::Content { path: escape(path), source })?
        {
            taken += bytes.len() as u64;
            if taken > expected {
                return Err(changed());
            }
            whole.update(bytes);
            let chunk = Chunk { hash: Hash::of(bytes), length: to_u32(bytes.len()) };
            chunks.push(chunk);
            let kind = *kind.get_or_insert_with(|| Kind::of(path, bytes));
            let origin = place.next(bytes.len() as u64);
            let lane = &mut self.lanes[usize::from(kind.number())];
            let ordinal = self.chunks;
            self.chunks += 1;
            if let Some(repeat) = self.known.repeat(chunk, ordinal, kind, lane) {
                let _ = minicbor::encode(&repeat, &mut self.repeats);
                self.repeated += u64::from(chunk.length);
            } else {
                let position = lane.start + lane.bytes.len() as u64;
                self.known.insert(chunk.hash, First { kind, position, origin });
                lane.bytes.extend_from_slice(bytes);
            }
            if lane.bytes.len() >= self.settings.frame() {
                self.close_frame(kind)?;
            }
            if self.repeats.len() >= LIST_FRAME {
                self.close_list(List::Repeats)?;
            }
        }
        if let Some(kind) = kind {
            self.choices.push(kind.number());
            if self.choices.len() >= LIST_FRAME {
                self.close_list(List::Choices)?;
            }
        }
        if taken != expected {
            return Err(changed());
        }
        self.totals.bytes += expected;
        let hash = whole.finish(length);
        let single = holes.is_empty() && chunks.len() == 1;
        let chunks = if single { Vec::new() } else { chunks };
        Ok(FileContent { length, hash, holes, chunks, substitutions: Vec::new() })
    }

    /// Takes the next record.
    pub fn record(&mut self, record: &Record) -> Result<(), WriteError> {
        if let Some((tree, path)) = &self.last {
            let order = tree.cmp(&record.tree).then_with(|| compare_paths(path, &record.path));
            if order != Ordering::Less {
                return Err(WriteError::Order { tree: record.tree, path: escape(&record.path) });
            }
        }
        self.last = Some((record.tree, record.path.clone()));
        self.totals.records += 1;
        if let Node::File(content) = &record.node {
            self.totals.files += 1;
            if !content.substitutions.is_empty() {
                // What is installed is not what is packed: nobody can read the chunks from there.
                for chunk in content.each_chunk() {
                    self.known.forget_origin(&chunk.hash, record);
                }
            }
        }
        if let Some(leaf) = self.leaves.push(record) {
            self.take_leaf(&leaf)?;
        }
        Ok(())
    }

    /// Writes the rest: `header` with the totals filled in, index, trailer.
    pub fn finish(mut self, mut header: Header) -> Result<(Written, W), WriteError> {
        if !self.leaves.is_empty() || self.totals.records == 0 {
            let leaf = self.leaves.finish();
            self.take_leaf(&leaf)?;
        }
        for kind in Kind::ALL {
            self.close_frame(kind)?;
        }
        for list in [List::Leaves, List::Repeats, List::Choices] {
            self.close_list(list)?;
        }
        while let Some(pending) = self.queue.pop_front() {
            self.write_out(pending)?;
        }
        header.totals = self.totals;
        let mut header_bytes = Vec::new();
        let _ = minicbor::encode(&header, &mut header_bytes);
        let stored = compress(&header_bytes, self.settings).map_err(WriteError::Write)?;
        let header_frame = self.out.frame(&stored, header_bytes.len() as u64)?;
        let manifest =
            std::mem::take(&mut self.tree).finish(&mut |_| {}).unwrap_or_else(|| Hash::of(b""));
        let index = Index {
            lanes: std::iter::zip(Kind::ALL, self.index.lanes)
                .map(|(kind, frames)| Lane {
                    window_log: kind.window_log(),
                    filtered: self.settings.filters(kind),
                    frames,
                })
                .collect(),
            leaves: self.index.leaves,
            repeats: self.index.repeats,
            choices: self.index.choices,
            header: header_frame,
            header_hash: Hash::of(&header_bytes),
            manifest,
        };
        let mut index_bytes = Vec::new();
        let _ = minicbor::encode(&index, &mut index_bytes);
        let index_offset = self.out.length;
        self.out.write(&index_bytes)?;
        let mut layout = Layout {
            format: FORMAT,
            stub_length: self.out.stub,
            package_length: self.out.length + TRAILER_LENGTH,
            index_offset,
            index_length: index_bytes.len() as u64,
            index_hash: Hash::of(&index_bytes),
            whole: Hash([0; 32]),
        };
        layout.whole = self.out.hasher.update(&layout::trailer_fields(&layout)).finish();
        let trailer = layout::trailer(&layout);
        self.out.out.write_all(&trailer).map_err(WriteError::Write)?;
        self.out.out.flush().map_err(WriteError::Write)?;
        let written = Written {
            identity: identity(&header_bytes, &manifest),
            manifest,
            whole: layout.whole,
            totals: self.totals,
            repeated: self.repeated,
            length: layout.stub_length + layout.package_length,
        };
        Ok((written, self.out.out))
    }

    fn take_leaf(&mut self, leaf: &crate::manifest::Leaf) -> Result<(), WriteError> {
        self.tree.leaf(Hash::of(&leaf.bytes), leaf.records, &mut |_| {});
        self.leaf_bytes.extend_from_slice(&to_u32(leaf.bytes.len()).to_le_bytes());
        self.leaf_bytes.extend_from_slice(&leaf.bytes);
        if self.leaf_bytes.len() >= LIST_FRAME { self.close_list(List::Leaves) } else { Ok(()) }
    }

    fn close_frame(&mut self, kind: Kind) -> Result<(), WriteError> {
        let lane = &mut self.lanes[usize::from(kind.number())];
        if lane.bytes.is_empty() {
            return Ok(());
        }
        let plain = std::mem::replace(&mut lane.bytes, self.leftovers.buffer());
        lane.start += plain.len() as u64;
        let packing = Packing::start(plain, kind, self.settings, &self.leftovers);
        self.enqueue(Pending::Content(packing))
    }

    fn close_list(&mut self, list: List) -> Result<(), WriteError> {
        let plain = std::mem::take(match list {
            List::Leaves => &mut self.leaf_bytes,
            List::Repeats => &mut self.repeats,
            List::Choices => &mut self.choices,
        });
        if plain.is_empty() {
            return Ok(());
        }
        let stored = compress(&plain, self.settings).map_err(WriteError::Write)?;
        self.enqueue(Pending::List(list, plain.len() as u64, stored))
    }

    /// Frames leave in the order they were closed, however long each took to pack: same input, same bytes.
    fn enqueue(&mut self, pending: Pending) -> Result<(), WriteError> {
        self.queue.push_back(pending);
        let packing = |queue: &VecDeque<Pending>| {
            queue.iter().filter(|pending| matches!(pending, Pending::Content(_))).count()
        };
        while packing(&self.queue) > self.settings.workers.max(1) {
            if let Some(first) = self.queue.pop_front() {
                self.write_out(first)?;
            }
        }
        Ok(())
    }

    fn write_out(&mut self, pending: Pending) -> Result<(), WriteError> {
        match pending {
            Pending::Content(packing) => {
                let (kind, plain) = (packing.kind, packing.plain);
                let stored = packing.finish().map_err(WriteError::Write)?;
                let frame = self.out.frame(&stored, plain)?;
                self.index.lanes[usize::from(kind.number())].push(frame);
            }
            Pending::List(list, plain, stored) => {
                let frame = self.out.frame(&stored, plain)?;
                match list {
                    List::Leaves => self.index.leaves.push(frame),
                    List::Repeats => self.index.repeats.push(frame),
                    List::Choices => self.index.choices.push(frame),
                }
            }
        }
        Ok(())
    }
}

/// The output: counted from the start of the package, hashed from the start of the file.
struct Output<W> {
    out: W,
    hasher: Hasher,
    stub: u64,
    length: u64,
}

impl<W: Write> Output<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let first = self.length == 0 && bytes.len() as u64 == self.stub && self.stub > 0;
        match Signature::find(bytes).filter(|_| first) {
            // Signing changes the program later, and the hash stays true (§3.5).
            Some(signature) => {
                let mut blank = bytes.to_vec();
                signature.blank(0, &mut blank);
                self.hasher.update(&blank);
            }
            None => {
                self.hasher.update(bytes);
            }
        }
        self.out.write_all(bytes).map_err(WriteError::Write)?;
        if !first {
            self.length += bytes.len() as u64;
        }
        Ok(())
    }

    fn frame(&mut self, stored: &[u8], plain: u64) -> Result<Frame, WriteError> {
        let frame = Frame { offset: self.length, stored: stored.len() as u64, plain };
        self.write(stored)?;
        Ok(frame)
    }
}

fn to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
