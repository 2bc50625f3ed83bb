//! Records in an append-only file that can be read forwards and backwards, and whose torn end shows.
//!
//! A frame is: payload length (u32, little endian), the first four bytes of the payload's BLAKE3, the
//! payload, the length again. Described in docs/formats/journal.md.

use minicbor::{Decode, Encode};
use model::{Hash, MachinePath};

use crate::{MachineError, Observe};

const HEAD: u64 = 8;
const TAIL: u64 = 4;
/// Read ahead this much at once.
const WINDOW: usize = 1 << 16;

/// `record` as one frame.
pub fn frame<T: Encode<()>>(record: &T) -> Vec<u8> {
    let payload = minicbor::to_vec(record).unwrap_or_default();
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = Vec::with_capacity(payload.len() + 12);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&Hash::of(&payload).0[..4]);
    bytes.extend_from_slice(&payload);
    bytes.extend_from_slice(&length);
    bytes
}

/// A file of frames that holds something else before its end.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// It could not be read at all.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A frame that is whole by its checksum holds no record we know.
    #[error("`{path}` holds a record at byte {offset} that this version cannot read")]
    Record {
        /// The file.
        path: MachinePath,
        /// Where the frame starts.
        offset: u64,
    },
}

/// Reads frames of a file, forwards from the start and backwards from the last whole one. Holds one
/// window of the file in memory, whatever its size.
pub struct FrameReader<'m, M: ?Sized> {
    machine: &'m M,
    path: MachinePath,
    position: u64,
    length: u64,
    window: (u64, Vec<u8>),
}

impl<'m, M: Observe + ?Sized> FrameReader<'m, M> {
    /// Starts at the first frame. A missing file has no frames.
    pub fn open(machine: &'m M, path: MachinePath) -> Result<Self, MachineError> {
        let length = match machine.look(&path)?.map(|found| found.node) {
            Some(crate::Node::File { length }) => length,
            _ => 0,
        };
        Ok(Self { machine, path, position: 0, length, window: (0, Vec::new()) })
    }

    /// The file.
    pub fn path(&self) -> &MachinePath {
        &self.path
    }

    /// Where the next frame starts; at the end of forward reading, where whole frames end.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to a position that [`position`](Self::position) once answered.
    pub fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// Whether bytes follow that are no whole frame: the trace of a crash while appending.
    pub fn has_torn_end(&self) -> bool {
        self.position < self.length
    }

    /// The next record, or `None` where whole frames end.
    pub fn forward<T: for<'b> Decode<'b, ()>>(&mut self) -> Result<Option<T>, Damaged> {
        let Some(payload) = self.payload_at(self.position)? else { return Ok(None) };
        let record = self.decode(&payload, self.position)?;
        self.position += HEAD + payload.len() as u64 + TAIL;
        Ok(Some(record))
    }

    /// The record before the current position, or `None` at the start. Read forwards to the end first.
    pub fn backward<T: for<'b> Decode<'b, ()>>(&mut self) -> Result<Option<T>, Damaged> {
        if self.position < HEAD + TAIL {
            return Ok(None);
        }
        let tail = self.bytes(self.position - TAIL, 4)?;
        let length = tail.try_into().map_or(0, u32::from_le_bytes);
        let damaged = || Damaged::Record { path: self.path.clone(), offset: self.position };
        let start =
            self.position.checked_sub(HEAD + u64::from(length) + TAIL).ok_or_else(damaged)?;
        let payload = self
            .payload_at(start)?
            .ok_or_else(|| Damaged::Record { path: self.path.clone(), offset: start })?;
        let record = self.decode(&payload, start)?;
        self.position = start;
        Ok(Some(record))
    }

    fn decode<T: for<'b> Decode<'b, ()>>(&self, payload: &[u8], offset: u64) -> Result<T, Damaged> {
        minicbor::decode(payload).map_err(|_| Damaged::Record { path: self.path.clone(), offset })
    }

    /// The payload of the frame at `start`, if a whole one is there.
    fn payload_at(&mut self, start: u64) -> Result<Option<Vec<u8>>, MachineError> {
        if start + HEAD + TAIL > self.length {
            return Ok(None);
        }
        let head = self.bytes(start, 8)?;
        let (Some(length), Some(check)) = (head.first_chunk::<4>(), head.get(4..8)) else {
            return Ok(None);
        };
        let (check, length) = (check.to_vec(), u32::from_le_bytes(*length));
        if start + HEAD + u64::from(length) + TAIL > self.length {
            return Ok(None);
        }
        let body = self.bytes(start + HEAD, length as usize + 4)?;
        let (payload, tail) = body.split_at(body.len().saturating_sub(4));
        let whole = payload.len() == length as usize
            && tail == length.to_le_bytes()
            && Hash::of(payload).0[..4] == *check;
        Ok(whole.then(|| payload.to_vec()))
    }

    fn bytes(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, MachineError> {
        let (start, window) = &self.window;
        let held = offset >= *start && offset + length as u64 <= start + window.len() as u64;
        if !held {
            // Backwards reading wants what lies before as well.
            let start =
                offset.saturating_sub(if offset < self.position { WINDOW as u64 / 2 } else { 0 });
            let reach = usize::try_from(offset - start).unwrap_or(0) + length.max(WINDOW);
            self.window = (start, self.machine.read_at(&self.path, start, reach)?);
        }
        let (start, window) = &self.window;
        let from = usize::try_from(offset - start).unwrap_or(usize::MAX).min(window.len());
        Ok(window[from..(from + length).min(window.len())].to_vec())
    }
}
