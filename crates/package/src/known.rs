//! What the writer remembers, to find what repeats (docs/formats/package.md §9.1).

use std::{collections::HashMap, sync::Arc};

use model::Hash;

use crate::{Chunk, Origin, Record, lane::Kind, repeat::Repeat};

/// A repeated chunk shorter than this is cheaper written again than referred to.
const WORTH_REFERRING: u32 = 64;

/// The frame of a lane that is being filled, and where in the lane's stream it starts.
#[derive(Default)]
pub(crate) struct OpenLane {
    pub(crate) bytes: Vec<u8>,
    pub(crate) start: u64,
}

/// Chunks seen, of which the older half is forgotten when there are too many: memory has a bound, and
/// what is forgotten is merely written again.
pub(crate) struct Known {
    remembered: usize,
    young: HashMap<Hash, First>,
    old: HashMap<Hash, First>,
}

/// Where a chunk was first.
pub(crate) struct First {
    pub(crate) kind: Kind,
    pub(crate) position: u64,
    /// The file and the place in it, if the bytes lie there in one piece.
    pub(crate) origin: Option<(Arc<FileKey>, u64)>,
}

/// A file of the payload.
pub(crate) struct FileKey {
    pub(crate) tree: u32,
    pub(crate) path: Vec<u8>,
}

impl Known {
    /// Remembers so many chunks at least, once there are as many, and at most twice as many.
    pub(crate) fn new(remembered: usize) -> Self {
        Self { remembered, young: HashMap::new(), old: HashMap::new() }
    }

    /// How to refer to a chunk seen before, unless it is better written again.
    pub(crate) fn repeat(
        &self,
        chunk: Chunk,
        ordinal: u64,
        kind: Kind,
        lane: &OpenLane,
    ) -> Option<Repeat> {
        let first = self.young.get(&chunk.hash).or_else(|| self.old.get(&chunk.hash))?;
        let position = lane.start + lane.bytes.len() as u64;
        // Packing finds by itself what is in the same frame and not far back.
        let near = first.kind == kind
            && first.position >= lane.start
            && position - first.position < (1 << kind.window_log()) / 2;
        (!near && chunk.length >= WORTH_REFERRING).then(|| Repeat {
            chunk: ordinal,
            lane: first.kind.number(),
            position: first.position,
            origin: first.origin(),
        })
    }

    pub(crate) fn insert(&mut self, hash: Hash, first: First) {
        if self.young.len() >= self.remembered {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, first);
    }

    pub(crate) fn forget_origin(&mut self, hash: &Hash, record: &Record) {
        for first in [self.young.get_mut(hash), self.old.get_mut(hash)].into_iter().flatten() {
            let is_this = first
                .origin
                .as_ref()
                .is_some_and(|(file, _)| file.tree == record.tree && file.path == record.path);
            if is_this {
                first.origin = None;
            }
        }
    }
}

impl First {
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.origin.as_ref().map(|(file, offset)| Origin {
            tree: file.tree,
            path: file.path.clone(),
            offset: *offset,
        })
    }
}
