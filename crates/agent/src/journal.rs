//! The history of runs on disk (docs/formats/run-journal.md): appended to, and durable before anything is done by it. Twice, so
//! that what happens to one file does not happen to the history.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use model::Hash;
use running::{Book, Entry};

use crate::durable;

/// What a history begins with: what it is, and its format.
const HEAD: &[u8; 12] = b"PHRUNS\n\0\x01\0\0\0";
/// A history longer than this is written anew, once that would halve it, in bytes.
const LONG: u64 = 256 << 10;
/// No entry is longer, in bytes.
const LONGEST: u32 = 64 << 20;

/// The history of runs.
#[derive(Debug)]
pub struct Journal {
    copies: [Copy; 2],
    /// From which length on it may be worth writing anew, in bytes.
    look_at: u64,
}

#[derive(Debug)]
struct Copy {
    path: PathBuf,
    file: File,
    length: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct History {
    /// Every run, every message.
    pub book: Book,
    /// What was wrong with it and was mended, in words.
    pub notes: Vec<String>,
    /// Why there may have been runs that nothing here knows of.
    pub lost: Option<String>,
}

/// The history cannot be used. Nothing is run without it.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk.
    #[error("{doing} the history of runs `{}` stopped", path.display())]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was written by a newer agent.
    #[error("the history of runs `{}` has format {found}, known is 1: run the newer agent again", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

impl JournalError {
    /// Whether there is no room on the disk.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Disk { source, .. } if durable::is_full(source))
    }
}

impl Journal {
    /// Opens both copies, brings the one that is behind up to the other, and cuts torn ends. `is_known` is whether this
    /// machine had a history before; `series` is any number.
    pub fn open(
        paths: [PathBuf; 2],
        is_known: bool,
        series: u64,
    ) -> Result<(Self, History), JournalError> {
        let [one, two] = [read(&paths[0])?, read(&paths[1])?];
        let mut notes: Vec<String> = one.note.iter().chain(&two.note).cloned().collect();
        let both_gone = one.book.number() == 0 && two.book.number() == 0;
        // One that was put back to an earlier state is behind, and the other knows.
        let (ahead, behind) =
            if one.book.number() >= two.book.number() { (one, two) } else { (two, one) };
        if !both_gone && ahead.book.number() > behind.book.number() + 1 {
            notes.push(format!(
                "`{}` had lost entries; the other copy has them",
                behind.path.display()
            ));
        }
        // The last appended entry may be in one copy only: that is a crash and no loss.
        let is_vouched = !behind.is_damaged && behind.book.number() + 1 >= ahead.book.number();
        let has_gap = ahead.is_damaged && !is_vouched;
        let lost = match (both_gone && is_known, has_gap) {
            (true, _) => Some("both copies of the history of runs are gone".to_owned()),
            (false, true) => Some("both copies of the history of runs are damaged".to_owned()),
            (false, false) => None,
        };
        let mut book = ahead.book.clone();
        if book.number() == 0 {
            book.take(&Book::first(series));
        }
        let is_whole = |kept: &Kept| kept.book == book && kept.note.is_none();
        let whole = [&ahead.path, &behind.path]
            .map(PathBuf::clone)
            .into_iter()
            .zip([ahead.book == book && ahead.note.is_none(), is_whole(&behind)])
            .collect::<std::collections::BTreeMap<_, _>>();
        // What is as it should be is left alone: there may be no room to write it anew.
        let copy = |path: &PathBuf| match whole.get(path) {
            Some(true) => again(path),
            _ => fresh(path, &book),
        };
        let copies = [copy(&paths[0])?, copy(&paths[1])?];
        Ok((Self { copies, look_at: LONG }, History { book, notes, lost }))
    }

    /// Appends an entry to both copies. It is durable in both before this returns.
    pub fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let bytes = frame(entry);
        let disk = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| JournalError::Disk { doing, path, source }
        };
        let written = self.copies.iter_mut().try_for_each(|Copy { path, file, .. }| {
            let written = file.write_all(&bytes).and_then(|()| file.sync_data());
            written.map_err(disk("writing", path))
        });
        if written.is_err() {
            // It never was, in either: what followed half an entry would be lost, and its number comes again.
            for Copy { path, file, length } in &self.copies {
                file.set_len(*length).map_err(disk("shortening", path))?;
            }
            return written;
        }
        for copy in &mut self.copies {
            copy.length += bytes.len() as u64;
        }
        Ok(())
    }

    /// Writes the history anew if that makes it much shorter. One copy is whole at any time.
    pub fn shorten(&mut self, book: &Book) -> Result<bool, JournalError> {
        let length = self.copies[0].length;
        if length < self.look_at {
            return Ok(false);
        }
        if frame(&book.whole()).len() as u64 * 2 > length {
            // It is as long as it must be: not worth a look before it has grown.
            self.look_at = length + LONG;
            return Ok(false);
        }
        self.look_at = LONG;
        for index in 0..2 {
            let path = self.copies[index].path.clone();
            self.copies[index] = fresh(&path, book)?;
        }
        Ok(true)
    }
}

/// Reads the history without touching it, as far as it is whole.
pub fn look(paths: &[PathBuf; 2]) -> Result<Book, JournalError> {
    let [one, two] = [read(&paths[0])?, read(&paths[1])?];
    Ok(if one.book.number() >= two.book.number() { one.book } else { two.book })
}

/// A copy as it was found.
struct Kept {
    path: PathBuf,
    book: Book,
    note: Option<String>,
    /// Whether something is wrong with it that no crash explains.
    is_damaged: bool,
}

fn read(path: &Path) -> Result<Kept, JournalError> {
    let disk = |source| JournalError::Disk { doing: "reading", path: path.to_owned(), source };
    let mut kept =
        Kept { path: path.to_owned(), book: Book::default(), note: None, is_damaged: false };
    let Some(bytes) = durable::read(path).map_err(disk)? else { return Ok(kept) };
    let (head, mut rest) = bytes.split_at(HEAD.len().min(bytes.len()));
    if head != HEAD {
        let found =
            head.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
        if head.starts_with(&HEAD[..8]) && found > 1 {
            return Err(JournalError::Newer { path: path.to_owned(), found });
        }
        kept.is_damaged = true;
        kept.note = Some(format!("`{}` is no history of runs", path.display()));
        return Ok(kept);
    }
    while let Some((entry, left)) = next(rest) {
        kept.book.take(&entry);
        rest = left;
    }
    if !rest.is_empty() {
        let at = bytes.len() - rest.len();
        kept.note = Some(format!(
            "`{}` ended in {} bytes that are no entry, at byte {at}: they were cut off",
            path.display(),
            rest.len()
        ));
        // A torn end is followed by nothing; anything whole behind it shows that more was lost.
        kept.is_damaged =
            (1..rest.len()).any(|skip| next(&rest[skip..]).is_some()) || kept.book.number() == 0;
    }
    Ok(kept)
}

/// The first entry of `bytes`, and what follows it.
fn next(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?);
    if length > LONGEST {
        return None;
    }
    let check = bytes.get(4..12)?;
    let end = 12 + usize::try_from(length).ok()?;
    let payload = bytes.get(12..end)?;
    if Hash::of(payload).0[..8] != *check {
        return None;
    }
    Some((minicbor::decode(payload).ok()?, &bytes[end..]))
}

fn frame(entry: &Entry) -> Vec<u8> {
    let payload = minicbor::to_vec(entry).unwrap_or_default();
    let mut bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    bytes.extend_from_slice(&Hash::of(&payload).0[..8]);
    bytes.extend_from_slice(&payload);
    bytes
}

/// A copy that holds the whole book and nothing else, in the place of what was there.
fn fresh(path: &Path, book: &Book) -> Result<Copy, JournalError> {
    let disk = |doing| move |source| JournalError::Disk { doing, path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(disk("making the folder of"))?;
    }
    let mut bytes = HEAD.to_vec();
    bytes.extend(frame(&book.whole()));
    durable::write(path, &bytes).map_err(disk("writing"))?;
    again(path)
}

/// A copy that is as it should be.
fn again(path: &Path) -> Result<Copy, JournalError> {
    let disk = |source| JournalError::Disk { doing: "opening", path: path.to_owned(), source };
    let file = OpenOptions::new().append(true).open(path).map_err(disk)?;
    let length = file.metadata().map_err(disk)?.len();
    Ok(Copy { path: path.to_owned(), file, length })
}
