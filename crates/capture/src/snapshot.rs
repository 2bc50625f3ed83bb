//! Snapshots: everything a scan saw, as a file that is written and read in one pass.
//!
//! The format is docs/formats/snapshot.md. Records are kept in blocks, each block by columns, each path by
//! what it adds to the one before; so a million files take some ten megabytes.

mod columns;

use std::io::{self, Read, Write};

use minicbor::{Decode, Encode};
use model::{MachinePath, Time};

use crate::{Names, Record};
use columns::{Decoder, Encoder};

/// The version this release writes, and the newest it reads.
pub const SNAPSHOT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"PHSNAP\r\n";
/// A block is closed at this many records, or bytes before compression.
const BLOCK_RECORDS: usize = 8192;
const BLOCK_BYTES: usize = 4 << 20;
const LEVEL: i32 = 3;

const HEADER: u8 = 0;
const RECORDS: u8 = 1;
const END: u8 = 2;

/// What a snapshot says about itself before its records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SnapshotHeader {
    /// The root's account names.
    #[n(0)]
    pub names: Names,
    /// The clock of the root's file system when the scan began. What was changed at this moment or
    /// later may change again without its stamp telling.
    #[n(1)]
    pub started: Time,
}

/// What a snapshot says after its records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SnapshotEnd {
    /// How many records there are.
    #[n(0)]
    pub records: u64,
    /// Paths that were not looked at, in order: what lies there and below is unknown.
    #[n(1)]
    pub unknown: Vec<MachinePath>,
}

/// A snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadSnapshotError {
    /// The bytes cannot be had.
    #[error("the snapshot cannot be read")]
    Read(#[source] io::Error),
    /// It starts with something else.
    #[error("this is no snapshot")]
    Foreign,
    /// A newer release wrote it.
    #[error("the snapshot has version {found}, and this release reads up to {}", SNAPSHOT_VERSION)]
    Newer {
        /// The file's version.
        found: u32,
    },
    /// It ends before its end: whoever wrote it was stopped.
    #[error("the snapshot breaks off after {records} records: it was never completed")]
    CutOff {
        /// How many could be read.
        records: u64,
    },
    /// It is not what was written.
    #[error("the snapshot is damaged after {records} records")]
    Damaged {
        /// How many could be read.
        records: u64,
    },
}

/// Writes a snapshot, record by record, in path order.
pub struct SnapshotWriter<W> {
    out: W,
    chain: [u8; 16],
    block: Encoder,
    records: u64,
    compressor: zstd::bulk::Compressor<'static>,
}

impl<W: Write> SnapshotWriter<W> {
    /// Starts a snapshot.
    ///
    /// # Errors
    /// `out` fails.
    pub fn start(mut out: W, header: &SnapshotHeader) -> io::Result<Self> {
        let mut start = [0; 12];
        start[..8].copy_from_slice(MAGIC);
        start[8..].copy_from_slice(&SNAPSHOT_VERSION.to_le_bytes());
        out.write_all(&start)?;
        let mut writer = Self {
            out,
            chain: chained(&[0; 16], &[0; 9], &start),
            block: Encoder::default(),
            records: 0,
            compressor: zstd::bulk::Compressor::new(LEVEL)?,
        };
        writer.frame(HEADER, &cbor(header)?)?;
        Ok(writer)
    }

    /// Adds a record; paths must ascend.
    ///
    /// # Errors
    /// `out` fails.
    pub fn add(&mut self, record: &Record) -> io::Result<()> {
        self.block.add(record);
        self.records += 1;
        if self.block.records() >= BLOCK_RECORDS || self.block.bytes() >= BLOCK_BYTES {
            self.flush_block()?;
        }
        Ok(())
    }

    /// Ends the snapshot and gives `out` back.
    ///
    /// # Errors
    /// `out` fails.
    pub fn finish(mut self, unknown: Vec<MachinePath>) -> io::Result<W> {
        self.flush_block()?;
        let end = SnapshotEnd { records: self.records, unknown };
        self.frame(END, &cbor(&end)?)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn flush_block(&mut self) -> io::Result<()> {
        if self.block.records() > 0 {
            let raw = self.block.take();
            self.frame(RECORDS, &raw)?;
        }
        Ok(())
    }

    fn frame(&mut self, kind: u8, raw: &[u8]) -> io::Result<()> {
        let stored = self.compressor.compress(raw)?;
        let head = frame_head(kind, stored.len(), raw.len())?;
        self.chain = chained(&self.chain, &head, &stored);
        self.out.write_all(&head)?;
        self.out.write_all(&self.chain)?;
        self.out.write_all(&stored)
    }
}

/// Reads a snapshot, record by record.
pub struct SnapshotReader<R> {
    input: R,
    header: SnapshotHeader,
    chain: [u8; 16],
    block: Decoder,
    records: u64,
    end: Option<SnapshotEnd>,
}

impl<R: Read> SnapshotReader<R> {
    /// Reads the beginning.
    ///
    /// # Errors
    /// No snapshot, a newer one, a damaged one.
    pub fn open(mut input: R) -> Result<Self, ReadSnapshotError> {
        let mut start = [0; 12];
        read_whole(&mut input, &mut start, 0)?;
        if start[..8] != *MAGIC {
            return Err(ReadSnapshotError::Foreign);
        }
        let found = u32::from_le_bytes([start[8], start[9], start[10], start[11]]);
        if found > SNAPSHOT_VERSION {
            return Err(ReadSnapshotError::Newer { found });
        }
        let mut reader = Self {
            input,
            header: SnapshotHeader::default(),
            chain: chained(&[0; 16], &[0; 9], &start),
            block: Decoder::default(),
            records: 0,
            end: None,
        };
        match reader.frame()? {
            (HEADER, raw) => {
                reader.header = minicbor::decode(&raw).map_err(|_| reader.damaged())?;
                Ok(reader)
            }
            _ => Err(reader.damaged()),
        }
    }

    /// What it says about itself.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// What it says at its end, once all records are read.
    pub fn end(&self) -> Option<&SnapshotEnd> {
        self.end.as_ref()
    }

    /// The next record; `None` after the last, when the whole snapshot has proved sound.
    ///
    /// # Errors
    /// Cut off or damaged.
    pub fn next_record(&mut self) -> Result<Option<Record>, ReadSnapshotError> {
        loop {
            if self.end.is_some() {
                return Ok(None);
            }
            if let Some(record) = self.block.next().map_err(|_| self.damaged())? {
                self.records += 1;
                return Ok(Some(record));
            }
            match self.frame()? {
                (RECORDS, raw) => {
                    self.block = Decoder::new(raw).map_err(|_| self.damaged())?;
                }
                (END, raw) => {
                    let end: SnapshotEnd = minicbor::decode(&raw).map_err(|_| self.damaged())?;
                    if end.records != self.records {
                        return Err(self.damaged());
                    }
                    self.end = Some(end);
                }
                _ => return Err(self.damaged()),
            }
        }
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>), ReadSnapshotError> {
        let mut head = [0; 9];
        read_whole(&mut self.input, &mut head, self.records)?;
        let mut sum = [0; 16];
        read_whole(&mut self.input, &mut sum, self.records)?;
        let length =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut stored = Vec::new();
        self.input
            .by_ref()
            .take(length(1).into())
            .read_to_end(&mut stored)
            .map_err(ReadSnapshotError::Read)?;
        if stored.len() as u64 != u64::from(length(1)) {
            return Err(ReadSnapshotError::CutOff { records: self.records });
        }
        self.chain = chained(&self.chain, &head, &stored);
        if self.chain != sum {
            return Err(self.damaged());
        }
        // Only now is the length to be trusted.
        let raw =
            zstd::bulk::decompress(&stored, length(5) as usize).map_err(|_| self.damaged())?;
        Ok((head[0], raw))
    }

    fn damaged(&self) -> ReadSnapshotError {
        ReadSnapshotError::Damaged { records: self.records }
    }
}

fn frame_head(kind: u8, stored: usize, raw: usize) -> io::Result<[u8; 9]> {
    let short = |length: usize| u32::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge);
    let mut head = [kind; 9];
    head[1..5].copy_from_slice(&short(stored)?.to_le_bytes());
    head[5..].copy_from_slice(&short(raw)?.to_le_bytes());
    Ok(head)
}

/// Each frame's sum covers the one before it: none can be left out, doubled or moved.
fn chained(before: &[u8; 16], head: &[u8; 9], stored: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(head).update(stored);
    let mut sum = [0; 16];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    sum
}

fn cbor(value: &impl Encode<()>) -> io::Result<Vec<u8>> {
    minicbor::to_vec(value).map_err(io::Error::other)
}

fn read_whole(
    input: &mut impl Read,
    buffer: &mut [u8],
    records: u64,
) -> Result<(), ReadSnapshotError> {
    input.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ReadSnapshotError::CutOff { records },
        _ => ReadSnapshotError::Read(error),
    })
}
