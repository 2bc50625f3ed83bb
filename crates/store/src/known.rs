//! What a distribution point has already that a new release may share: chunks by hash, and hints where to look for them.

use std::collections::{HashMap, HashSet};

use content::{Catalogue, Index, Object, PackFrame, ReadManifestError, Release};
use minicbor::{Decode, Encode};
use model::{Hash, PackageName};

use crate::{Point, PointError};

/// Where the hints are: one small file that anybody may lose or overwrite; it only says where to look.
const HINTS: &str = "hints/chunks";
/// No hints are longer, in bytes.
const MOST_HINTS: usize = 32 << 20;
/// Of so many chunks one, chosen by its hash, is a hint.
const SAMPLED: u8 = 8;
/// A release has no more hints.
const MOST_OF_RELEASE: usize = 4096;
/// So many releases of other packages are looked into at most.
const CHAMPIONS: usize = 6;
/// Fewer common hints may be chance: a licence text, an empty table.
const LEAST_COMMON: usize = 2;

/// A frame of a pack that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KnownFrame {
    pub(crate) pack: Object,
    pub(crate) frame: PackFrame,
}

/// Chunks that are there already.
#[derive(Default)]
pub(crate) struct Known {
    frames: Vec<KnownFrame>,
    by_frame: HashMap<(Hash, u64), u32>,
    chunks: HashMap<Hash, (u32, u64)>,
}

impl Known {
    /// Takes what a release holds. What was taken first is preferred.
    pub(crate) fn take(&mut self, catalogue: &Catalogue) -> Result<(), ReadManifestError> {
        for entry in catalogue.entries() {
            for place in entry?.places {
                let frame = catalogue.frames()[place.frame as usize];
                let pack = catalogue.packs()[frame.pack as usize];
                let next = u32::try_from(self.frames.len()).unwrap_or(u32::MAX);
                let number = *self.by_frame.entry((pack.hash, frame.offset)).or_insert(next);
                if number == next {
                    self.frames.push(KnownFrame { pack, frame });
                }
                self.chunks.entry(place.chunk.hash).or_insert((number, place.offset));
            }
        }
        Ok(())
    }

    /// Where a chunk is.
    pub(crate) fn find(&self, chunk: &Hash) -> Option<(u32, u64)> {
        self.chunks.get(chunk).copied()
    }

    /// A frame by its number.
    pub(crate) fn frame(&self, number: u32) -> KnownFrame {
        self.frames[number as usize]
    }
}

/// What hints say of one release.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Hint {
    #[n(0)]
    name: PackageName,
    #[n(1)]
    identity: Hash,
    #[n(2)]
    chunks: Vec<u64>,
}

/// The hints of a distribution point.
pub(crate) struct Hints(Vec<Hint>);

/// The chunks of a release that are hints.
pub(crate) fn sample<'c>(chunks: impl Iterator<Item = &'c Hash>) -> Vec<u64> {
    let mut sampled: Vec<u64> = chunks
        .filter(|hash| hash.0[31].is_multiple_of(SAMPLED))
        .map(|hash| u64::from_le_bytes(hash.0[..8].try_into().unwrap_or_default()))
        .collect();
    sampled.sort_unstable();
    sampled.dedup();
    sampled.truncate(MOST_OF_RELEASE);
    sampled
}

impl Hints {
    /// Reads them; hints that cannot be read are none.
    pub(crate) fn read(point: &Point) -> Result<Self, PointError> {
        let bytes = point.read_small(HINTS)?.filter(|bytes| bytes.len() <= MOST_HINTS);
        Ok(Self(bytes.and_then(|bytes| minicbor::decode(&bytes).ok()).unwrap_or_default()))
    }

    /// Releases of other packages that likely share content, those that share most first.
    pub(crate) fn champions(&self, own: &PackageName, sampled: &[u64]) -> Vec<(PackageName, Hash)> {
        let wanted: HashSet<_> = sampled.iter().collect();
        let mut scored: Vec<_> = self
            .0
            .iter()
            .filter(|hint| hint.name != *own)
            .map(|hint| (hint.chunks.iter().filter(|chunk| wanted.contains(chunk)).count(), hint))
            .filter(|(common, _)| *common >= LEAST_COMMON)
            .collect();
        scored.sort_by_key(|(common, _)| std::cmp::Reverse(*common));
        // Of one package's releases one says what the others say.
        let mut names = HashSet::new();
        scored.retain(|(_, hint)| names.insert(&hint.name));
        scored
            .into_iter()
            .take(CHAMPIONS)
            .map(|(_, hint)| (hint.name.clone(), hint.identity))
            .collect()
    }

    /// Adds a release, and writes them; the oldest go when they are too many.
    pub(crate) fn add(
        mut self,
        point: &Point,
        name: &PackageName,
        identity: Hash,
        sampled: Vec<u64>,
    ) -> Result<(), PointError> {
        if sampled.is_empty() {
            return Ok(());
        }
        self.0.retain(|hint| hint.identity != identity);
        self.0.push(Hint { name: name.clone(), identity, chunks: sampled });
        let mut bytes = minicbor::to_vec(&self.0).unwrap_or_default();
        while bytes.len() > MOST_HINTS / 2 && self.0.len() > 1 {
            self.0.drain(..self.0.len() / 2);
            bytes = minicbor::to_vec(&self.0).unwrap_or_default();
        }
        point.write_small(HINTS, bytes)
    }
}

/// The record of a release, if it is still there.
pub(crate) fn release_of(
    point: &Point,
    name: &PackageName,
    identity: Hash,
) -> Result<Option<Release>, PointError> {
    let Some(bytes) = point.read_small(&Index::record_path(name, identity))? else {
        return Ok(None);
    };
    Ok(Index::parse(&bytes).ok().and_then(|index| index.releases.into_iter().next()))
}
