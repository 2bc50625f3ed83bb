use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use model::{Time, Xattrs};
use serde::{Deserialize, Serialize};

/// Metadata as one machine keeps it: accounts as this machine's numbers, access control lists as
/// attributes. What a plan holds, since a plan has nothing left to choose.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct RawMeta {
    /// Permission bits, `0o7777` at most; symlinks have `0o777`.
    #[n(0)]
    pub mode: u16,
    /// The owner's number.
    #[n(1)]
    pub user: u32,
    /// The group's number.
    #[n(2)]
    pub group: u32,
    /// When the content last changed.
    #[n(3)]
    pub modified: Time,
    /// All extended attributes we keep: `user.*`, `security.capability`, `system.posix_acl_*`, `trusted.*` but overlay's.
    #[n(4)]
    #[cbor(with = "attributes")]
    pub xattrs: Xattrs,
}

/// What a path is, apart from metadata, content of files left out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// A folder.
    #[n(0)]
    Directory,
    /// A regular file of this many bytes.
    #[n(1)]
    File {
        /// Apparent size.
        #[n(0)]
        length: u64,
    },
    /// A symbolic link and what it says.
    #[n(2)]
    Symlink(
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        Vec<u8>,
    ),
    /// A named pipe.
    #[n(3)]
    Fifo,
    /// A socket.
    #[n(4)]
    Socket,
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
}

/// Something found at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub node: Node,
    /// Its metadata.
    pub meta: RawMeta,
    /// File system and inode: two names of one file have it in common.
    pub identity: (u64, u64),
    /// How many names the file has.
    pub links: u64,
}

impl Node {
    /// The field's word for it, as messages use it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Directory => "folder",
            Self::File { .. } => "file",
            Self::Symlink(_) => "symbolic link",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
            Self::CharacterDevice { .. } => "character device",
            Self::BlockDevice { .. } => "block device",
        }
    }

    /// Whether it is a folder.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory)
    }
}

impl RawMeta {
    /// What a file our own state keeps has: root's, for root only, no attributes.
    pub fn private(mode: u16, modified: Time) -> Self {
        Self { mode, user: 0, group: 0, modified, xattrs: BTreeMap::new() }
    }

    /// Whether all but the time is the same.
    pub fn same_but_time(&self, other: &Self) -> bool {
        let Self { mode, user, group, modified: _, xattrs } = self;
        (mode, user, group, xattrs) == (&other.mode, &other.user, &other.group, &other.xattrs)
    }
}

mod attributes {
    use minicbor::{Decoder, Encoder};
    use model::Xattrs;

    pub(super) fn encode<C, W: minicbor::encode::Write>(
        xattrs: &Xattrs,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.map(xattrs.len() as u64)?;
        for (name, value) in xattrs {
            e.bytes(name)?.bytes(value)?;
        }
        Ok(())
    }

    pub(super) fn decode<'b, C>(
        d: &mut Decoder<'b>,
        _: &mut C,
    ) -> Result<Xattrs, minicbor::decode::Error> {
        let count = d
            .map()?
            .ok_or_else(|| minicbor::decode::Error::message("attributes have a known count"))?;
        (0..count).map(|_| Ok((d.bytes()?.into(), d.bytes()?.into()))).collect()
    }
}
