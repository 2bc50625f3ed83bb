//! A tree in memory: inodes, and the names that lead to them.

use std::collections::BTreeMap;

use model::Time;

pub(crate) const BLOCK: u64 = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Folder(BTreeMap<String, usize>),
    /// The first byte of each block that has data, and the length.
    File {
        blocks: BTreeMap<u64, u8>,
        length: u64,
    },
    Symlink(String),
    Fifo,
}

/// When content last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modified {
    At(Time),
    /// By the kernel's clock, after everything that was set.
    Now,
    /// Opened to be written, and not written. Overlayfs copies the content of a file of which it had
    /// copied only metadata, and leaves the time of that copying behind.
    AtUnlessCopied(Time),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    pub(crate) body: Body,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) modified: Modified,
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
    pub(crate) acl: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) inodes: Vec<Inode>,
}

impl Inode {
    pub(crate) fn new(body: Body, mode: u16) -> Self {
        Self {
            body,
            mode,
            uid: 0,
            gid: 0,
            modified: Modified::Now,
            xattrs: BTreeMap::new(),
            acl: None,
        }
    }
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self { inodes: vec![Inode::new(Body::Folder(BTreeMap::new()), 0o755)] }
    }

    /// Every path with its inode; the root is the empty path.
    pub(crate) fn paths(&self) -> BTreeMap<String, usize> {
        let mut paths = BTreeMap::from([(String::new(), 0)]);
        let mut folders = vec![(String::new(), 0)];
        while let Some((path, inode)) = folders.pop() {
            if let Body::Folder(names) = &self.inodes[inode].body {
                for (name, &child) in names {
                    let path = format!("{path}/{name}");
                    paths.insert(path.clone(), child);
                    folders.push((path, child));
                }
            }
        }
        paths
    }

    pub(crate) fn add(&mut self, inode: Inode) -> usize {
        self.inodes.push(inode);
        self.inodes.len() - 1
    }

    pub(crate) fn names(&mut self, folder: usize) -> &mut BTreeMap<String, usize> {
        self.inodes[folder].modified = Modified::Now;
        match &mut self.inodes[folder].body {
            Body::Folder(names) => names,
            body => panic!("no folder: {body:?}"),
        }
    }
}

/// All bytes of a file.
pub(crate) fn bytes(blocks: &BTreeMap<u64, u8>, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    for (&block, &fill) in blocks {
        let start = usize::try_from(block * BLOCK).unwrap();
        let end = bytes.len().min(start + usize::try_from(BLOCK).unwrap());
        if start < end {
            bytes[start..end].fill(fill);
        }
    }
    bytes
}
