use std::io::{self, Read, Seek};

use model::Extent;
use package::{Contents, NoRecall};

/// The content of the file whose record came last, as it is installed: holes as zeros, variables as values.
pub(crate) struct FileReader<'c, 'p, R> {
    contents: &'c mut Contents<'p, R>,
    /// Bytes in the package, holes counted.
    length: u64,
    /// How far the package was read.
    position: u64,
    changes: std::vec::IntoIter<(Extent, Vec<u8>)>,
    next: Option<(Extent, Vec<u8>)>,
    /// A piece that lies behind a hole.
    waiting: Option<(u64, Vec<u8>)>,
    buffer: Vec<u8>,
    used: usize,
}

const ZEROS: u64 = 64 << 10;

impl<'c, 'p, R: Read + Seek> FileReader<'c, 'p, R> {
    pub(crate) fn new(
        contents: &'c mut Contents<'p, R>,
        length: u64,
        changes: Vec<(Extent, Vec<u8>)>,
    ) -> Self {
        let mut changes = changes.into_iter();
        let next = changes.next();
        let (waiting, buffer) = (None, Vec::new());
        Self { contents, length, position: 0, changes, next, waiting, buffer, used: 0 }
    }

    fn fill(&mut self) -> io::Result<()> {
        (self.used, self.buffer) = (0, std::mem::take(&mut self.buffer));
        self.buffer.clear();
        while self.buffer.is_empty() && self.position < self.length {
            if self.waiting.is_none() {
                let piece = self.contents.piece(&mut NoRecall).map_err(io::Error::other)?;
                self.waiting = piece.map(|piece| (piece.offset, piece.data.to_vec()));
            }
            match self.waiting.take() {
                Some((offset, data)) if offset <= self.position => self.take(&data),
                waiting => {
                    let end = waiting.as_ref().map_or(self.length, |(offset, _)| *offset);
                    let zeros = (end - self.position).min(ZEROS);
                    self.waiting = waiting;
                    self.take(&vec![0; usize::try_from(zeros).unwrap_or(0)]);
                }
            }
        }
        Ok(())
    }

    /// Takes the next bytes of the package, with what stands in their place.
    fn take(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let Some((range, with)) = &mut self.next else {
                self.buffer.extend_from_slice(data);
                self.position += data.len() as u64;
                return;
            };
            let usize_of = |length: u64| usize::try_from(length).unwrap_or(usize::MAX);
            if self.position < range.offset {
                let plain = usize_of(range.offset - self.position).min(data.len());
                self.buffer.extend_from_slice(&data[..plain]);
                self.position += plain as u64;
                data = &data[plain..];
                continue;
            }
            self.buffer.append(with);
            let end = range.offset + range.length;
            let over = usize_of(end - self.position).min(data.len());
            self.position += over as u64;
            data = &data[over..];
            if self.position == end {
                self.next = self.changes.next();
            }
        }
    }
}

impl<R: Read + Seek> Read for FileReader<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.buffer.len() {
            self.fill()?;
        }
        let count = (self.buffer.len() - self.used).min(buffer.len());
        buffer[..count].copy_from_slice(&self.buffer[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}
