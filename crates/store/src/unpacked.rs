//! A package, unpacked into one file of data: read by position, as deltas need it.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use content::{Catalogue, Outline};
use model::{Hash, Hasher};
use package::{FileContent, Node, Origin, PackageReader, ReadError, Record};

use crate::{FetchError, at::FileExt};

/// The data of all files of a package, one after the other, and its records.
pub(crate) struct Unpacked {
    pub(crate) identity: Hash,
    pub(crate) header: Vec<u8>,
    pub(crate) records: Vec<Record>,
    /// Where each record's data starts.
    pub(crate) starts: Vec<u64>,
    pub(crate) length: u64,
    data: Data,
}

/// Where data is read.
enum Data {
    /// One file has all of it.
    One(File),
    /// The files of an installed package; what they lack is in one beside.
    Installed { files: Vec<Option<PathBuf>>, beside: File, open: Mutex<Option<(usize, Arc<File>)>> },
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
        Ok(Self { identity, header, records, starts, length, data: Data::One(data) })
    }

    /// A package whose data is in `data`, as far as the records go.
    pub(crate) fn of_parts(catalogue: &Catalogue, records: Vec<Record>, data: File) -> Self {
        let (starts, length) = starts(&records);
        let (identity, header) = (catalogue.identity(), catalogue.header_bytes().to_vec());
        Self { identity, header, records, starts, length, data: Data::One(data) }
    }

    /// A package as it is installed; `place` says where a record's file is. Every file is hashed. Also says, by the
    /// positions of their records, which files are not as the package has them.
    pub(crate) fn installed(
        catalogue: &Catalogue,
        place: &dyn Fn(&Record) -> Option<PathBuf>,
        folder: &Path,
    ) -> Result<(Self, Vec<usize>), FetchError> {
        let mut records = Vec::new();
        for entry in catalogue.entries() {
            let manifest = |source| FetchError::Manifest { path: String::new(), source };
            records.push(entry.map_err(manifest)?.record);
        }
        let (mut files, mut altered) = (vec![None; records.len()], Vec::new());
        for (position, record) in records.iter().enumerate() {
            let Node::File(content) = &record.node else { continue };
            if content.data_length() == 0 {
                continue;
            }
            let path = place(record).filter(|path| is_as_packed(path, content).unwrap_or(false));
            if path.is_none() {
                altered.push(position);
            }
            files[position] = path;
        }
        let (starts, length) = starts(&records);
        let (identity, header) = (catalogue.identity(), catalogue.header_bytes().to_vec());
        let cannot = |source| crate::PointError::File {
            doing: "making a file in",
            path: folder.to_owned(),
            source,
        };
        let beside = tempfile::tempfile_in(folder).map_err(cannot)?;
        let data = Data::Installed { files, beside, open: Mutex::default() };
        Ok((Self { identity, header, records, starts, length, data }, altered))
    }

    /// Takes data that an installed package lacks.
    pub(crate) fn patch(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match &self.data {
            Data::One(_) => Ok(()),
            Data::Installed { beside, .. } => beside.write_all_at(bytes, offset),
        }
    }

    /// Fills `buffer` from a position of the data.
    pub(crate) fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        let (files, beside, open) = match &self.data {
            Data::One(data) => return data.read_exact_at(buffer, offset),
            Data::Installed { files, beside, open } => (files, beside, open),
        };
        while !buffer.is_empty() {
            let position = self.position(offset)?;
            let range = self.range(position);
            let left = usize::try_from(range.end - offset).unwrap_or(usize::MAX);
            let (part, rest) = buffer.split_at_mut(left.min(buffer.len()));
            match &files[position] {
                None => beside.read_exact_at(part, offset)?,
                Some(path) => {
                    let file = opened(open, position, path)?;
                    read_data(&file, &self.records[position], offset - range.start, part)?;
                }
            }
            offset += part.len() as u64;
            buffer = rest;
        }
        Ok(())
    }

    /// The record whose data holds a position.
    fn position(&self, offset: u64) -> io::Result<usize> {
        let after = self.starts.partition_point(|start| *start <= offset);
        let position = after.checked_sub(1).filter(|_| offset < self.length);
        // Of records that start at the same place only the last has data.
        position.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The range of a record's data.
    pub(crate) fn range(&self, position: usize) -> std::ops::Range<u64> {
        let length = match &self.records[position].node {
            Node::File(content) => content.data_length(),
            _ => 0,
        };
        self.starts[position]..self.starts[position] + length
    }

    /// Hands every chunk to `each`, with where it starts in the data and its length.
    pub(crate) fn each_chunk(&self, each: &mut dyn FnMut(Hash, u64, u32)) {
        for (record, start) in self.records.iter().zip(&self.starts) {
            let Node::File(content) = &record.node else { continue };
            let mut at = *start;
            for chunk in content.each_chunk() {
                each(chunk.hash, at, chunk.length);
                at += u64::from(chunk.length);
            }
        }
    }

    /// The encoded outlines of all records, as a delta goes back to them.
    pub(crate) fn outlines(&self) -> Vec<Vec<u8>> {
        let encode = |record: &Record| {
            let mut bytes = Vec::new();
            let _ = minicbor::encode(Outline::of(record, content::Data::None), &mut bytes);
            bytes
        };
        self.records.iter().map(encode).collect()
    }
}

fn starts(records: &[Record]) -> (Vec<u64>, u64) {
    let mut length = 0;
    let mut starts = Vec::with_capacity(records.len());
    for record in records {
        starts.push(length);
        if let Node::File(content) = &record.node {
            length += content.data_length();
        }
    }
    (starts, length)
}

/// Opens a file unless it is the one that was read last.
fn opened(
    open: &Mutex<Option<(usize, Arc<File>)>>,
    position: usize,
    path: &Path,
) -> io::Result<Arc<File>> {
    let mut open = open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((last, file)) = &*open
        && *last == position
    {
        return Ok(Arc::clone(file));
    }
    let file = Arc::new(File::open(path)?);
    *open = Some((position, Arc::clone(&file)));
    Ok(file)
}

/// Reads what lies between a file's holes, as if it were one piece.
fn read_data(file: &File, record: &Record, mut at: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    let Node::File(content) = &record.node else { return Ok(()) };
    if content.holes.is_empty() {
        return file.read_exact_at(buffer, at);
    }
    let whole = model::Content { length: content.length, hash: None, holes: content.holes.clone() };
    for extent in whole.data() {
        if at >= extent.length {
            at -= extent.length;
            continue;
        }
        let left = usize::try_from(extent.length - at).unwrap_or(usize::MAX);
        let (part, rest) = buffer.split_at_mut(left.min(buffer.len()));
        file.read_exact_at(part, extent.offset + at)?;
        (buffer, at) = (rest, 0);
        if buffer.is_empty() {
            return Ok(());
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Whether an installed file is, byte by byte, what the package has.
fn is_as_packed(path: &Path, content: &FileContent) -> io::Result<bool> {
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_file() || metadata.len() != content.length {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    hasher.read_all(&mut file)?;
    Ok(hasher.finish() == content.hash)
}
