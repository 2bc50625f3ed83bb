//! Data between holes: where it is in its file, and the hash of the file with the holes read as zeros.

use std::sync::Arc;

use model::{Extent, Hash, Hasher};

use crate::known::FileKey;

/// Where in a file its data is, piece after piece.
pub(crate) struct Place<'h> {
    file: Arc<FileKey>,
    holes: std::iter::Copied<std::slice::Iter<'h, Extent>>,
    hole: Option<Extent>,
    offset: u64,
}

impl<'h> Place<'h> {
    pub(crate) fn new(tree: u32, path: &[u8], holes: &'h [Extent]) -> Self {
        let mut holes = holes.iter().copied();
        let hole = holes.next();
        Self { file: Arc::new(FileKey { tree, path: path.to_vec() }), holes, hole, offset: 0 }
    }

    /// Where the next `length` bytes of data are, unless a hole divides them.
    pub(crate) fn next(&mut self, length: u64) -> Option<(Arc<FileKey>, u64)> {
        let mut left = length;
        let mut pieces = 0;
        let mut start = self.offset;
        while left > 0 {
            match self.hole {
                Some(hole) if hole.offset <= self.offset => {
                    self.offset = hole.offset + hole.length;
                    self.hole = self.holes.next();
                }
                hole => {
                    let room = hole.map_or(u64::MAX, |hole| hole.offset - self.offset);
                    let take = room.min(left);
                    if pieces == 0 {
                        start = self.offset;
                    }
                    pieces += 1;
                    self.offset += take;
                    left -= take;
                }
            }
        }
        (pieces == 1).then(|| (self.file.clone(), start))
    }
}

/// The hash of a file, holes read as zeros.
pub(crate) struct WholeHash<'h> {
    hasher: Hasher,
    holes: std::iter::Copied<std::slice::Iter<'h, Extent>>,
    hole: Option<Extent>,
    offset: u64,
}

impl<'h> WholeHash<'h> {
    pub(crate) fn new(holes: &'h [Extent]) -> Self {
        let mut holes = holes.iter().copied();
        let hole = holes.next();
        Self { hasher: Hasher::new(), holes, hole, offset: 0 }
    }

    pub(crate) fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            self.pass_holes();
            let room = self.hole.map_or(u64::MAX, |hole| hole.offset - self.offset);
            let take = usize::try_from(room).unwrap_or(usize::MAX).min(data.len());
            self.hasher.update(&data[..take]);
            self.offset += take as u64;
            data = &data[take..];
        }
    }

    pub(crate) fn finish(mut self, length: u64) -> Hash {
        self.pass_holes();
        debug_assert_eq!(self.offset, length);
        self.hasher.finish()
    }

    fn pass_holes(&mut self) {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while let Some(hole) = self.hole.filter(|hole| hole.offset <= self.offset) {
            let mut left = hole.length;
            while left > 0 {
                let take = left.min(ZEROS.len() as u64);
                self.hasher.update(&ZEROS[..usize::try_from(take).unwrap_or(ZEROS.len())]);
                left -= take;
            }
            self.offset = hole.offset + hole.length;
            self.hole = self.holes.next();
        }
    }
}
