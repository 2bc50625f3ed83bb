//! A package, unpacked into one file of data: read by position, as deltas need it.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use content::{Data, Outline};
use model::Hash;
use package::{Node, Origin, PackageReader, ReadError, Record};

/// The data of all files of a package, one after the other, and its records.
pub(crate) struct Unpacked {
    pub(crate) identity: Hash,
    pub(crate) header: Vec<u8>,
    pub(crate) records: Vec<Record>,
    /// Where each record's data starts.
    pub(crate) starts: Vec<u64>,
    pub(crate) length: u64,
    data: File,
}

/// A package that cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] package::OpenError),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its data cannot be written beside.
    #[error("unpacking it stopped")]
    Write(#[from] io::Error),
}

impl Unpacked {
    /// Unpacks the package in a file; its data goes into a nameless file of `folder`. Every chunk is checked.
    pub(crate) fn open(package: &Path, folder: &Path) -> Result<Self, UnpackError> {
        let file = File::open(package)?;
        Self::read(&mut PackageReader::open(BufReader::with_capacity(1 << 20, file))?, folder)
    }

    fn read<R: Read + Seek>(
        reader: &mut PackageReader<R>,
        folder: &Path,
    ) -> Result<Self, UnpackError> {
        let data = tempfile::tempfile_in(folder)?;
        let mut out = BufWriter::with_capacity(1 << 20, &data);
        let (mut records, mut starts, mut length) = (Vec::new(), Vec::new(), 0);
        let mut places: HashMap<(u32, Vec<u8>), u64> = HashMap::new();
        let identity = reader.identity();
        let mut header = Vec::new();
        let _ = minicbor::encode(reader.header(), &mut header);
        let mut contents = reader.contents();
        while let Some(mut record) = contents.next_record()? {
            starts.push(length);
            if let Node::File(content) = &mut record.node {
                if content.holes.is_empty() && content.data_length() > 0 {
                    places.insert((record.tree, record.path.clone()), length);
                }
                let mut recall = |origin: &Origin, buffer: &mut [u8]| {
                    let Some(start) = places.get(&(origin.tree, origin.path.clone())) else {
                        return false;
                    };
                    let at = start + origin.offset;
                    // What is still in the writer's buffer is not in the file.
                    at + buffer.len() as u64 <= data.metadata().map_or(0, |data| data.len())
                        && data.read_exact_at(buffer, at).is_ok()
                };
                while let Some(piece) = contents.piece(&mut recall)? {
                    out.write_all(piece.data)?;
                    length += piece.data.len() as u64;
                }
            }
            records.push(record);
        }
        out.flush()?;
        drop(out);
        Ok(Self { identity, header, records, starts, length, data })
    }

    /// Fills `buffer` from a position of the data.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.data.read_exact_at(buffer, offset)
    }

    /// The range of a record's data.
    pub(crate) fn range(&self, position: usize) -> std::ops::Range<u64> {
        let length = match &self.records[position].node {
            Node::File(content) => content.data_length(),
            _ => 0,
        };
        self.starts[position]..self.starts[position] + length
    }

    /// The encoded outlines of all records, as a delta goes back to them.
    pub(crate) fn outlines(&self) -> Vec<Vec<u8>> {
        let encode = |record: &Record| {
            let mut bytes = Vec::new();
            let _ = minicbor::encode(Outline::of(record, Data::None), &mut bytes);
            bytes
        };
        self.records.iter().map(encode).collect()
    }
}
