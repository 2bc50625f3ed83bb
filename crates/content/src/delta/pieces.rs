//! Streams in pieces: each packed by itself with the piece before as its dictionary, in the order a reader needs them
//! (docs/formats/delta.md §4).

use std::collections::VecDeque;

use zstd::zstd_safe::{CCtx, CParameter};

use super::{LANES, Stream};

/// A section, ready to be written.
pub(crate) struct Section {
    pub(crate) kind: u8,
    pub(crate) plain: usize,
    pub(crate) stored: Vec<u8>,
}

/// Packs `plain`, `prefix` being known to the reader.
pub(crate) fn pack(plain: &[u8], prefix: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
    let refuse = |code| std::io::Error::other(zstd::zstd_safe::get_error_name(code));
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level)).map_err(refuse)?;
    let span = (plain.len() + prefix.len()).max(1 << 10);
    let window = (usize::BITS - (span - 1).leading_zeros()).min(27);
    context.set_parameter(CParameter::WindowLog(window)).map_err(refuse)?;
    context.set_parameter(CParameter::ContentSizeFlag(false)).map_err(refuse)?;
    if !prefix.is_empty() {
        context.ref_prefix(prefix).map_err(refuse)?;
    }
    let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(plain.len()));
    context.compress2(&mut out, plain).map_err(refuse)?;
    Ok(out)
}

/// Gathers bytes of all streams, and cuts them into pieces.
pub(crate) struct Pieces {
    open: Vec<Open>,
    /// Sealed pieces, and open ones by their number, in the order of their first byte.
    order: VecDeque<Slot>,
    waiting: usize,
    numbers: u64,
}

#[derive(Default)]
struct Open {
    bytes: Vec<u8>,
    before: Vec<u8>,
    number: u64,
}

enum Slot {
    Open(u64),
    Sealed(Section),
}

impl Pieces {
    pub(crate) fn new() -> Self {
        let open = (0..LANES * Stream::ALL.len()).map(|_| Open::default()).collect();
        Self { open, order: VecDeque::new(), waiting: 0, numbers: 0 }
    }

    /// Takes bytes of a stream.
    pub(crate) fn put(
        &mut self,
        lane: usize,
        stream: Stream,
        mut bytes: &[u8],
        level: i32,
    ) -> std::io::Result<()> {
        let index = lane * Stream::ALL.len() + stream as usize;
        while !bytes.is_empty() {
            let open = &mut self.open[index];
            if open.bytes.is_empty() {
                self.numbers += 1;
                open.number = self.numbers;
                self.order.push_back(Slot::Open(self.numbers));
            }
            let take = bytes.len().min(stream.piece() - open.bytes.len());
            open.bytes.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if open.bytes.len() == stream.piece() {
                self.seal(index, level)?;
            }
        }
        Ok(())
    }

    /// Ends all open pieces.
    pub(crate) fn seal_all(&mut self, level: i32) -> std::io::Result<()> {
        (0..self.open.len()).try_for_each(|index| self.seal(index, level))
    }

    /// Bytes that wait for an earlier piece to end.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// The next section no earlier one is missing before.
    pub(crate) fn next(&mut self) -> Option<Section> {
        if !matches!(self.order.front(), Some(Slot::Sealed(_))) {
            return None;
        }
        match self.order.pop_front() {
            Some(Slot::Sealed(section)) => {
                self.waiting -= section.stored.len();
                Some(section)
            }
            _ => None,
        }
    }

    fn seal(&mut self, index: usize, level: i32) -> std::io::Result<()> {
        let open = &mut self.open[index];
        if open.bytes.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut open.bytes);
        let stored = pack(&bytes, &open.before, level)?;
        self.waiting += stored.len();
        let number = open.number;
        let kind = u8::try_from(index + 1).unwrap_or(u8::MAX);
        let section = Section { kind, plain: bytes.len(), stored };
        open.before = bytes;
        if let Some(slot) =
            self.order.iter_mut().find(|slot| matches!(slot, Slot::Open(open) if *open == number))
        {
            *slot = Slot::Sealed(section);
        }
        Ok(())
    }
}
