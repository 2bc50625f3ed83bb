use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Hash, MachinePath, Meta};

/// What a path holds, whole: two machines with equal entries at every path are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(array)]
pub struct Entry {
    /// What it is, and its content.
    #[n(0)]
    pub kind: Kind,
    /// Its metadata.
    #[n(1)]
    pub meta: Meta,
}

/// What a path holds, apart from metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A folder; what it holds are entries of their own.
    #[n(0)]
    Directory,
    /// A regular file.
    #[n(1)]
    File(#[n(0)] Content),
    /// A symbolic link and the bytes it points to.
    #[n(2)]
    Symlink(
        #[n(0)]
        #[serde(with = "target_as_text")]
        #[cbor(with = "minicbor::bytes")]
        Vec<u8>,
    ),
    /// Another name of the file at this path, which sorts before it.
    #[n(3)]
    HardLink(#[n(0)] MachinePath),
    /// A named pipe.
    #[n(4)]
    Fifo,
    /// A socket; its meaning ends with the process that made it.
    #[n(5)]
    Socket,
    /// A character device by its numbers.
    #[n(6)]
    CharacterDevice {
        /// The driver.
        #[n(0)]
        major: u32,
        /// The unit.
        #[n(1)]
        minor: u32,
    },
    /// A block device by its numbers.
    #[n(7)]
    BlockDevice {
        /// The driver.
        #[n(0)]
        major: u32,
        /// The unit.
        #[n(1)]
        minor: u32,
    },
}

/// The content of a regular file, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(array)]
pub struct Content {
    /// Apparent size in bytes, holes counted.
    #[n(0)]
    pub length: u64,
    /// The hash of all `length` bytes, holes read as zeros; `None` where nobody has read it yet.
    #[n(1)]
    pub hash: Option<Hash>,
    /// The ranges that are holes, ascending, apart, never empty; none in an ordinary file.
    #[n(2)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<Extent>,
}

/// A range of bytes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(array)]
pub struct Extent {
    /// Where it starts.
    #[n(0)]
    pub offset: u64,
    /// How many bytes it has; at least one.
    #[n(1)]
    pub length: u64,
}

impl Kind {
    /// The field's word for it, as messages use it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Directory => "folder",
            Self::File(_) => "file",
            Self::Symlink(_) => "symbolic link",
            Self::HardLink(_) => "hard link",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
            Self::CharacterDevice { .. } => "character device",
            Self::BlockDevice { .. } => "block device",
        }
    }
}

impl Content {
    /// The ranges of the file that hold data: everything the holes leave, ascending.
    pub fn data(&self) -> impl Iterator<Item = Extent> + '_ {
        let starts =
            std::iter::once(0).chain(self.holes.iter().map(|hole| hole.offset + hole.length));
        let ends = self.holes.iter().map(|hole| hole.offset).chain(std::iter::once(self.length));
        starts
            .zip(ends)
            .filter(|(start, end)| end > start)
            .map(|(offset, end)| Extent { offset, length: end - offset })
    }
}

mod target_as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use crate::{escape, unescape};

    pub(super) fn serialize<S: Serializer>(
        target: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(target))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        unescape(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Extent};

    #[test]
    fn data_is_what_holes_leave() {
        let extent = |offset, length| Extent { offset, length };
        let holes = vec![extent(0, 4), extent(8, 2)];
        let content = Content { length: 20, hash: None, holes };
        assert_eq!(content.data().collect::<Vec<_>>(), [extent(4, 4), extent(10, 10)]);
        let whole = Content { length: 5, hash: None, holes: vec![extent(0, 5)] };
        assert_eq!(whole.data().count(), 0);
    }
}
