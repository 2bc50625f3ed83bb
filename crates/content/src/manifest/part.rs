use minicbor::{Decode, Encode, Encoder};
use model::Hash;
use package::FrameShape;

use super::{MANIFEST_FORMAT, MAX_SECTION, ReadManifestError, START, damaged};
use crate::Object;

/// §2.1: kinds of sections.
pub(super) const HEAD: u8 = 0;
pub(super) const NODES: u8 = 1;
pub(super) const LEAVES: u8 = 2;
pub(super) const END: u8 = 255;
/// Sections are written when they have so many bytes: what a reader unpacks at once.
const SECTION: usize = 1 << 20;
/// Hashes do not pack, and the rest is little: more level gains nothing.
const LEVEL: i32 = 15;

/// §3: what a part says beside its nodes and leaves.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct PartHead {
    /// The package's header, as the package has it.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub header: Vec<u8>,
    /// The root of the package's hash tree.
    #[n(1)]
    pub root: Hash,
    /// The packs this part's chunks are in.
    #[n(2)]
    pub packs: Vec<Object>,
    /// The frames of those packs that hold them.
    #[n(3)]
    pub frames: Vec<PackFrame>,
}

/// A frame of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct PackFrame {
    /// The pack, by position among the packs.
    #[n(0)]
    pub pack: u32,
    /// Where it starts in the pack, in bytes.
    #[n(1)]
    pub offset: u64,
    /// Its bytes in the pack.
    #[n(2)]
    pub stored: u64,
    /// The bytes it unpacks to.
    #[n(3)]
    pub plain: u64,
    /// How far it looks back, as a power of two.
    #[n(4)]
    pub window_log: u32,
    /// Whether it went through the x86 filter.
    #[n(5)]
    pub filtered: bool,
}

impl PackFrame {
    /// What unpacking it needs to know.
    pub fn shape(&self) -> FrameShape {
        FrameShape {
            stored: self.stored,
            plain: self.plain,
            window_log: self.window_log,
            filtered: self.filtered,
        }
    }

    /// Where it ends in the pack.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.stored)
    }
}

/// Chunks that lie one after the other in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Run {
    /// How many.
    #[n(0)]
    pub chunks: u64,
    /// The frame, by position among the part's frames.
    #[n(1)]
    pub frame: u32,
    /// Where the first starts in what the frame unpacks to.
    #[n(2)]
    pub offset: u64,
}

/// A leaf of the package's tree, and where the chunks of its files lie.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct PlacedLeaf {
    /// Its canonical bytes.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub leaf: Vec<u8>,
    /// Where: for all chunks of its files, in the records' order.
    #[n(1)]
    pub runs: Vec<Run>,
}

/// Writes a part of a manifest.
#[derive(Debug)]
pub struct PartWriter {
    bytes: Vec<u8>,
    nodes: Vec<u8>,
    leaves: Vec<u8>,
}

impl PartWriter {
    /// Starts a part.
    pub fn new(head: &PartHead) -> Self {
        let mut bytes = START.to_vec();
        bytes.extend_from_slice(&MANIFEST_FORMAT.to_le_bytes());
        let mut plain = Vec::new();
        let _ = minicbor::encode(head, &mut plain);
        section(HEAD, &plain, &mut bytes);
        Self { bytes, nodes: Vec::new(), leaves: Vec::new() }
    }

    /// Takes an upper node of the tree, by its canonical bytes.
    pub fn node(&mut self, bytes: &[u8]) {
        let _ = Encoder::new(&mut self.nodes).bytes(bytes);
        if self.nodes.len() >= SECTION {
            section(NODES, &std::mem::take(&mut self.nodes), &mut self.bytes);
        }
    }

    /// Takes a leaf.
    pub fn leaf(&mut self, leaf: &PlacedLeaf) {
        let _ = minicbor::encode(leaf, &mut self.leaves);
        if self.leaves.len() >= SECTION {
            section(LEAVES, &std::mem::take(&mut self.leaves), &mut self.bytes);
        }
    }

    /// Its bytes.
    pub fn finish(mut self) -> Vec<u8> {
        for (kind, plain) in [(LEAVES, &self.leaves), (NODES, &self.nodes)] {
            if !plain.is_empty() {
                section(kind, plain, &mut self.bytes);
            }
        }
        section(END, &[], &mut self.bytes);
        self.bytes
    }
}

/// §2.1: kind, lengths, a zstd frame.
fn section(kind: u8, plain: &[u8], out: &mut Vec<u8>) {
    // Into memory, with a level that exists: it cannot fail.
    let stored = if plain.is_empty() {
        Vec::new()
    } else {
        zstd::bulk::compress(plain, LEVEL).unwrap_or_default()
    };
    out.push(kind);
    for length in [plain.len(), stored.len()] {
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }
    out.extend_from_slice(&stored);
}

/// A section of a part, still packed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    pub(super) kind: u8,
    pub(super) plain: usize,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Section {
    pub(super) fn unpack(&self, part: &[u8]) -> Result<Vec<u8>, ReadManifestError> {
        let plain = zstd::bulk::decompress(&part[self.from..self.to], self.plain)
            .map_err(|error| damaged(format!("it does not unpack: {error}")))?;
        if plain.len() == self.plain {
            Ok(plain)
        } else {
            Err(damaged("a section unpacks to another length than it says"))
        }
    }
}

/// The sections of a part, the head first.
pub(super) fn sections(bytes: &[u8]) -> Result<Vec<Section>, ReadManifestError> {
    let rest = bytes.strip_prefix(START).ok_or_else(|| damaged("it does not start as one"))?;
    let (format, _) = rest.split_first_chunk().ok_or_else(|| damaged("it is cut off"))?;
    let format = u32::from_le_bytes(*format);
    if format != MANIFEST_FORMAT {
        return Err(ReadManifestError::OtherFormat { found: format, known: MANIFEST_FORMAT });
    }
    let mut at = START.len() + 4;
    let mut all = Vec::new();
    loop {
        let lead: [u8; 9] = bytes
            .get(at..at + 9)
            .and_then(|lead| lead.try_into().ok())
            .ok_or_else(|| damaged("it is cut off"))?;
        let number = |from: usize| {
            u32::from_le_bytes(lead[from..from + 4].try_into().unwrap_or_default()) as usize
        };
        let (plain, stored) = (number(1), number(5));
        at += 9;
        if lead[0] == END {
            break;
        }
        if plain > MAX_SECTION || stored > bytes.len() - at {
            return Err(damaged("a section has a length none may have"));
        }
        all.push(Section { kind: lead[0], plain, from: at, to: at + stored });
        at += stored;
    }
    if all.first().is_none_or(|first| first.kind != HEAD) {
        return Err(damaged("its head is missing"));
    }
    Ok(all)
}
