use std::collections::BTreeMap;

use change::{Damaged, FrameReader, MachineError, Node, Observe, RawMeta, Saved, frame};
use minicbor::{Decode, Encode};
use model::{
    Architecture, Hash, MachinePath, PackageName, RunStep, Setting, SettingState, Template, Time,
    Version,
};

use crate::FileEdit;

/// The version of the receipt's format this crate writes, and the newest it reads.
pub const RECEIPT_FORMAT: u32 = 1;

/// One record of a receipt: what a package brought to a machine, and what was there before. Described
/// in docs/formats/receipt.md.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ReceiptRecord {
    /// The first record: which package.
    #[n(0)]
    Header(#[n(0)] Box<ReceiptHeader>),
    /// An entry the package answers for.
    #[n(1)]
    Claim(#[n(0)] Claim),
    /// Changes to a text file shared with others.
    #[n(2)]
    Edit(#[n(0)] EditClaim),
    /// A program that ran, and how it is taken back.
    #[n(3)]
    Ran(#[n(0)] Ran),
    /// A folder that was there before and had names come and go in it.
    #[n(4)]
    Folder {
        /// The folder.
        #[n(0)]
        path: MachinePath,
        /// Its time before the package.
        #[n(1)]
        before: Time,
        /// Its time after.
        #[n(2)]
        after: Time,
    },
    /// A path that a step took away.
    #[n(6)]
    Removed {
        /// Where.
        #[n(0)]
        path: MachinePath,
        /// What was there.
        #[n(1)]
        before: Before,
    },
    /// A setting that is no file, which the package answers for.
    #[n(7)]
    Set(#[n(0)] SettingClaim),
    /// The last record: how many records came before it. A receipt without it is damaged.
    #[n(5)]
    End(#[n(0)] u64),
}

/// A setting a package answers for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SettingClaim {
    /// Which.
    #[n(0)]
    pub setting: Setting,
    /// What the package wants it to be; `None` where it wants it gone.
    #[n(1)]
    pub wanted: Option<SettingState>,
    /// What it was before the first package that claims it; `None` where it was not there.
    #[n(2)]
    pub before: Option<SettingState>,
    /// The texts the package added to a list divided by `;`, if that is all it wants of it.
    #[n(3)]
    pub added: Vec<String>,
}

/// Which package a receipt is of.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ReceiptHeader {
    /// [`RECEIPT_FORMAT`] of the writer.
    #[n(0)]
    pub format: u32,
    /// The package.
    #[n(1)]
    pub name: PackageName,
    /// Its version.
    #[n(2)]
    pub version: Version,
    /// The machines it is for.
    #[n(3)]
    pub architecture: Architecture,
    /// The transaction that brought it: the order of installation.
    #[n(4)]
    pub number: u64,
    /// When that was, by the machine's clock. Data, never an order.
    #[n(5)]
    pub installed: Time,
    /// What its variables were.
    #[n(6)]
    pub variables: BTreeMap<Box<str>, String>,
    /// Patterns over paths of files an administrator may change.
    #[n(7)]
    pub configuration: Vec<String>,
    /// Patterns over paths of what the program makes for itself, variables expanded.
    #[n(8)]
    pub generated: Vec<String>,
    /// Programs to run around uninstalling.
    #[n(9)]
    pub hooks: Vec<RunStep>,
    /// The version it replaced, if it was an update.
    #[n(10)]
    pub replaced: Option<Version>,
    /// The package's summary line.
    #[n(11)]
    pub summary: String,
}

/// An entry a package answers for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Claim {
    /// Where, canonical.
    #[n(0)]
    pub path: MachinePath,
    /// What the package wants there.
    #[n(1)]
    pub node: Node,
    /// With this metadata; a folder's time is not minded.
    #[n(2)]
    pub meta: RawMeta,
    /// The content of a file.
    #[n(3)]
    pub hash: Option<Hash>,
    /// What was there before the first package that claims it.
    #[n(4)]
    pub before: Before,
    /// The file's own version, for [`model::ReplaceRule::Newer`].
    #[n(5)]
    pub version: Option<Version>,
    /// Whether the package's own is what stands there.
    #[n(6)]
    pub stands: Stands,
    /// The first name of a hard-linked file, for its further names.
    #[n(7)]
    pub link: Option<MachinePath>,
}

/// What was at a path before any package claimed it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Before {
    /// Nothing.
    #[n(0)]
    Nothing,
    /// The same thing with this metadata; it is not ours to remove.
    #[n(1)]
    Same(#[n(0)] RawMeta),
    /// Something else, kept.
    #[n(2)]
    Kept(#[n(0)] Saved),
}

/// Whose content stands at a claimed path.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Stands {
    /// The package's own.
    #[n(0)]
    Ours,
    /// Another's newer one; ours is kept for the day that one goes.
    #[n(1)]
    Newer(#[n(0)] Saved),
    /// The administrator's; ours lies beside it at this path.
    #[n(2)]
    Changed(#[n(0)] MachinePath),
    /// What was there, since the package says never to replace it.
    #[n(3)]
    Theirs,
}

/// Changes a package made to a text file shared with others.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct EditClaim {
    /// The file, canonical.
    #[n(0)]
    pub path: MachinePath,
    /// The changes, variables expanded.
    #[n(1)]
    pub edits: Vec<FileEdit>,
    /// What the file was before the first package that edits it.
    #[n(2)]
    pub before: Before,
    /// The hash of its content before this package's edits; `None` where there was no file.
    #[n(3)]
    pub from: Option<Hash>,
    /// The hash of its content after.
    #[n(4)]
    pub to: Hash,
}

/// A program that ran while installing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Ran {
    /// What ran.
    #[n(0)]
    pub command: change::CommandRequest,
    /// How uninstalling takes it back.
    #[n(1)]
    pub undo: change::Undo,
    /// Paths it may change, what each was before, and the hash of what it was after, if anything.
    #[n(2)]
    pub outputs: Vec<Output>,
    /// The sentence people read.
    #[n(3)]
    pub sentence: String,
}

/// A path a program may have changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Output {
    /// Where.
    #[n(0)]
    pub path: MachinePath,
    /// What was there before; `None` for nothing.
    #[n(1)]
    pub before: Option<Saved>,
    /// The name under which what was there after would be kept; `None` for nothing.
    #[n(2)]
    pub after: Option<Hash>,
}

/// A receipt could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadReceiptError {
    /// The machine refused.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A record is of another kind than this version knows.
    #[error("the receipt `{path}` is damaged")]
    Frames {
        /// The receipt.
        path: MachinePath,
        /// Where.
        #[source]
        reason: Damaged,
    },
    /// It does not start or end as receipts do.
    #[error("the receipt `{path}` is damaged: {what}")]
    Shape {
        /// The receipt.
        path: MachinePath,
        /// How.
        what: &'static str,
    },
    /// It was written by a newer version of the product.
    #[error(
        "the receipt `{path}` has format {found}, this version reads up to {known}: update packhorse"
    )]
    Newer {
        /// The receipt.
        path: MachinePath,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
}

impl ReadReceiptError {
    /// Which receipt; `None` where none could be looked at.
    pub(crate) fn receipt(&self) -> Option<&MachinePath> {
        match self {
            Self::Machine(_) => None,
            Self::Frames { path, .. } | Self::Shape { path, .. } | Self::Newer { path, .. } => {
                Some(path)
            }
        }
    }
}

/// A receipt on a machine, and where each path's record stands in it: 16 bytes a record in memory.
#[derive(Debug)]
pub struct Receipt {
    /// Which package.
    pub header: ReceiptHeader,
    /// The file.
    pub path: MachinePath,
    /// Pairs of a path's short hash and its record's position, sorted.
    index: Vec<(u64, u64)>,
    /// Where its records end.
    end: u64,
}

impl Receipt {
    /// Opens the receipt at `path`, checking that it is whole.
    pub fn open(
        machine: &(impl Observe + ?Sized),
        path: MachinePath,
    ) -> Result<Self, ReadReceiptError> {
        let mut header = None;
        let mut index = Vec::new();
        let mut count = 0;
        let mut ended = None;
        let mut reader = FrameReader::open(machine, path.clone())?;
        loop {
            let position = reader.position();
            let record = reader
                .forward::<ReceiptRecord>()
                .map_err(|reason| ReadReceiptError::Frames { path: path.clone(), reason })?;
            match record {
                None => break,
                Some(ReceiptRecord::Header(found)) if found.format > RECEIPT_FORMAT => {
                    return Err(ReadReceiptError::Newer {
                        path,
                        found: found.format,
                        known: RECEIPT_FORMAT,
                    });
                }
                Some(ReceiptRecord::Header(found)) => header = Some(*found),
                Some(ReceiptRecord::End(records)) => ended = Some(records),
                Some(
                    ReceiptRecord::Claim(Claim { path, .. })
                    | ReceiptRecord::Edit(EditClaim { path, .. })
                    | ReceiptRecord::Removed { path, .. }
                    | ReceiptRecord::Folder { path, .. },
                ) => index.push((short_hash(&path), position)),
                Some(ReceiptRecord::Set(claim)) => {
                    index.push((short_hash(&claim.setting.path()), position));
                }
                Some(ReceiptRecord::Ran(_)) => {}
            }
            count += 1;
        }
        let shape = |what| ReadReceiptError::Shape { path: path.clone(), what };
        let header = header.ok_or_else(|| shape("it has no header"))?;
        if reader.has_torn_end() || ended != Some(count - 1) {
            return Err(shape("its end is missing"));
        }
        index.sort_unstable();
        let end = reader.position();
        Ok(Self { header, path, index, end })
    }

    /// What the package claims at `path`.
    pub fn claim(
        &self,
        machine: &(impl Observe + ?Sized),
        path: &MachinePath,
    ) -> Result<Option<Claim>, ReadReceiptError> {
        let found = self.records_at(machine, path, |record| match record {
            ReceiptRecord::Claim(claim) if claim.path == *path => Some(claim),
            _ => None,
        })?;
        Ok(found.into_iter().next())
    }

    /// What the package claims of a setting, last where it claims more than once.
    pub fn setting(
        &self,
        machine: &(impl Observe + ?Sized),
        setting: &Setting,
    ) -> Result<Option<SettingClaim>, ReadReceiptError> {
        let place = setting.path();
        let found = self.records_at(machine, &place, |record| match record {
            ReceiptRecord::Set(claim) if claim.setting.path() == place => Some(claim),
            _ => None,
        })?;
        Ok(found.into_iter().next_back())
    }

    /// Whether the package put its own at `path`, beside a file the administrator had changed.
    pub(crate) fn is_beside(
        &self,
        machine: &(impl Observe + ?Sized),
        path: &MachinePath,
    ) -> Result<bool, ReadReceiptError> {
        if !path.name().is_some_and(|name| name.ends_with(crate::trees::BESIDE.as_bytes())) {
            return Ok(false);
        }
        let mut found = false;
        self.records(machine, 0, |record| {
            found |= matches!(record, ReceiptRecord::Claim(claim)
                if claim.stands == Stands::Changed(path.clone()));
            !found
        })?;
        Ok(found)
    }

    /// What was at `path` before the package took it away.
    pub fn removed(
        &self,
        machine: &(impl Observe + ?Sized),
        path: &MachinePath,
    ) -> Result<Option<Before>, ReadReceiptError> {
        let found = self.records_at(machine, path, |record| match record {
            ReceiptRecord::Removed { path: removed, before } if removed == *path => Some(before),
            _ => None,
        })?;
        Ok(found.into_iter().next())
    }

    /// The times the package found the folder `path` with and left it with.
    pub(crate) fn times(
        &self,
        machine: &(impl Observe + ?Sized),
        path: &MachinePath,
    ) -> Result<Option<(Time, Time)>, ReadReceiptError> {
        let found = self.records_at(machine, path, |record| match record {
            ReceiptRecord::Folder { path: folder, before, after } if folder == *path => {
                Some((before, after))
            }
            _ => None,
        })?;
        Ok(found.into_iter().next())
    }

    /// What the package edits at `path`.
    pub fn edits(
        &self,
        machine: &(impl Observe + ?Sized),
        path: &MachinePath,
    ) -> Result<Vec<EditClaim>, ReadReceiptError> {
        self.records_at(machine, path, |record| match record {
            ReceiptRecord::Edit(edit) if edit.path == *path => Some(edit),
            _ => None,
        })
    }

    fn records_at<T>(
        &self,
        machine: &(impl Observe + ?Sized),
        path: &MachinePath,
        mut pick: impl FnMut(ReceiptRecord) -> Option<T>,
    ) -> Result<Vec<T>, ReadReceiptError> {
        let hash = short_hash(path);
        let first = self.index.partition_point(|(other, _)| *other < hash);
        let mut picked = Vec::new();
        for (_, position) in self.index[first..].iter().take_while(|(other, _)| *other == hash) {
            let mut reader = FrameReader::open(machine, self.path.clone())?;
            reader.seek(*position);
            let record = reader
                .forward::<ReceiptRecord>()
                .map_err(|reason| ReadReceiptError::Frames { path: self.path.clone(), reason })?;
            picked.extend(record.and_then(&mut pick));
        }
        Ok(picked)
    }

    /// Every record between header and end, from position `from` on; `act` answers with whether to go
    /// on. Answers the position after the last record taken, or `None` at the end.
    pub fn records(
        &self,
        machine: &(impl Observe + ?Sized),
        from: u64,
        mut act: impl FnMut(ReceiptRecord) -> bool,
    ) -> Result<Option<u64>, ReadReceiptError> {
        let mut reader = FrameReader::open(machine, self.path.clone())?;
        reader.seek(from);
        loop {
            let record = reader
                .forward::<ReceiptRecord>()
                .map_err(|reason| ReadReceiptError::Frames { path: self.path.clone(), reason })?;
            match record {
                None | Some(ReceiptRecord::End(_)) => return Ok(None),
                Some(ReceiptRecord::Header(_)) => {}
                Some(record) => {
                    if !act(record) {
                        return Ok(Some(reader.position()));
                    }
                }
            }
        }
    }

    /// Records before position `from`, or the end, some thousands at a time, last first, and where to go on.
    pub(crate) fn run_backward(
        &self,
        machine: &(impl Observe + ?Sized),
        from: Option<u64>,
    ) -> Result<(Vec<ReceiptRecord>, u64), ReadReceiptError> {
        let mut reader = FrameReader::open(machine, self.path.clone())?;
        reader.seek(from.unwrap_or(self.end));
        let mut run = Vec::new();
        let frames = |reason| ReadReceiptError::Frames { path: self.path.clone(), reason };
        while run.len() < 2048
            && let Some(record) = reader.backward::<ReceiptRecord>().map_err(frames)?
        {
            run.push(record);
        }
        Ok((run, reader.position()))
    }

    /// The next records from `from`, some thousands at a time, and where to go on.
    pub fn run(
        &self,
        machine: &(impl Observe + ?Sized),
        from: u64,
    ) -> Result<(Vec<ReceiptRecord>, Option<u64>), ReadReceiptError> {
        let mut run = Vec::new();
        let next = self.records(machine, from, |record| {
            run.push(record);
            run.len() < 2048
        })?;
        Ok((run, next))
    }
}

fn short_hash(path: &MachinePath) -> u64 {
    let hash = Hash::of(path.as_bytes());
    hash.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Gathers records of a receipt into bytes to append.
#[derive(Debug, Default)]
pub(crate) struct ReceiptWriter {
    pub(crate) gathered: Vec<u8>,
    count: u64,
}

impl ReceiptWriter {
    pub(crate) fn add(&mut self, record: &ReceiptRecord) {
        self.gathered.extend_from_slice(&frame(record));
        self.count += 1;
    }

    pub(crate) fn end(&mut self) {
        let count = self.count;
        self.add(&ReceiptRecord::End(count));
    }
}

/// The patterns in `templates` with variables expanded; one that names an unknown variable is left out,
/// which compiling has refused.
pub(crate) fn expand_patterns(
    templates: &[Template],
    variables: &BTreeMap<Box<str>, String>,
) -> Vec<String> {
    let value = |name: &str| variables.get(name).map(String::as_str);
    templates
        .iter()
        .filter_map(|template| String::from_utf8(template.expand(value).ok()?).ok())
        .collect()
}
