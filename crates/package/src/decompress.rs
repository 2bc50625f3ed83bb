//! Frames, unpacked (docs/formats/package.md §5).

use std::io::{Read, Seek};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::{
    Damage, Part, ReadError,
    layout::{Frame, MAX_WINDOW_LOG},
    source::Source,
};

/// Bytes read from the file at once.
const READ: usize = 128 << 10;

/// One frame that is being unpacked, front to back.
pub(crate) struct FrameReader {
    part: Part,
    frame: Frame,
    decoder: Decoder<'static>,
    input: Vec<u8>,
    used: usize,
    read: u64,
    given: u64,
}

impl FrameReader {
    pub(crate) fn new(part: Part, frame: Frame, at: u64) -> Result<Self, ReadError> {
        let refuse = |source| ReadError::Read { at, source };
        let mut decoder = Decoder::new().map_err(refuse)?;
        decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(refuse)?;
        Ok(Self { part, frame, decoder, input: Vec::new(), used: 0, read: 0, given: 0 })
    }

    /// How many bytes of the frame were given out.
    pub(crate) fn given(&self) -> u64 {
        self.given
    }

    /// Fills `out` with the next bytes.
    pub(crate) fn read_exact<R: Read + Seek>(
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
            self.given += gave as u64;
            if ended && (filled < out.len() || self.given != self.frame.plain) {
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
    let mut reader = FrameReader::new(part, frame, source.absolute(frame.offset))?;
    let plain = usize::try_from(frame.plain).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    while bytes.len() < plain {
        let from = bytes.len();
        bytes.resize(from + STEP.min(plain - from), 0);
        reader.read_exact(source, &mut bytes[from..])?;
    }
    Ok(bytes)
}
