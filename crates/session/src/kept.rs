//! Old content kept for the time after the installer: each once, by hash, in one file that only grows
//! (docs/formats/session.md).

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use capture::Record;
use model::{Hash, Kind, MachinePath};

use crate::Place;

/// Files up to this size are kept.
const LARGEST: u64 = 1 << 20;
/// What may be kept of `/etc` in all, in bytes.
const ETC: u64 = 64 << 20;
/// Text has no zero byte in its first part.
const SNIFF: usize = 8 << 10;
const LEVEL: i32 = 3;

/// Decides what is kept, and keeps it.
pub(crate) struct Keeper {
    pack: BufWriter<File>,
    seen: HashSet<Hash>,
    /// All of it is kept, whatever it holds.
    settings: Option<MachinePath>,
    etc_left: u64,
    left: u64,
    /// How many small files were not kept because the budget was spent.
    pub(crate) over_budget: u64,
}

impl Keeper {
    pub(crate) fn create(
        path: &Path,
        settings: Option<MachinePath>,
        budget: u64,
    ) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        Ok(Self {
            pack: BufWriter::new(file),
            seen: HashSet::new(),
            settings,
            etc_left: ETC,
            left: budget,
            over_budget: 0,
        })
    }

    /// Keeps the content of a record, if it is one to keep, and notes its hash there.
    pub(crate) fn consider(&mut self, record: &mut Record, place: &dyn Place) -> io::Result<()> {
        let Kind::File(content) = &mut record.node.kind else { return Ok(()) };
        let in_etc = self.settings.as_ref().is_some_and(|etc| record.path.is_within(etc));
        let left = if in_etc { &mut self.etc_left } else { &mut self.left };
        if content.length > LARGEST || (!in_etc && *left == 0 && self.over_budget > 0) {
            return Ok(());
        }
        if content.length > *left {
            self.over_budget += 1;
            return Ok(());
        }
        let mut bytes = Vec::new();
        let read = place.open().and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
        // Not to be read, or growing: it is only not kept.
        if read.is_err() || bytes.len() as u64 != content.length {
            return Ok(());
        }
        if !in_etc && bytes.iter().take(SNIFF).any(|&byte| byte == 0) {
            return Ok(());
        }
        let hash = Hash::of(&bytes);
        content.hash = Some(hash);
        if self.seen.insert(hash) {
            *left -= content.length;
            let stored = zstd::bulk::compress(&bytes, LEVEL)?;
            let length = |length: usize| u32::try_from(length).map_err(io::Error::other);
            self.pack.write_all(&hash.0)?;
            self.pack.write_all(&length(stored.len())?.to_le_bytes())?;
            self.pack.write_all(&length(bytes.len())?.to_le_bytes())?;
            self.pack.write_all(&stored)?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> io::Result<u64> {
        self.pack.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(self.over_budget)
    }
}

/// What was kept.
pub(crate) struct Kept {
    pack: File,
    /// Where each content is stored, and its two lengths.
    index: HashMap<Hash, (u64, u32, u32)>,
}

impl Kept {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let pack = File::open(path)?;
        let mut reader = BufReader::new(&pack);
        let mut index = HashMap::new();
        let mut at = 0;
        loop {
            let mut head = [0; 40];
            match reader.read_exact(&mut head) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                other => other?,
            }
            let word = |at: usize| {
                u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
            };
            let mut hash = [0; 32];
            hash.copy_from_slice(&head[..32]);
            at += 40;
            index.insert(Hash(hash), (at, word(32), word(36)));
            reader.seek_relative(i64::from(word(32)))?;
            at += u64::from(word(32));
        }
        drop(reader);
        Ok(Self { pack, index })
    }

    /// The content of a hash, proved; `None` when it was not kept.
    pub(crate) fn read(&self, hash: &Hash) -> io::Result<Option<Vec<u8>>> {
        let Some(&(at, stored, raw)) = self.index.get(hash) else { return Ok(None) };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the kept content is damaged");
        if u64::from(raw) > LARGEST || u64::from(stored) > 2 * LARGEST {
            return Err(damaged());
        }
        let mut bytes = vec![0; stored as usize];
        let mut pack = &self.pack;
        pack.seek(SeekFrom::Start(at))?;
        pack.read_exact(&mut bytes).map_err(|_| damaged())?;
        let content = zstd::bulk::decompress(&bytes, raw as usize).map_err(|_| damaged())?;
        if Hash::of(&content) == *hash { Ok(Some(content)) } else { Err(damaged()) }
    }
}
