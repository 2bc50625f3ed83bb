//! Frames, unpacked (docs/formats/package.md §5).

use std::io::{Read, Seek};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::{Damage, Part, ReadError, calls, lane::MAX_WINDOW_LOG, layout::Frame, source::Source};

/// Bytes read from the file at once.
const READ: usize = 128 << 10;
/// Bytes that go through the filter at once.
const FILTER: usize = 64 << 10;
/// The decoder knows no smaller limit.
const MIN_WINDOW_LOG: u32 = 10;

/// One frame that is being unpacked, front to back.
pub(crate) struct FrameReader {
    part: Part,
    frame: Frame,
    decoder: Decoder<'static>,
    input: Vec<u8>,
    used: usize,
    read: u64,
    unpacked: u64,
    filter: Option<Filter>,
}

/// Bytes on their way through the x86 filter.
#[derive(Default)]
struct Filter {
    room: Vec<u8>,
    /// Where in the frame `room` starts.
    position: u64,
    /// Up to where bytes stand in it, up to where they are decided, and up to where given out.
    filled: usize,
    done: usize,
    used: usize,
}

impl FrameReader {
    pub(crate) fn new(
        part: Part,
        frame: Frame,
        at: u64,
        window_log: u32,
        filtered: bool,
    ) -> Result<Self, ReadError> {
        let refuse = |source| ReadError::Read { at, source };
        let mut decoder = Decoder::new().map_err(refuse)?;
        decoder
            .set_parameter(DParameter::WindowLogMax(window_log.max(MIN_WINDOW_LOG)))
            .map_err(refuse)?;
        let filter = filtered.then(Filter::default);
        let input = Vec::new();
        Ok(Self { part, frame, decoder, input, used: 0, read: 0, unpacked: 0, filter })
    }

    /// How many bytes of the frame were given out.
    pub(crate) fn given(&self) -> u64 {
        match &self.filter {
            None => self.unpacked,
            Some(filter) => filter.position + filter.used as u64,
        }
    }

    /// Fills `out` with the next bytes.
    pub(crate) fn read_exact<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        out: &mut [u8],
    ) -> Result<(), ReadError> {
        let Some(mut filter) = self.filter.take() else {
            return self.unpack(source, out);
        };
        let mut filled = 0;
        while filled < out.len() {
            if filter.used == filter.done {
                self.feed(source, &mut filter)?;
            }
            let take = (filter.done - filter.used).min(out.len() - filled);
            out[filled..filled + take]
                .copy_from_slice(&filter.room[filter.used..filter.used + take]);
            filter.used += take;
            filled += take;
        }
        self.filter = Some(filter);
        Ok(())
    }

    /// Gives the filter the next bytes. What it cannot decide without more of them waits in it.
    fn feed<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        filter: &mut Filter,
    ) -> Result<(), ReadError> {
        filter.room.copy_within(filter.used..filter.filled, 0);
        filter.position += filter.used as u64;
        let kept = filter.filled - filter.used;
        let left = self.frame.plain - self.unpacked;
        let take = usize::try_from(left).unwrap_or(FILTER).min(FILTER);
        if take == 0 && kept == 0 {
            return Err(self.damage(source, "it ends too early".into()));
        }
        (filter.filled, filter.used) = (kept + take, 0);
        if filter.room.len() < filter.filled {
            filter.room.resize(filter.filled, 0);
        }
        self.unpack(source, &mut filter.room[kept..filter.filled])?;
        filter.done = calls::decode(&mut filter.room[..filter.filled], 0, filter.position);
        if self.unpacked == self.frame.plain {
            filter.done = filter.filled;
        }
        Ok(())
    }

    fn unpack<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        out: &mut [u8],
    ) -> Result<(), ReadError> {
        let mut filled = 0;
        while filled < out.len() {
            if self.used == self.input.len() {
                self.refill(source)?;
            }
            let mut input = InBuffer::around(&self.input[self.used..]);
            let mut output = OutBuffer::around(&mut out[filled..]);
            let result = self.decoder.run(&mut input, &mut output);
            let (took, gave) = (input.pos(), output.pos());
            let ended = matches!(result, Ok(0));
            result.map_err(|error| self.damage(source, format!("it does not unpack: {error}")))?;
            self.used += took;
            filled += gave;
            self.unpacked += gave as u64;
            if ended && (filled < out.len() || self.unpacked != self.frame.plain) {
                return Err(self.damage(source, "it unpacks to fewer bytes than it should".into()));
            }
            if took == 0 && gave == 0 && self.used < self.input.len() {
                return Err(self.damage(source, "it stops unpacking".into()));
            }
        }
        Ok(())
    }

    fn refill<R: Read + Seek>(&mut self, source: &mut Source<R>) -> Result<(), ReadError> {
        let left = self.frame.stored - self.read;
        if left == 0 {
            return Err(self.damage(source, "it ends too early".into()));
        }
        let length = usize::try_from(left).unwrap_or(READ).min(READ);
        self.input.resize(length, 0);
        source.read_exact(self.part, self.frame.offset + self.read, &mut self.input)?;
        self.read += length as u64;
        self.used = 0;
        Ok(())
    }

    fn damage<R: Read + Seek>(&self, source: &Source<R>, reason: String) -> ReadError {
        Damage::new(self.part, source.absolute(self.frame.offset), reason).into()
    }
}

/// Unpacks a small frame whole. Memory grows with what really comes out, not with what is promised.
pub(crate) fn unpack<R: Read + Seek>(
    source: &mut Source<R>,
    part: Part,
    frame: Frame,
) -> Result<Vec<u8>, ReadError> {
    const STEP: usize = 256 << 10;
    let mut reader =
        FrameReader::new(part, frame, source.absolute(frame.offset), MAX_WINDOW_LOG, false)?;
    let plain = usize::try_from(frame.plain).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    while bytes.len() < plain {
        let from = bytes.len();
        bytes.resize(from + STEP.min(plain - from), 0);
        reader.read_exact(source, &mut bytes[from..])?;
    }
    Ok(bytes)
}
