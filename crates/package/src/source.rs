use std::io::{ErrorKind, Read, Seek, SeekFrom};

use crate::{Damage, Part, ReadError};

/// The file a package is in, read by position from the package's start.
pub(crate) struct Source<R> {
    inner: R,
    stub: u64,
}

impl<R: Read + Seek> Source<R> {
    pub(crate) fn new(inner: R, stub: u64) -> Self {
        Self { inner, stub }
    }

    /// A position in the package as a position in the file.
    pub(crate) fn absolute(&self, offset: u64) -> u64 {
        self.stub.saturating_add(offset)
    }

    /// Fills `buffer` from a position in the file.
    pub(crate) fn read_file(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let stub = std::mem::take(&mut self.stub);
        let result = self.read_exact(Part::Whole, offset, buffer);
        self.stub = stub;
        result
    }

    /// Fills `buffer` from `offset` on.
    pub(crate) fn read_exact(
        &mut self,
        part: Part,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), ReadError> {
        let at = self.absolute(offset);
        let result =
            self.inner.seek(SeekFrom::Start(at)).and_then(|_| self.inner.read_exact(buffer));
        result.map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => Damage::new(part, at, "it ends too early").into(),
            _ => ReadError::Read { at, source },
        })
    }
}
