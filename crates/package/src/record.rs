use minicbor::{Decode, Encode};
use model::{Extent, Hash, Meta, Shortcut, Template};

/// One entry of the payload. Records are sorted by tree, then by path as
/// [`MachinePath`](model::MachinePath)s sort: a folder comes right before what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Record {
    /// The tree it belongs to: a position in [`Header::trees`](crate::Header::trees).
    #[n(0)]
    pub tree: u32,
    /// Its path below the tree's root, parts divided by `/`; empty for the root itself.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub path: Vec<u8>,
    /// What it is.
    #[n(2)]
    pub node: Node,
    /// Its metadata.
    #[n(3)]
    pub meta: Meta,
}

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Node {
    /// A folder.
    #[n(0)]
    Directory,
    /// A regular file.
    #[n(1)]
    File(#[n(0)] FileContent),
    /// A symbolic link.
    #[n(2)]
    Symlink(#[n(0)] Template),
    /// Another name of an earlier file record of the package.
    #[n(3)]
    HardLink {
        /// The tree of that record.
        #[n(0)]
        tree: u32,
        /// Its path.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        path: Vec<u8>,
    },
    /// A named pipe.
    #[n(4)]
    Fifo,
    /// A character device.
    #[n(5)]
    CharacterDevice {
        /// The driver.
        #[n(0)]
        major: u32,
        /// The unit.
        #[n(1)]
        minor: u32,
    },
    /// A block device.
    #[n(6)]
    BlockDevice {
        /// The driver.
        #[n(0)]
        major: u32,
        /// The unit.
        #[n(1)]
        minor: u32,
    },
    /// A folder the package needs but says nothing about: made with this metadata where nothing is, left as it is
    /// where a folder is.
    #[n(7)]
    Carrier,
}

/// The content of a regular file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct FileContent {
    /// Apparent size in bytes, holes counted.
    #[n(0)]
    pub length: u64,
    /// The hash of all `length` bytes before substitutions, holes read as zeros.
    #[n(1)]
    pub hash: Hash,
    /// The ranges that are holes, as in [`Content`](model::Content).
    #[n(2)]
    pub holes: Vec<Extent>,
    /// The data between the holes, one after the other, cut into chunks. Empty where one chunk is all
    /// there is and its hash is `hash` (no holes, at least one byte).
    #[n(3)]
    pub chunks: Vec<Chunk>,
    /// Ranges that become something else at install, ascending, apart; only in files without holes.
    #[n(4)]
    pub substitutions: Vec<Substitution>,
}

/// A piece of content, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Chunk {
    /// The hash of its bytes.
    #[n(0)]
    pub hash: Hash,
    /// How many there are; at least one.
    #[n(1)]
    pub length: u32,
}

/// A range of a payload file that becomes a variable's value at install.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Substitution {
    /// The range in the payload.
    #[n(0)]
    pub range: Extent,
    /// What stands there instead.
    #[n(1)]
    pub with: Template,
    /// What is made of that first; `None` where it stands as it is.
    #[n(2)]
    pub form: Option<Form>,
}

/// What is made of a text once its variables have values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Form {
    /// A shortcut of Windows, of [`Shortcut::to_text`](model::Shortcut::to_text).
    #[n(0)]
    Shortcut,
}

impl Substitution {
    /// The bytes that stand there, of the expanded template.
    pub fn formed(&self, expanded: Vec<u8>) -> Vec<u8> {
        match self.form {
            None => expanded,
            Some(Form::Shortcut) => {
                Shortcut::from_text(&String::from_utf8_lossy(&expanded)).to_bytes()
            }
        }
    }
}

impl FileContent {
    /// Its chunks, the single one that is not written out included.
    pub fn each_chunk(&self) -> impl Iterator<Item = Chunk> + '_ {
        let single =
            (self.chunks.is_empty() && self.holes.is_empty() && self.length > 0).then(|| Chunk {
                hash: self.hash,
                length: u32::try_from(self.length).unwrap_or(u32::MAX),
            });
        single.into_iter().chain(self.chunks.iter().copied())
    }

    /// Bytes of data, holes not counted.
    pub fn data_length(&self) -> u64 {
        self.holes.iter().fold(self.length, |left, hole| left.saturating_sub(hole.length))
    }
}
