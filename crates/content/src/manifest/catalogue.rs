use std::collections::{HashMap, HashSet};

use minicbor::Decoder;
use model::Hash;
use package::{Chunk, Header, Leaf, ManifestNode, Node, Record, RecordCheck, identity};

use super::{
    PackFrame, PartHead, PlacedLeaf, ReadManifestError, Run, damaged,
    part::{HEAD, LEAVES, NODES, Section, sections},
};
use crate::Object;

/// A release's manifest, whole: its own part, and what it needs of older ones.
///
/// Every leaf and node was held against its hash, from the identity down; where chunks lie is the publisher's word,
/// and what is read there is held against the chunks' hashes. Leaves stay packed until they are read.
#[derive(Clone, Debug)]
pub struct Catalogue {
    header: Header,
    head: PartHead,
    identity: Hash,
    parts: Vec<Part>,
    packs: Vec<Object>,
    frames: Vec<PackFrame>,
    leaves: Vec<LeafPlace>,
    known: HashSet<Hash>,
}

#[derive(Clone, Debug)]
struct Part {
    bytes: Vec<u8>,
    sections: Vec<Section>,
    /// By the position of a frame in the part, its position in the catalogue.
    frames: Vec<u32>,
}

/// Where a leaf is: part, section, bytes into the section.
#[derive(Clone, Copy, Debug)]
struct LeafPlace {
    part: u32,
    section: u32,
    offset: u32,
}

/// Where a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The chunk.
    pub chunk: Chunk,
    /// The frame it is in, by position among [`Catalogue::frames`].
    pub frame: u32,
    /// Where it starts in what the frame unpacks to.
    pub offset: u64,
}

/// A record and where its chunks lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The record.
    pub record: Record,
    /// Its chunks, in order; none but a file's has any.
    pub places: Vec<Place>,
}

impl Catalogue {
    /// Puts a release's manifest together; `parts` are its own part and the older ones it names, in any order but
    /// that its own comes first.
    pub fn open(parts: Vec<Vec<u8>>, wanted: Hash) -> Result<Self, ReadManifestError> {
        let mut opening = Opening::default();
        for bytes in parts {
            opening.part(bytes)?;
        }
        let Opening { parts, packs, frames, leaves, nodes, head, .. } = opening;
        let head = head.ok_or_else(|| damaged("it has no part"))?;
        if identity(&head.header, &head.root) != wanted {
            return Err(damaged("it is another release's"));
        }
        let header: Header = minicbor::decode(&head.header)
            .map_err(|error| damaged(format!("its header does not parse: {error}")))?;
        let mut walk =
            Walk { leaves: &leaves, nodes: &nodes, found: Vec::new(), seen: HashSet::new() };
        walk.down(head.root, u32::MAX)?;
        let (leaves, known) = (walk.found, walk.seen);
        Ok(Self { header, head, identity: wanted, parts, packs, frames, leaves, known })
    }

    /// What the package is and does.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The same, as the package has it.
    pub fn header_bytes(&self) -> &[u8] {
        &self.head.header
    }

    /// The identity of the package.
    pub fn identity(&self) -> Hash {
        self.identity
    }

    /// The packs its content is in.
    pub fn packs(&self) -> &[Object] {
        &self.packs
    }

    /// The frames of those packs that hold content of it, or held some of the older releases'.
    pub fn frames(&self) -> &[PackFrame] {
        &self.frames
    }

    /// Whether a node or leaf of the tree has this hash.
    pub fn has(&self, node: &Hash) -> bool {
        self.known.contains(node)
    }

    /// The records in order, and where their chunks lie.
    pub fn entries(&self) -> Entries<'_> {
        Entries {
            catalogue: self,
            next: 0,
            open: None,
            ready: Vec::new().into_iter(),
            check: RecordCheck::default(),
        }
    }
}

/// Parts that are being read.
#[derive(Default)]
struct Opening {
    parts: Vec<Part>,
    packs: Vec<Object>,
    frames: Vec<PackFrame>,
    by_frame: HashMap<PackFrame, u32>,
    leaves: HashMap<Hash, LeafPlace>,
    nodes: HashMap<Hash, Vec<u8>>,
    head: Option<PartHead>,
}

impl Opening {
    fn part(&mut self, bytes: Vec<u8>) -> Result<(), ReadManifestError> {
        let sections = sections(&bytes)?;
        let mut frames = Vec::new();
        let part = number(self.parts.len());
        for (index, section) in sections.iter().enumerate() {
            let plain = section.unpack(&bytes)?;
            match section.kind {
                HEAD => frames = self.head(&plain)?,
                NODES => self.nodes(&plain)?,
                LEAVES => self.leaves(&plain, part, number(index))?,
                // What a newer writer adds beside is passed over.
                _ => {}
            }
        }
        self.parts.push(Part { bytes, sections, frames });
        Ok(())
    }

    fn head(&mut self, plain: &[u8]) -> Result<Vec<u32>, ReadManifestError> {
        let head: PartHead = minicbor::decode(plain)
            .map_err(|error| damaged(format!("its head does not parse: {error}")))?;
        let mut frames = Vec::with_capacity(head.frames.len());
        for frame in &head.frames {
            let object = head.packs.get(frame.pack as usize);
            let Some(object) = object.filter(|object| frame.end() <= object.length) else {
                return Err(damaged(format!("the frame at {} is outside its pack", frame.offset)));
            };
            if !frame.shape().is_possible() {
                return Err(damaged(format!("the frame at {} is impossible", frame.offset)));
            }
            let pack = self.packs.iter().position(|pack| pack == object).unwrap_or_else(|| {
                self.packs.push(*object);
                self.packs.len() - 1
            });
            let frame = PackFrame { pack: number(pack), ..*frame };
            let next = number(self.frames.len());
            let position = *self.by_frame.entry(frame).or_insert(next);
            if position == next {
                self.frames.push(frame);
            }
            frames.push(position);
        }
        self.head.get_or_insert(head);
        Ok(frames)
    }

    fn nodes(&mut self, plain: &[u8]) -> Result<(), ReadManifestError> {
        let mut decoder = Decoder::new(plain);
        while decoder.position() < plain.len() {
            let node = decoder
                .bytes()
                .map_err(|error| damaged(format!("a node does not parse: {error}")))?;
            self.nodes.insert(Hash::of(node), node.to_vec());
        }
        Ok(())
    }

    fn leaves(&mut self, plain: &[u8], part: u32, section: u32) -> Result<(), ReadManifestError> {
        let mut decoder = Decoder::new(plain);
        while decoder.position() < plain.len() {
            let offset = number(decoder.position());
            let placed: PlacedLeaf = decoder
                .decode()
                .map_err(|error| damaged(format!("a leaf does not parse: {error}")))?;
            let place = LeafPlace { part, section, offset };
            self.leaves.entry(Hash::of(&placed.leaf)).or_insert(place);
        }
        Ok(())
    }
}

/// From the root down to the leaves.
struct Walk<'o> {
    leaves: &'o HashMap<Hash, LeafPlace>,
    nodes: &'o HashMap<Hash, Vec<u8>>,
    found: Vec<LeafPlace>,
    seen: HashSet<Hash>,
}

impl Walk<'_> {
    fn down(&mut self, hash: Hash, above: u32) -> Result<(), ReadManifestError> {
        // Names are in a tree once; so nothing is, and a tree cannot grow without end.
        if !self.seen.insert(hash) {
            return Err(damaged("a part of its tree comes twice"));
        }
        if let Some(leaf) = self.leaves.get(&hash) {
            self.found.push(*leaf);
            return Ok(());
        }
        let node = self
            .nodes
            .get(&hash)
            .ok_or_else(|| damaged(format!("`{hash}` of its tree is missing")))?;
        let (height, children) = ManifestNode::children(node).map_err(damaged)?;
        if height >= above {
            return Err(damaged("its tree has no shape"));
        }
        children.into_iter().try_for_each(|child| self.down(child, height))
    }
}

/// The records of a release, in order. Ends after the first error.
pub struct Entries<'c> {
    catalogue: &'c Catalogue,
    next: usize,
    open: Option<(u32, u32, Vec<u8>)>,
    ready: std::vec::IntoIter<Entry>,
    check: RecordCheck,
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, ReadManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.next() {
                return Some(Ok(entry));
            }
            let leaf = *self.catalogue.leaves.get(self.next)?;
            self.next += 1;
            match self.read(leaf) {
                Ok(entries) => self.ready = entries.into_iter(),
                Err(error) => {
                    self.next = usize::MAX;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Entries<'_> {
    fn read(&mut self, leaf: LeafPlace) -> Result<Vec<Entry>, ReadManifestError> {
        let part = &self.catalogue.parts[leaf.part as usize];
        let is_open =
            self.open.as_ref().is_some_and(|open| (open.0, open.1) == (leaf.part, leaf.section));
        if !is_open {
            let plain = part.sections[leaf.section as usize].unpack(&part.bytes)?;
            self.open = Some((leaf.part, leaf.section, plain));
        }
        let plain = self.open.as_ref().map_or(&[][..], |open| &open.2[leaf.offset as usize..]);
        let placed: PlacedLeaf = minicbor::decode(plain)
            .map_err(|error| damaged(format!("a leaf does not parse: {error}")))?;
        let run = Run { chunks: 0, frame: 0, offset: 0 };
        let frames = &self.catalogue.frames;
        let mut runs = Places { part, frames, runs: placed.runs.iter(), run };
        let mut entries = Vec::new();
        for record in Leaf::parse(&placed.leaf).map_err(damaged)? {
            self.check.check(&record, self.catalogue.header.trees.len()).map_err(damaged)?;
            let places = match &record.node {
                Node::File(content) => {
                    content.each_chunk().map(|chunk| runs.next(chunk)).collect::<Result<_, _>>()?
                }
                _ => Vec::new(),
            };
            entries.push(Entry { record, places });
        }
        Ok(entries)
    }
}

/// Runs, chunk by chunk.
struct Places<'r> {
    part: &'r Part,
    frames: &'r [PackFrame],
    runs: std::slice::Iter<'r, Run>,
    run: Run,
}

impl Places<'_> {
    fn next(&mut self, chunk: Chunk) -> Result<Place, ReadManifestError> {
        while self.run.chunks == 0 {
            self.run =
                *self.runs.next().ok_or_else(|| damaged("it does not say where all chunks lie"))?;
        }
        let frame = self
            .part
            .frames
            .get(self.run.frame as usize)
            .ok_or_else(|| damaged("a run is in a frame that is not there"))?;
        let place = Place { chunk, frame: *frame, offset: self.run.offset };
        let end = place.offset.saturating_add(chunk.length.into());
        if end > self.frames[*frame as usize].plain {
            return Err(damaged("a chunk reaches beyond its frame"));
        }
        self.run.chunks -= 1;
        self.run.offset = end;
        Ok(place)
    }
}

fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
