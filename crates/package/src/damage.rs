use std::{fmt, io};

/// A package that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The bytes do not end as a package does: something else, or cut off.
    #[error(
        "this is no package, or its end is missing: {length} bytes that do not end with a package's trailer"
    )]
    NoPackage {
        /// How many bytes there are.
        length: u64,
    },
    /// The package was made by a newer version.
    #[error(
        "the package has format {found}, and this program reads formats up to {known}: use a newer packhorse"
    )]
    NewerFormat {
        /// The package's format.
        found: u32,
        /// The newest format that is understood.
        known: u32,
    },
    /// The package is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// It could not be read.
    #[error("reading the package stopped at byte {at}")]
    Read {
        /// Where.
        at: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A package that cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The package is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// It could not be read.
    #[error("reading the package stopped at byte {at}")]
    Read {
        /// Where.
        at: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Bytes that are not what the writer of the package wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the package is damaged: {part} at byte {at}: {reason}; get a fresh copy")]
pub struct Damage {
    /// Which part of the package.
    pub part: Part,
    /// Where it starts, in bytes from the start of the file.
    pub at: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// A part of a package file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its last bytes.
    Trailer,
    /// The list of its frames.
    Index,
    /// What the package is and does.
    Header,
    /// The list of its files.
    Manifest,
    /// The list of content that repeats.
    Repeats,
    /// Content.
    Content,
}

impl Damage {
    pub(crate) fn new(part: Part, at: u64, reason: impl Into<String>) -> Self {
        Self { part, at, reason: reason.into() }
    }
}

impl ReadError {
    /// Whether the package itself is at fault, and not the reading.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(damage) => Self::Damaged(damage),
            ReadError::Read { at, source } => Self::Read { at, source },
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "the whole",
            Self::Trailer => "the trailer",
            Self::Index => "the index",
            Self::Header => "the header",
            Self::Manifest => "the manifest",
            Self::Repeats => "the list of repeats",
            Self::Content => "the content",
        })
    }
}
