use model::{Acl, Entry, Kind, MachinePath, Meta, Owner, Time, Xattrs};

use crate::Names;

/// The attribute that holds a file's access control list.
pub const ACL: &[u8] = b"system.posix_acl_access";
/// The attribute that holds the list new entries of a folder inherit.
pub const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// One path as a scan saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where.
    pub path: MachinePath,
    /// What it holds.
    pub node: Node,
    /// What tells whether it was touched since.
    pub stamp: Stamp,
}

/// What a path holds, by numbers: an [`Entry`] before names are looked up. Accounts may be renamed
/// between two scans without a file having changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is, and its content.
    pub kind: Kind,
    /// The permission bits, `0o7777` at most.
    pub mode: u16,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// When its content last changed.
    pub modified: Time,
    /// Every extended attribute, access control lists in the kernel's form among them.
    pub xattrs: Xattrs,
}

/// What no program can set: equal stamps mean that nothing was touched in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The file system; numbered anew by a restart, so only of use within one scan.
    pub device: u64,
    /// The inode number.
    pub inode: u64,
    /// When content or metadata last changed.
    pub changed: Time,
    /// How many names the inode has.
    pub links: u32,
}

impl Stamp {
    /// Whether an inode seen twice was left alone in between.
    pub fn same(&self, other: &Self) -> bool {
        self.inode == other.inode && self.changed == other.changed
    }
}

impl Node {
    /// The entry, with accounts by name. An access control list in an unknown form stays an attribute.
    pub fn entry(&self, names: &Names) -> Entry {
        let mut xattrs = self.xattrs.clone();
        let mut list = |name: &[u8]| -> Option<Acl> {
            let bytes = xattrs.get(name)?;
            let acl = Acl::from_bytes(bytes, |id| names.user(id), |id| names.group(id)).ok()?;
            xattrs.remove(name);
            Some(acl)
        };
        let (acl, default_acl) = (list(ACL), list(DEFAULT_ACL));
        let owner: Owner = names.user(self.uid);
        let group: Owner = names.group(self.gid);
        let meta = Meta {
            mode: self.mode,
            owner,
            group,
            modified: self.modified,
            xattrs,
            acl,
            default_acl,
        };
        Entry { kind: self.kind.clone(), meta }
    }

    /// Whether both hold the same, content hashes left out of account.
    pub fn same_but_for_hash(&self, other: &Self) -> bool {
        let kinds = match (&self.kind, &other.kind) {
            (Kind::File(a), Kind::File(b)) => a.length == b.length && a.holes == b.holes,
            (a, b) => a == b,
        };
        kinds && self.same_metadata(other)
    }

    /// Whether both are known to hold the same. Content that nobody read is not known to be equal.
    ///
    /// Holes count for nothing where the bytes are equal: overlayfs itself fills some when it copies a
    /// file that is opened to be written.
    pub fn same(&self, other: &Self) -> bool {
        let kinds = match (&self.kind, &other.kind) {
            (Kind::File(a), Kind::File(b)) => a.hash.is_some() && a.hash == b.hash,
            (a, b) => a == b,
        };
        kinds && self.same_metadata(other)
    }

    fn same_metadata(&self, other: &Self) -> bool {
        self.mode == other.mode
            && self.uid == other.uid
            && self.gid == other.gid
            && self.modified == other.modified
            && self.xattrs == other.xattrs
    }
}
