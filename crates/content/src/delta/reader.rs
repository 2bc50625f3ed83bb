use std::{
    collections::VecDeque,
    io::{self, Read},
};

use zstd::zstd_safe::DCtx;

use super::{
    DELTA_FORMAT, DeltaHead, END, HEAD, LANES, MAX_OUTLINES, OUTLINES, Outline, SEGMENT, START,
    Stream, unfold,
};

/// A delta that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum ReadDeltaError {
    /// It was made by a newer version.
    #[error(
        "the delta has format {found}, and this program reads formats up to {known}: use a newer packhorse"
    )]
    NewerFormat {
        /// The delta's format.
        found: u32,
        /// The newest format that is understood.
        known: u32,
    },
    /// It is not what a publisher wrote.
    #[error("the delta is damaged: {reason}; repair the distribution point")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// It, or the base, could not be read.
    #[error("reading the delta stopped")]
    Read(#[source] io::Error),
}

fn damaged(reason: impl Into<String>) -> ReadDeltaError {
    ReadDeltaError::Damaged { reason: reason.into() }
}

/// Follows a delta front to back. Memory depends on the format's limits, not on the delta.
pub struct DeltaReader<R> {
    input: R,
    head: DeltaHead,
    outlines: Vec<u8>,
    used: usize,
    streams: Vec<Inflow>,
    expected: [u64; LANES],
    /// Sections of outlines that came before they were needed, packed.
    early: VecDeque<(usize, Vec<u8>)>,
    ended: bool,
}

/// A stream that comes in pieces.
#[derive(Default)]
struct Inflow {
    piece: Vec<u8>,
    before: Vec<u8>,
    used: usize,
    /// Pieces that came before they were needed, packed.
    early: VecDeque<(usize, Vec<u8>)>,
}

impl<R: Read> DeltaReader<R> {
    /// Opens a delta.
    pub fn open(mut input: R) -> Result<Self, ReadDeltaError> {
        let mut start = [0; 12];
        input.read_exact(&mut start).map_err(ended_early)?;
        if start[..8] != *START {
            return Err(damaged("it does not start as one"));
        }
        let format = u32::from_le_bytes([start[8], start[9], start[10], start[11]]);
        if format == 0 {
            return Err(damaged("there is no format 0"));
        }
        if format > DELTA_FORMAT {
            return Err(ReadDeltaError::NewerFormat { found: format, known: DELTA_FORMAT });
        }
        let (kind, plain, stored) = section(&mut input)?;
        if kind != HEAD {
            return Err(damaged("its head is missing"));
        }
        let bytes = unpack(&stored, &[], plain)?;
        let head = minicbor::decode(&bytes)
            .map_err(|error| damaged(format!("its head does not parse: {error}")))?;
        Ok(Self {
            input,
            head,
            outlines: Vec::new(),
            used: 0,
            streams: (0..LANES * Stream::ALL.len()).map(|_| Inflow::default()).collect(),
            expected: [0; LANES],
            early: VecDeque::new(),
            ended: false,
        })
    }

    /// What it leads from and to.
    pub fn head(&self) -> &DeltaHead {
        &self.head
    }

    /// The next outline; `base` are the encoded outlines of the base's records. Data of the one before must have been
    /// read to its end.
    pub fn next_outline(&mut self, base: &[Vec<u8>]) -> Result<Option<Outline>, ReadDeltaError> {
        if self.used == self.outlines.len() {
            let Some((plain, stored)) = self.next_section(OUTLINES)? else { return Ok(None) };
            let (numbers, frame) = stored
                .split_first_chunk::<16>()
                .ok_or_else(|| damaged("a section of outlines is cut off"))?;
            let number = |from: usize| {
                let bytes = numbers[from..from + 8].try_into().unwrap_or_default();
                usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX)
            };
            let dictionary = base
                .get(number(0)..number(0).saturating_add(number(8)))
                .ok_or_else(|| damaged("it goes back to entries the base does not have"))?
                .concat();
            self.outlines = unpack(frame, &dictionary, plain)?;
            self.used = 0;
        }
        let mut decoder = minicbor::Decoder::new(&self.outlines[self.used..]);
        let outline = decoder
            .decode()
            .map_err(|error| damaged(format!("an outline does not parse: {error}")))?;
        self.used += decoder.position();
        Ok(Some(outline))
    }

    /// The data of the file whose outline came last and says that this lane makes it: `length` bytes, some from
    /// the base, which `base` reads by position.
    pub fn data<'d>(
        &'d mut self,
        lane: u8,
        length: u64,
        base: &'d mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> Result<impl Read + 'd, ReadDeltaError>
    where
        R: 'd,
    {
        let lane = usize::from(lane);
        if lane >= LANES {
            return Err(damaged(format!("it has no lane {lane}")));
        }
        Ok(Made {
            delta: self,
            base,
            lane,
            left: 0,
            rest: length,
            stretches: 0,
            gap: 0,
            copy: 0,
            at: 0,
            run: None,
        })
    }

    fn number(&mut self, lane: usize, stream: Stream) -> Result<u64, ReadDeltaError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.take(lane, stream, &mut byte)?;
            number |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged("a number has no end"))
    }

    fn take(
        &mut self,
        lane: usize,
        stream: Stream,
        mut out: &mut [u8],
    ) -> Result<(), ReadDeltaError> {
        let index = lane * Stream::ALL.len() + stream as usize;
        while !out.is_empty() {
            if self.streams[index].used == self.streams[index].piece.len() {
                self.refill(index, stream)?;
            }
            let inflow = &mut self.streams[index];
            let take = out.len().min(inflow.piece.len() - inflow.used);
            out[..take].copy_from_slice(&inflow.piece[inflow.used..inflow.used + take]);
            inflow.used += take;
            out = &mut out[take..];
        }
        Ok(())
    }

    fn refill(&mut self, index: usize, stream: Stream) -> Result<(), ReadDeltaError> {
        let kind = u8::try_from(index + 1).unwrap_or(u8::MAX);
        let (plain, stored) = self
            .next_section(kind)?
            .ok_or_else(|| damaged("a stream has fewer bytes than are needed"))?;
        if plain > stream.piece() || plain == 0 {
            return Err(damaged("a piece has a length none may have"));
        }
        let inflow = &mut self.streams[index];
        inflow.before = std::mem::take(&mut inflow.piece);
        inflow.piece = unpack(&stored, &inflow.before, plain)?;
        inflow.used = 0;
        Ok(())
    }

    /// The next section of a kind, packed. What comes before it waits for its turn.
    fn next_section(&mut self, wanted: u8) -> Result<Option<(usize, Vec<u8>)>, ReadDeltaError> {
        if let Some(section) = self.queue(wanted)?.pop_front() {
            return Ok(Some(section));
        }
        while !self.ended {
            let (kind, plain, stored) = section(&mut self.input)?;
            if kind == END {
                self.ended = true;
            } else if kind == wanted {
                return Ok(Some((plain, stored)));
            } else {
                self.queue(kind)?.push_back((plain, stored));
            }
        }
        Ok(None)
    }

    fn queue(&mut self, kind: u8) -> Result<&mut VecDeque<(usize, Vec<u8>)>, ReadDeltaError> {
        if kind == OUTLINES {
            return Ok(&mut self.early);
        }
        self.streams
            .get_mut(usize::from(kind) - 1)
            .map(|inflow| &mut inflow.early)
            .ok_or_else(|| damaged(format!("it has a section of the unknown kind {kind}")))
    }
}

/// The data of a file, being made.
struct Made<'d, R> {
    delta: &'d mut DeltaReader<R>,
    base: &'d mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
    lane: usize,
    /// Bytes of the segment that are missing, and of the file behind it.
    left: u64,
    rest: u64,
    stretches: u64,
    gap: u64,
    copy: u64,
    at: u64,
    /// Equal bytes before the next difference, if that is known.
    run: Option<u64>,
}

impl<R: Read> Made<'_, R> {
    fn next_stretch(&mut self) -> Result<(), ReadDeltaError> {
        if self.stretches == 0 {
            (self.gap, self.copy) = (self.left, 0);
            return Ok(());
        }
        self.stretches -= 1;
        let gap = self.delta.number(self.lane, Stream::Control)?;
        let copy = self.delta.number(self.lane, Stream::Control)?;
        let seek = unfold(self.delta.number(self.lane, Stream::Control)?);
        let expected = &mut self.delta.expected[self.lane];
        let at = expected.wrapping_add_signed(seek);
        *expected = at.wrapping_add(copy);
        if gap.checked_add(copy).is_none_or(|sum| sum > self.left) {
            return Err(damaged("a file is made of more bytes than it has"));
        }
        (self.gap, self.copy, self.at) = (gap, copy, at);
        Ok(())
    }

    /// §6.1: a file is made of segments, each with a recipe of its own.
    fn next_segment(&mut self) -> Result<(), ReadDeltaError> {
        self.left = self.rest.min(SEGMENT as u64);
        self.rest -= self.left;
        self.stretches = self.delta.number(self.lane, Stream::Control)?;
        self.next_stretch()
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<usize, ReadDeltaError> {
        if self.left == 0 {
            self.next_segment()?;
        }
        while self.left > 0 && self.gap == 0 && self.copy == 0 {
            self.next_stretch()?;
        }
        let source = if self.gap > 0 { &mut self.gap } else { &mut self.copy };
        let take = usize::try_from(*source).unwrap_or(usize::MAX).min(out.len());
        let is_gap = self.gap > 0;
        *(if is_gap { &mut self.gap } else { &mut self.copy }) -= take as u64;
        self.left -= take as u64;
        let out = &mut out[..take];
        if is_gap {
            self.delta.take(self.lane, Stream::Extra, out)?;
        } else {
            (self.base)(self.at, out).map_err(ReadDeltaError::Read)?;
            self.at = self.at.wrapping_add(take as u64);
            self.differ(out)?;
        }
        if !is_gap && self.copy == 0 && self.stretches == 0 {
            self.end_runs()?;
        }
        Ok(take)
    }

    /// §6.3: the last run of a segment ends with its last stretch.
    fn end_runs(&mut self) -> Result<(), ReadDeltaError> {
        let run = match self.run.take() {
            Some(run) => run,
            None => self.delta.number(self.lane, Stream::Runs)?,
        };
        if run == 0 { Ok(()) } else { Err(damaged("a run goes on beyond its file")) }
    }

    /// Adds the differences to bytes of the base.
    fn differ(&mut self, out: &mut [u8]) -> Result<(), ReadDeltaError> {
        let mut at = 0;
        while at < out.len() {
            let run = match self.run {
                Some(run) => run,
                None => self.delta.number(self.lane, Stream::Runs)?,
            };
            let rest = (out.len() - at) as u64;
            if run >= rest {
                // A difference right behind these bytes is found when they go on, or there is none.
                self.run = Some(run - rest);
                return Ok(());
            }
            at += usize::try_from(run).unwrap_or(0);
            let mut value = [0];
            self.delta.take(self.lane, Stream::Values, &mut value)?;
            out[at] = out[at].wrapping_add(value[0]);
            at += 1;
            self.run = None;
        }
        Ok(())
    }
}

impl<R: Read> Read for Made<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || self.left + self.rest == 0 {
            return Ok(0);
        }
        self.fill(out).map_err(|error| match error {
            ReadDeltaError::Read(error) => error,
            damage => io::Error::new(io::ErrorKind::InvalidData, damage),
        })
    }
}

fn section(input: &mut impl Read) -> Result<(u8, usize, Vec<u8>), ReadDeltaError> {
    let mut lead = [0; 9];
    input.read_exact(&mut lead).map_err(ended_early)?;
    let number = |from: usize| {
        u32::from_le_bytes(lead[from..from + 4].try_into().unwrap_or_default()) as usize
    };
    let (plain, stored) = (number(1), number(5));
    // §4.2: nothing packs to more than a little above itself.
    if plain > MAX_OUTLINES || stored > plain + plain / 128 + 1024 {
        return Err(damaged("a section has a length none may have"));
    }
    let mut bytes = Vec::new();
    input.take(stored as u64).read_to_end(&mut bytes).map_err(ReadDeltaError::Read)?;
    if bytes.len() == stored { Ok((lead[0], plain, bytes)) } else { Err(damaged("it is cut off")) }
}

fn ended_early(error: io::Error) -> ReadDeltaError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it is cut off"),
        _ => ReadDeltaError::Read(error),
    }
}

fn unpack(stored: &[u8], prefix: &[u8], plain: usize) -> Result<Vec<u8>, ReadDeltaError> {
    let refuse = |code| {
        damaged(format!("a section does not unpack: {}", zstd::zstd_safe::get_error_name(code)))
    };
    let mut context = DCtx::create();
    if !prefix.is_empty() {
        context.ref_prefix(prefix).map_err(refuse)?;
    }
    let mut bytes = Vec::with_capacity(plain);
    context.decompress(&mut bytes, stored).map_err(refuse)?;
    if bytes.len() == plain {
        Ok(bytes)
    } else {
        Err(damaged("a section unpacks to another length"))
    }
}
