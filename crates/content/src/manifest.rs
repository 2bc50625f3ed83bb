//! What a release is, and where its content lies (docs/formats/manifest.md).

use std::io::{Read, Seek};

use minicbor::{Decode, Encode};
use model::Hash;
use package::{ChunkPlace, PackageReader, ReadError, Record, StoredFrame};

use crate::Object;

/// The format this crate writes, and the newest it reads.
pub const MANIFEST_FORMAT: u32 = 1;
const START: &[u8; 8] = b"PHMANIF\n";
/// §1.3: no part of a manifest unpacks to more, in bytes.
const MAX_PART: usize = 1 << 30;

/// What a release is, and where each chunk of it lies.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Manifest {
    /// The package's header, as the package has it.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub header: Vec<u8>,
    /// The root of the package's hash tree.
    #[n(1)]
    pub root: Hash,
    /// The packs its content is in.
    #[n(2)]
    pub packs: Vec<Object>,
    /// The frames of those packs that hold content of it.
    #[n(3)]
    pub frames: Vec<PackFrame>,
    /// Every entry, sorted as in the package.
    #[n(4)]
    pub records: Vec<Record>,
    /// Where the chunks are: for all files, in the records' order.
    #[n(5)]
    pub runs: Vec<Run>,
}

/// A frame of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct PackFrame {
    /// The pack, by position among the manifest's packs.
    #[n(0)]
    pub pack: u32,
    /// Where it starts in the pack, in bytes.
    #[n(1)]
    pub offset: u64,
    /// Its bytes in the pack.
    #[n(2)]
    pub stored: u64,
    /// The bytes it unpacks to.
    #[n(3)]
    pub plain: u64,
    /// How far it looks back, as a power of two.
    #[n(4)]
    pub window_log: u32,
    /// Whether it went through the x86 filter.
    #[n(5)]
    pub filtered: bool,
}

/// Chunks that lie one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Run {
    /// How many.
    #[n(0)]
    pub chunks: u64,
    /// The frame the first starts in, by position among the manifest's frames.
    #[n(1)]
    pub frame: u32,
    /// Where it starts in what the frame unpacks to.
    #[n(2)]
    pub offset: u64,
}

/// A manifest that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadManifestError {
    /// It was made by a newer version.
    #[error(
        "the manifest has format {found}, and this program reads formats up to {known}: use a newer packhorse"
    )]
    NewerFormat {
        /// The manifest's format.
        found: u32,
        /// The newest format that is understood.
        known: u32,
    },
    /// It is not what a publisher wrote.
    #[error("the manifest is damaged: {reason}; repair the distribution point")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
}

impl Manifest {
    /// The manifest of a package that is a pack itself.
    pub fn of<R: Read + Seek>(
        reader: &mut PackageReader<R>,
        pack: Object,
    ) -> Result<Self, ReadError> {
        let mut header = Vec::new();
        let _ = minicbor::encode(reader.header(), &mut header);
        let root = reader.manifest();
        let stored = reader.frames();
        let mut records = Vec::new();
        let mut runs = Runs::default();
        let mut contents = reader.contents();
        while let Some(record) = contents.next_record()? {
            for place in contents.places()? {
                runs.push(&stored, place);
            }
            records.push(record);
        }
        let frames = stored.iter().map(|frame| PackFrame {
            pack: 0,
            offset: frame.offset,
            stored: frame.stored,
            plain: frame.plain,
            window_log: frame.window_log,
            filtered: frame.filtered,
        });
        Ok(Self {
            header,
            root,
            packs: vec![pack],
            frames: frames.collect(),
            records,
            runs: runs.runs,
        })
    }

    /// Its canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let _ = minicbor::encode(self, &mut body);
        let mut bytes = START.to_vec();
        bytes.extend_from_slice(&MANIFEST_FORMAT.to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        // Into memory, with a level that exists: it cannot fail.
        bytes.append(&mut zstd::bulk::compress(&body, 12).unwrap_or_default());
        bytes
    }

    /// Reads a manifest whose hash was checked.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReadManifestError> {
        let damaged = |reason: String| ReadManifestError::Damaged { reason };
        let short = || damaged("it is cut off".to_owned());
        let rest = bytes
            .strip_prefix(START)
            .ok_or_else(|| damaged("it does not start as one".to_owned()))?;
        let (format, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let format = u32::from_le_bytes(*format);
        if format == 0 {
            return Err(damaged("there is no format 0".to_owned()));
        }
        if format > MANIFEST_FORMAT {
            return Err(ReadManifestError::NewerFormat { found: format, known: MANIFEST_FORMAT });
        }
        let (length, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_PART {
            return Err(damaged("it is longer than any manifest".to_owned()));
        }
        let body = zstd::bulk::decompress(rest, length)
            .map_err(|error| damaged(format!("it does not unpack: {error}")))?;
        if body.len() != length {
            return Err(damaged("it unpacks to another length than it says".to_owned()));
        }
        let manifest: Self = minicbor::decode(&body)
            .map_err(|error| damaged(format!("it does not parse: {error}")))?;
        manifest.check().map_err(damaged)?;
        Ok(manifest)
    }

    /// §3: what the parts say of each other.
    fn check(&self) -> Result<(), String> {
        for frame in &self.frames {
            let pack = self.packs.get(frame.pack as usize);
            let end = frame.offset.checked_add(frame.stored);
            if pack.is_none_or(|pack| end.is_none_or(|end| end > pack.length)) {
                return Err(format!("the frame at {} is outside its pack", frame.offset));
            }
        }
        let chunks: u64 = self.runs.iter().fold(0, |sum, run| sum.saturating_add(run.chunks));
        let of_files: u64 = self.records.iter().map(chunk_count).sum();
        if chunks != of_files {
            return Err(format!("it places {chunks} chunks of {of_files}"));
        }
        if self.runs.iter().any(|run| run.frame as usize >= self.frames.len()) {
            return Err("a run starts in a frame that is not there".to_owned());
        }
        Ok(())
    }
}

fn chunk_count(record: &Record) -> u64 {
    match &record.node {
        package::Node::File(content) => content.each_chunk().count() as u64,
        _ => 0,
    }
}

/// Runs that are being gathered.
#[derive(Default)]
struct Runs {
    runs: Vec<Run>,
    next: Option<(u8, u64)>,
}

impl Runs {
    fn push(&mut self, frames: &[StoredFrame], place: ChunkPlace) {
        let follows = self.next == Some((place.lane, place.position));
        self.next = Some((place.lane, place.position + u64::from(place.chunk.length)));
        if let Some(last) = self.runs.last_mut().filter(|_| follows) {
            last.chunks += 1;
            return;
        }
        let after = frames
            .partition_point(|frame| (frame.lane, frame.start) <= (place.lane, place.position));
        let frame = after.saturating_sub(1);
        let offset = frames.get(frame).map_or(0, |frame| place.position - frame.start);
        self.runs.push(Run { chunks: 1, frame: u32::try_from(frame).unwrap_or(u32::MAX), offset });
    }
}
