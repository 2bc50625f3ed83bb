//! A delta is followed: base and delta become the package.

use std::{
    fs::File,
    io::{self, BufWriter, Read},
    path::Path,
};

use content::{Data, DeltaReader, OutlineNode, ReadDeltaError};
use model::Hash;
use package::{Header, Node, PackageWriter, Settings, WriteError};

use crate::unpacked::Unpacked;

/// A delta that leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The delta.
    #[error(transparent)]
    Delta(#[from] ReadDeltaError),
    /// The package.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The file.
    #[error("writing the package stopped")]
    File(#[source] io::Error),
    /// It is the delta of something else, or its parts contradict each other.
    #[error("the delta does not fit: {reason}")]
    Unfit {
        /// What does not.
        reason: &'static str,
    },
}

/// Chunks remembered while a package file is made: memory is bounded, whatever the package.
const REMEMBERED: usize = 32 << 10;

/// How what is fetched is packed: it is read once, soon, and memory is short.
pub(crate) fn quick() -> Settings {
    Settings { level: -30, frame: 1 << 20, workers: 1, remembered: REMEMBERED }
}

/// Writes the package a delta leads to into `out`; its identity was compared.
pub(crate) fn follow(
    delta: impl Read,
    base: &Unpacked,
    wanted: Hash,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), FollowError> {
    let mut delta = DeltaReader::open(delta)?;
    let unfit = |reason| FollowError::Unfit { reason };
    if delta.head().base != base.identity || delta.head().target != wanted {
        return Err(unfit("it leads from or to another package"));
    }
    let header: Header =
        minicbor::decode(&delta.head().header).map_err(|_| unfit("its header does not parse"))?;
    let outlines = base.outlines();
    let file = File::create(out).map_err(FollowError::File)?;
    let mut writer = PackageWriter::new(BufWriter::with_capacity(1 << 20, file), &[], quick())?;
    while let Some(outline) = delta.next_outline(&outlines)? {
        let content = match &outline.node {
            OutlineNode::File { length, holes, data, .. } => {
                let gone: u64 =
                    holes.iter().fold(0_u64, |sum, hole| sum.saturating_add(hole.length));
                let bytes =
                    length.checked_sub(gone).ok_or(unfit("a file has more holes than bytes"))?;
                let mut read_base = |at: u64, buffer: &mut [u8]| base.read_at(at, buffer);
                let (path, holes) = (&*outline.path, holes.clone());
                let made = match data {
                    Data::None if bytes == 0 => {
                        writer.content(outline.tree, path, *length, holes, &mut io::empty())?
                    }
                    Data::None => return Err(unfit("a file has no data")),
                    Data::Same(position) => {
                        let mut same = same(base, *position, bytes)?;
                        writer.content(outline.tree, path, *length, holes, &mut same)?
                    }
                    Data::Made(lane) => {
                        let mut made = delta.data(*lane, bytes, &mut read_base)?;
                        writer.content(outline.tree, path, *length, holes, &mut made)?
                    }
                };
                progress(bytes);
                Some(made)
            }
            _ => None,
        };
        writer.record(&outline.record(content))?;
    }
    let (written, file) = writer.finish(header)?;
    if written.identity != wanted {
        return Err(unfit("what it leads to is not the release"));
    }
    let file = file.into_inner().map_err(|error| FollowError::File(error.into_error()))?;
    file.sync_all().map_err(FollowError::File)
}

/// The data of a record of the base.
pub(crate) fn same(
    base: &Unpacked,
    position: u64,
    bytes: u64,
) -> Result<Piecewise<'_>, FollowError> {
    let position = usize::try_from(position).unwrap_or(usize::MAX);
    let is_file =
        base.records.get(position).is_some_and(|record| matches!(record.node, Node::File(_)));
    let range = if is_file { base.range(position) } else { 0..0 };
    if range.end - range.start != bytes {
        return Err(FollowError::Unfit { reason: "a file is the same as one of another length" });
    }
    Ok(Piecewise { base, range })
}

/// A stretch of the base's data.
pub(crate) struct Piecewise<'b> {
    base: &'b Unpacked,
    range: std::ops::Range<u64>,
}

impl Read for Piecewise<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let take = left.min(out.len());
        self.base.read_at(self.range.start, &mut out[..take])?;
        self.range.start += take as u64;
        Ok(take)
    }
}
