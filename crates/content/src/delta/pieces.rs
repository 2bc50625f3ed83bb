//! Streams in pieces: each packed by itself with the piece before as its dictionary, in the order a reader needs them
//! (docs/formats/delta.md §4).

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, OnceLock},
};

use zstd::zstd_safe::{CCtx, CParameter};

use super::{Effort, LANES, Stream};

/// A section, ready to be written.
pub(crate) struct Section {
    pub(crate) kind: u8,
    pub(crate) plain: usize,
    pub(crate) stored: Vec<u8>,
}

/// Packs `plain`, `prefix` being known to the reader.
pub(crate) fn pack(plain: &[u8], prefix: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let refuse = |code| io::Error::other(zstd::zstd_safe::get_error_name(code));
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level)).map_err(refuse)?;
    let span = (plain.len() + prefix.len()).max(1 << 10);
    let window = (usize::BITS - (span - 1).leading_zeros()).min(27);
    context.set_parameter(CParameter::WindowLog(window)).map_err(refuse)?;
    context.set_parameter(CParameter::ContentSizeFlag(false)).map_err(refuse)?;
    if level >= Effort::Full.level(Stream::Values) {
        // Addresses that differ repeat in threes: nearly all of what the highest levels gain, at half their time.
        context.set_parameter(CParameter::MinMatch(3)).map_err(refuse)?;
        // Half as many places looked at: a seventh of the time for a hundredth of the bytes.
        context.set_parameter(CParameter::SearchLog(3)).map_err(refuse)?;
    }
    if !prefix.is_empty() {
        context.ref_prefix(prefix).map_err(refuse)?;
    }
    let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(plain.len()));
    context.compress2(&mut out, plain).map_err(refuse)?;
    Ok(out)
}

/// Calls what it is given for each number below the one it is given, in any order, several at once if it likes.
pub type Spread<'s> = &'s (dyn Fn(usize, &(dyn Fn(usize) + Sync)) + Sync);

/// Gathers bytes of all streams, and cuts them into pieces.
pub(crate) struct Pieces {
    open: Vec<Open>,
    /// Pieces, open ones by their number, in the order of their first byte.
    order: VecDeque<Slot>,
    /// Bytes of pieces that are cut and not packed, and of those packed that wait for an earlier one.
    cut: usize,
    waiting: usize,
    numbers: u64,
}

#[derive(Default)]
struct Open {
    bytes: Vec<u8>,
    before: Arc<Vec<u8>>,
    number: u64,
}

enum Slot {
    Open(u64),
    Cut(Job),
    Packed(Section),
}

/// A piece to be packed.
struct Job {
    kind: u8,
    bytes: Arc<Vec<u8>>,
    before: Arc<Vec<u8>>,
    level: i32,
    packed: OnceLock<io::Result<Vec<u8>>>,
}

impl Job {
    fn run(&self) {
        let _ = self.packed.set(pack(&self.bytes, &self.before, self.level));
    }
}

impl Pieces {
    pub(crate) fn new() -> Self {
        let open = (0..LANES * Stream::ALL.len()).map(|_| Open::default()).collect();
        Self { open, order: VecDeque::new(), cut: 0, waiting: 0, numbers: 0 }
    }

    /// Takes bytes of a stream.
    pub(crate) fn put(&mut self, lane: usize, stream: Stream, mut bytes: &[u8], effort: Effort) {
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
                self.cut(index, effort);
            }
        }
    }

    /// Ends all open pieces.
    pub(crate) fn cut_all(&mut self, effort: Effort) {
        (0..self.open.len()).for_each(|index| self.cut(index, effort));
    }

    /// Bytes that wait to be packed.
    pub(crate) fn to_pack(&self) -> usize {
        self.cut
    }

    /// Bytes that wait for an earlier piece to end.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Packs all that is cut.
    pub(crate) fn pack(&mut self, spread: Spread<'_>) -> io::Result<()> {
        let jobs: Vec<&Job> = self
            .order
            .iter()
            .filter_map(|slot| if let Slot::Cut(job) = slot { Some(job) } else { None })
            .collect();
        spread(jobs.len(), &|number| jobs[number].run());
        for slot in &mut self.order {
            let Slot::Cut(job) = slot else { continue };
            let missing = || Err(io::Error::other("a piece was not packed"));
            let stored = job.packed.take().unwrap_or_else(missing)?;
            self.waiting += stored.len();
            *slot = Slot::Packed(Section { kind: job.kind, plain: job.bytes.len(), stored });
        }
        self.cut = 0;
        Ok(())
    }

    /// The next section no earlier one is missing before.
    pub(crate) fn next(&mut self) -> Option<Section> {
        if !matches!(self.order.front(), Some(Slot::Packed(_))) {
            return None;
        }
        match self.order.pop_front() {
            Some(Slot::Packed(section)) => {
                self.waiting -= section.stored.len();
                Some(section)
            }
            _ => None,
        }
    }

    fn cut(&mut self, index: usize, effort: Effort) {
        let open = &mut self.open[index];
        if open.bytes.is_empty() {
            return;
        }
        let bytes = Arc::new(std::mem::take(&mut open.bytes));
        let before = std::mem::replace(&mut open.before, Arc::clone(&bytes));
        self.cut += bytes.len();
        let number = open.number;
        let kind = u8::try_from(index + 1).unwrap_or(u8::MAX);
        let level = effort.level(Stream::ALL[index % Stream::ALL.len()]);
        let job = Job { kind, bytes, before, level, packed: OnceLock::new() };
        if let Some(slot) =
            self.order.iter_mut().find(|slot| matches!(slot, Slot::Open(open) if *open == number))
        {
            *slot = Slot::Cut(job);
        }
    }
}
