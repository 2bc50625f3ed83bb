use std::fmt;

use minicbor::{Decode, Encode};
use model::{MachinePath, Setting, SettingState, Time};

use crate::{CommandRequest, RawMeta};

/// One decided change to one path, with what undoing it needs. The change itself follows from the
/// intent and its number alone, so a crashed run can be undone, or finished, from its journal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Intent {
    /// Names come and go in this folder. Journalled before them, so that its time is set after them,
    /// both ways.
    #[n(0)]
    Folder {
        /// The folder.
        #[n(0)]
        path: MachinePath,
        /// Its modification time before.
        #[n(1)]
        old: Time,
        /// The time it gets; the machine's own when `None`.
        #[n(2)]
        new: Option<Time>,
    },
    /// Something comes to be where nothing was: staged beside, then renamed.
    #[n(1)]
    Create {
        /// Where.
        #[n(0)]
        path: MachinePath,
    },
    /// What is there gives way to something staged beside.
    #[n(2)]
    Replace {
        /// Where.
        #[n(0)]
        path: MachinePath,
        /// Where the old one is kept.
        #[n(1)]
        saved: Saved,
    },
    /// What is there goes: renamed aside, and removed after the commit.
    #[n(3)]
    Remove {
        /// Where.
        #[n(0)]
        path: MachinePath,
        /// Where it is kept, if anybody may want it back after the commit.
        #[n(1)]
        saved: Option<Saved>,
    },
    /// What is there gets other metadata, in place.
    #[n(4)]
    SetMeta {
        /// Where.
        #[n(0)]
        path: MachinePath,
        /// Its metadata before.
        #[n(1)]
        old: Box<RawMeta>,
        /// Its metadata after.
        #[n(2)]
        new: Box<RawMeta>,
    },
    /// A command may change this path: kept as it is.
    #[n(5)]
    Keep {
        /// Where.
        #[n(0)]
        path: MachinePath,
        /// Where it is kept; `None` where nothing was.
        #[n(1)]
        saved: Option<Saved>,
    },
    /// Content for this path is put among the kept copies, for a day that may come.
    #[n(6)]
    Store {
        /// Where it would stand.
        #[n(0)]
        path: MachinePath,
        /// Where it is kept.
        #[n(1)]
        saved: Saved,
    },
    /// A program runs.
    #[n(7)]
    Run {
        /// What runs.
        #[n(0)]
        command: CommandRequest,
        /// How it is taken back.
        #[n(1)]
        undo: Undo,
    },
    /// A setting that is no file changes, in place: what it was and what it becomes, whole.
    #[n(8)]
    Set {
        /// Which.
        #[n(0)]
        setting: Setting,
        /// What it was; `None` where it was not there.
        #[n(1)]
        old: Option<SettingState>,
        /// What it becomes; `None` where it goes.
        #[n(2)]
        new: Option<SettingState>,
    },
}

/// A kept copy, in the state folder's `saved`, of what a path held.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct Saved {
    /// Its name there: the hash of path, metadata and content.
    #[n(0)]
    pub name: model::Hash,
    /// Whether this transaction made the copy, and may take it.
    #[n(1)]
    pub fresh: bool,
}

/// How a program that ran is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Undo {
    /// What it changed was kept, and is put back.
    #[n(0)]
    Kept,
    /// Another program takes it back.
    #[n(1)]
    Run(#[n(0)] CommandRequest),
    /// Nothing does.
    #[n(2)]
    Irreversible,
}

impl Intent {
    /// The path it is about; `None` for a program or a setting.
    pub fn path(&self) -> Option<&MachinePath> {
        match self {
            Self::Folder { path, .. }
            | Self::Create { path }
            | Self::Replace { path, .. }
            | Self::Remove { path, .. }
            | Self::SetMeta { path, .. }
            | Self::Keep { path, .. }
            | Self::Store { path, .. } => Some(path),
            Self::Run { .. } | Self::Set { .. } => None,
        }
    }

    /// The place it is about, settings included; `None` for a program.
    pub fn place(&self) -> Option<MachinePath> {
        match self {
            Self::Set { setting, .. } => Some(setting.path()),
            other => other.path().cloned(),
        }
    }
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, .. } => write!(f, "change what folder `{path}` holds"),
            Self::Create { path } => write!(f, "create `{path}`"),
            Self::Replace { path, .. } => write!(f, "replace `{path}`, keeping what is there"),
            Self::Remove { path, .. } => write!(f, "remove `{path}`"),
            Self::SetMeta { path, .. } => write!(f, "set the metadata of `{path}`"),
            Self::Keep { path, .. } => write!(f, "keep `{path}` as it is"),
            Self::Store { path, .. } => write!(f, "keep our `{path}` for later"),
            Self::Run { command, .. } => write!(f, "run {command}"),
            Self::Set { setting, old: None, .. } => write!(f, "create the {setting}"),
            Self::Set { setting, new: None, .. } => write!(f, "remove the {setting}"),
            Self::Set { setting, .. } => write!(f, "change the {setting}"),
        }
    }
}

impl fmt::Display for CommandRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.command.iter().map(|word| model::escape(word)).collect();
        write!(f, "`{}`", words.join(" "))
    }
}

pub(crate) mod byte_strings {
    use minicbor::{Decoder, Encoder};

    pub(crate) fn encode<C, W: minicbor::encode::Write>(
        strings: &[Vec<u8>],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(strings.len() as u64)?;
        strings.iter().try_for_each(|string| e.bytes(string).map(|_| ()))
    }

    pub(crate) fn decode<'b, C>(
        d: &mut Decoder<'b>,
        _: &mut C,
    ) -> Result<Vec<Vec<u8>>, minicbor::decode::Error> {
        let count = d
            .array()?
            .ok_or_else(|| minicbor::decode::Error::message("a command has a known length"))?;
        (0..count).map(|_| Ok(d.bytes()?.to_vec())).collect()
    }
}
