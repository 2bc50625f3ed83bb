use std::io::{self, Read};

use model::{Entry, MachinePath};

/// Which of the two machines of a [`ChangeSet`](crate::ChangeSet).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// As it was before the installer ran.
    Before,
    /// As it is now.
    After,
}

/// What files held and hold, for those who look for meaning in them. Whoever observed the installer
/// has it; this crate only asks.
pub trait CapturedFiles {
    /// The bytes of the regular file at `path`; `None` where there is none, or its content was not kept.
    fn open(&self, path: &MachinePath, side: Side) -> io::Result<Option<Box<dyn Read + '_>>>;

    /// What is at `path`, changed or not; `None` where there is nothing, or nobody knows.
    fn entry(&self, path: &MachinePath, side: Side) -> io::Result<Option<Entry>>;
}

/// Files longer than this are no text anybody edits, in bytes.
pub const TEXT_LIMIT: u64 = 1 << 20;

/// The whole of a file, unless it is longer than `limit` bytes.
pub(crate) fn read_up_to(
    contents: &dyn CapturedFiles,
    path: &MachinePath,
    side: Side,
    limit: u64,
) -> io::Result<Option<Vec<u8>>> {
    let Some(reader) = contents.open(path, side)? else { return Ok(None) };
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// The whole of a file if it is text: not too long, and without a zero byte.
pub(crate) fn read_text(
    contents: &dyn CapturedFiles,
    path: &MachinePath,
    side: Side,
) -> io::Result<Option<Vec<u8>>> {
    let bytes = read_up_to(contents, path, side, TEXT_LIMIT)?;
    Ok(bytes.filter(|bytes| !bytes.contains(&0)))
}
