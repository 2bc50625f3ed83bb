use std::io::{Read, Seek, SeekFrom};

use model::{Hash, Hasher};

use crate::{
    Contents, Damage, Header, Layout, ManifestTree, OpenError, Part, ReadError, Record, Totals,
    decompress::unpack,
    layout::{
        Frame, HASHED_TRAILER, Index, PREAMBLE_BYTES, PREAMBLE_LENGTH, TRAILER_BYTES,
        TRAILER_LENGTH, preamble,
    },
    manifest::identity,
    signature::{PADDING, Signature},
    source::Source,
    validate::RecordCheck,
};

/// Is told how many bytes of how many are done.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// A package that is being read.
///
/// Opening checks the trailer, the index and the header. [`verify`](Self::verify) checks every byte of the file;
/// whoever changes a machine calls it first.
pub struct PackageReader<R> {
    pub(crate) source: Source<R>,
    pub(crate) index: Index,
    layout: Layout,
    header: Header,
    identity: Hash,
    signature: Option<Signature>,
}

/// How many bytes the parts of a package take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Content by lane: in the file, and unpacked.
    pub lanes: Vec<(u64, u64)>,
    /// The manifest.
    pub manifest: u64,
    /// What repeats, and which lane each file is in.
    pub lists: u64,
    /// The header.
    pub header: u64,
    /// An installer's program.
    pub stub: u64,
}

/// A frame of content in a package file (docs/formats/package.md §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFrame {
    /// The lane it belongs to.
    pub lane: u8,
    /// Where what it unpacks to starts in the lane's stream.
    pub start: u64,
    /// Where it starts in the file.
    pub offset: u64,
    /// Its bytes in the file.
    pub stored: u64,
    /// The bytes it unpacks to.
    pub plain: u64,
    /// How far it looks back at most, as a power of two.
    pub window_log: u32,
    /// Whether it went through the x86 filter.
    pub filtered: bool,
}

impl<R: Read + Seek> PackageReader<R> {
    /// Opens the package at the end of `input`: a bare package, or an installer.
    pub fn open(mut input: R) -> Result<Self, OpenError> {
        let end = |source| OpenError::Read { at: 0, source };
        let length = input.seek(SeekFrom::End(0)).map_err(end)?;
        let signature = Signature::of(&mut input).map_err(end)?;
        let length = match signature.as_ref().and_then(|signature| signature.end(length)) {
            Some(signed) => unpadded(&mut input, signed)?,
            None => length,
        };
        if length < TRAILER_LENGTH + PREAMBLE_LENGTH {
            return Err(OpenError::NoPackage { length });
        }
        let mut bytes = [0; TRAILER_BYTES];
        Source::new(&mut input, 0).read_exact(
            Part::Trailer,
            length - TRAILER_LENGTH,
            &mut bytes,
        )?;
        let layout = Layout::parse(&bytes, length)?;
        let mut source = Source::new(input, layout.stub_length);
        let mut start = [0; PREAMBLE_BYTES];
        source.read_exact(Part::Whole, 0, &mut start)?;
        if start != preamble() {
            return Err(Damage::new(
                Part::Whole,
                layout.stub_length,
                "it does not start as a package",
            )
            .into());
        }
        let mut bytes = vec![0; usize::try_from(layout.index_length).unwrap_or(0)];
        source.read_exact(Part::Index, layout.index_offset, &mut bytes)?;
        let index = Index::parse(&bytes, &layout)?;
        let bytes = unpack(&mut source, Part::Header, index.header)?;
        let at = source.absolute(index.header.offset);
        let damage = |reason: String| OpenError::from(Damage::new(Part::Header, at, reason));
        if Hash::of(&bytes) != index.header_hash {
            return Err(damage("its hash does not fit".to_owned()));
        }
        let header = minicbor::decode(&bytes)
            .map_err(|error| damage(format!("it does not parse: {error}")))?;
        let identity = identity(&bytes, &index.manifest);
        Ok(Self { source, index, layout, header, identity, signature })
    }

    /// What the package is and does.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The package's identity: the same for the same header and payload, however they are packed.
    pub fn identity(&self) -> Hash {
        self.identity
    }

    /// The root of the manifest's hash tree.
    pub fn manifest(&self) -> Hash {
        self.index.manifest
    }

    /// How many bytes each part takes in the file.
    pub fn sizes(&self) -> Sizes {
        let stored = |frames: &[Frame]| frames.iter().map(|frame| frame.stored).sum();
        let plain = |frames: &[Frame]| frames.iter().map(|frame| frame.plain).sum();
        Sizes {
            lanes: self
                .index
                .lanes
                .iter()
                .map(|lane| (stored(&lane.frames), plain(&lane.frames)))
                .collect(),
            manifest: stored(&self.index.leaves),
            lists: stored(&self.index.repeats) + stored(&self.index.choices),
            header: self.index.header.stored,
            stub: self.layout.stub_length,
        }
    }

    /// The frames of content, lane by lane, as a store keeps them.
    pub fn frames(&self) -> Vec<StoredFrame> {
        let mut all = Vec::new();
        for (number, lane) in std::iter::zip(0_u8.., &self.index.lanes) {
            let mut start = 0_u64;
            for frame in &lane.frames {
                all.push(StoredFrame {
                    lane: number,
                    start,
                    offset: self.source.absolute(frame.offset),
                    stored: frame.stored,
                    plain: frame.plain,
                    window_log: lane.window_log,
                    filtered: lane.filtered,
                });
                start = start.saturating_add(frame.plain);
            }
        }
        all
    }

    /// Where the outermost parts are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Checks every byte of the file against its hash, then every record: an accident anywhere is found,
    /// and a package whose parts contradict each other.
    pub fn verify(&mut self, progress: Progress<'_>) -> Result<(), ReadError> {
        self.verify_bytes(progress)?;
        let mut totals = Totals::default();
        for record in self.records() {
            let record = record?;
            totals.records += 1;
            if let crate::Node::File(content) = &record.node {
                totals.files += 1;
                totals.bytes += content.data_length();
            }
        }
        if totals != self.header.totals {
            let at = self.source.absolute(self.index.header.offset);
            return Err(
                Damage::new(Part::Header, at, "its totals are not those of the manifest").into()
            );
        }
        Ok(())
    }

    /// §3.3: the whole-file hash.
    fn verify_bytes(&mut self, progress: Progress<'_>) -> Result<(), ReadError> {
        let end = self.layout.stub_length + self.layout.package_length - TRAILER_LENGTH
            + HASHED_TRAILER as u64;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        let mut done = 0;
        while done < end {
            let length = usize::try_from(end - done).unwrap_or(usize::MAX).min(buffer.len());
            self.source.read_file(done, &mut buffer[..length])?;
            if let Some(signature) = &self.signature {
                signature.blank(done, &mut buffer[..length]);
            }
            hasher.update(&buffer[..length]);
            done += length as u64;
            progress(done, end);
        }
        if hasher.finish() == self.layout.whole {
            Ok(())
        } else {
            Err(Damage::new(Part::Whole, 0, "its hash does not fit").into())
        }
    }

    /// The records in order. Each is checked for itself as it comes; that they are the manifest's is sure
    /// when the last has come, for without that the iterator ends with an error.
    pub fn records(&mut self) -> Records<'_, R> {
        let trees = self.header.trees.len();
        Records { source: &mut self.source, index: &self.index, cursor: RecordCursor::new(trees) }
    }

    /// Records and content, in order.
    pub fn contents(&mut self) -> Contents<'_, R> {
        Contents::new(&mut self.source, &self.index, self.header.trees.len())
    }
}

/// Where what stands before a signature ends (§3.5): up to seven zeros fill up to it.
fn unpadded<R: Read + Seek>(input: &mut R, signed: u64) -> Result<u64, ReadError> {
    let padding = usize::try_from(signed).map_or(PADDING, |signed| signed.min(PADDING));
    let mut bytes = [0; PADDING];
    let bytes = &mut bytes[..padding];
    Source::new(input, 0).read_exact(Part::Trailer, signed - padding as u64, bytes)?;
    // No package ends with a zero.
    let zeros = bytes.iter().rev().take_while(|&&byte| byte == 0).count() as u64;
    Ok(signed - zeros)
}

/// The records of a package, in order. Ends after the first error.
pub struct Records<'a, R> {
    source: &'a mut Source<R>,
    index: &'a Index,
    cursor: RecordCursor,
}

impl<R: Read + Seek> Iterator for Records<'_, R> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.next(self.source, self.index).transpose()
    }
}

/// A place in the list of records.
pub(crate) struct RecordCursor {
    trees: usize,
    frame: usize,
    bytes: Vec<u8>,
    at: usize,
    leaf_end: usize,
    left: u64,
    check: RecordCheck,
    tree: Option<ManifestTree>,
}

impl RecordCursor {
    pub(crate) fn new(trees: usize) -> Self {
        Self {
            trees,
            frame: 0,
            bytes: Vec::new(),
            at: 0,
            leaf_end: 0,
            left: 0,
            check: RecordCheck::default(),
            tree: Some(ManifestTree::new()),
        }
    }

    pub(crate) fn next<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        index: &Index,
    ) -> Result<Option<Record>, ReadError> {
        let result = self.advance(source, index);
        if result.is_err() {
            self.tree = None;
        }
        result
    }

    fn advance<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        index: &Index,
    ) -> Result<Option<Record>, ReadError> {
        if self.tree.is_none() {
            return Ok(None);
        }
        while self.left == 0 {
            if self.at != self.leaf_end {
                return Err(self.damage(source, index, "a leaf holds more than it says".into()));
            }
            if self.at == self.bytes.len() {
                let Some(frame) = index.leaves.get(self.frame) else {
                    return self.end(source, index);
                };
                self.bytes = unpack(source, Part::Manifest, *frame)?;
                (self.at, self.leaf_end) = (0, 0);
                self.frame += 1;
            }
            self.open_leaf().map_err(|reason| self.damage(source, index, reason))?;
        }
        let mut decoder = minicbor::Decoder::new(&self.bytes[self.at..self.leaf_end]);
        let record: Record = decoder
            .decode()
            .map_err(|error| self.damage(source, index, format!("it does not parse: {error}")))?;
        self.at += decoder.position();
        self.left -= 1;
        self.check
            .check(&record, self.trees)
            .map_err(|reason| self.damage(source, index, reason))?;
        Ok(Some(record))
    }

    /// §7.1: a length, then the canonical bytes of a leaf.
    fn open_leaf(&mut self) -> Result<(), String> {
        let rest = &self.bytes[self.at..];
        let short = || "a leaf is cut off".to_owned();
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let length = u32::from_le_bytes(*length) as usize;
        let leaf = rest.get(..length).ok_or_else(short)?;
        let mut decoder = minicbor::Decoder::new(leaf);
        let count = decoder
            .array()
            .ok()
            .flatten()
            .ok_or_else(|| "a leaf does not start with its count".to_owned())?;
        if let Some(tree) = &mut self.tree {
            tree.leaf(Hash::of(leaf), count, &mut |_| {});
        }
        self.left = count;
        self.leaf_end = self.at + 4 + length;
        self.at += 4 + decoder.position();
        Ok(())
    }

    fn end<R: Read + Seek>(
        &mut self,
        source: &Source<R>,
        index: &Index,
    ) -> Result<Option<Record>, ReadError> {
        let root = self.tree.take().and_then(|tree| tree.finish(&mut |_| {}));
        if root == Some(index.manifest) {
            Ok(None)
        } else {
            Err(self.damage(source, index, "its hash does not fit".into()))
        }
    }

    fn damage<R: Read + Seek>(
        &self,
        source: &Source<R>,
        index: &Index,
        reason: String,
    ) -> ReadError {
        let offset = index.leaves.get(self.frame.saturating_sub(1)).map_or(0, |frame| frame.offset);
        Damage::new(Part::Manifest, source.absolute(offset), reason).into()
    }
}
