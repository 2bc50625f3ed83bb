use minicbor::{Decode, Encode};
use model::{Extent, Meta, Template};
use package::{FileContent, Node, Record, Substitution};

/// A record without what follows from content.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Outline {
    /// The tree it belongs to.
    #[n(0)]
    pub tree: u32,
    /// Its path below the tree's root.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub path: Vec<u8>,
    /// What it is.
    #[n(2)]
    pub node: OutlineNode,
    /// Its metadata.
    #[n(3)]
    pub meta: Meta,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum OutlineNode {
    /// A folder.
    #[n(0)]
    Directory,
    /// A regular file.
    #[n(1)]
    File {
        /// Apparent size in bytes.
        #[n(0)]
        length: u64,
        /// Its holes.
        #[n(1)]
        holes: Vec<Extent>,
        /// Ranges that become something else at install.
        #[n(2)]
        substitutions: Vec<Substitution>,
        /// Where its data comes from.
        #[n(3)]
        data: Data,
    },
    /// A symbolic link.
    #[n(2)]
    Symlink(#[n(0)] Template),
    /// Another name of an earlier file.
    #[n(3)]
    HardLink {
        /// The tree of that file.
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
    /// A folder the package says nothing about.
    #[n(7)]
    Carrier,
}

/// Where a file's data comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Data {
    /// There is none.
    #[n(0)]
    None,
    /// It is that of the base's record at this position.
    #[n(1)]
    Same(#[n(0)] u64),
    /// It is made by the recipe that comes next in this lane.
    #[n(2)]
    Made(#[n(0)] u8),
}

impl Outline {
    /// The outline of a record, with `data` as where its data comes from.
    pub fn of(record: &Record, data: Data) -> Self {
        let node = match &record.node {
            Node::Directory => OutlineNode::Directory,
            Node::File(content) => OutlineNode::File {
                length: content.length,
                holes: content.holes.clone(),
                substitutions: content.substitutions.clone(),
                data,
            },
            Node::Symlink(to) => OutlineNode::Symlink(to.clone()),
            Node::HardLink { tree, path } => {
                OutlineNode::HardLink { tree: *tree, path: path.clone() }
            }
            Node::Fifo => OutlineNode::Fifo,
            Node::CharacterDevice { major, minor } => {
                OutlineNode::CharacterDevice { major: *major, minor: *minor }
            }
            Node::BlockDevice { major, minor } => {
                OutlineNode::BlockDevice { major: *major, minor: *minor }
            }
            Node::Carrier => OutlineNode::Carrier,
        };
        Self { tree: record.tree, path: record.path.clone(), node, meta: record.meta.clone() }
    }

    /// The same, its data made in `lane`.
    pub fn made_in(mut self, lane: u8) -> Self {
        if let OutlineNode::File { data, .. } = &mut self.node {
            *data = Data::Made(lane);
        }
        self
    }

    /// The record again; `content` is what was made of a file's data.
    pub fn record(self, content: Option<FileContent>) -> Record {
        let node = match self.node {
            OutlineNode::Directory => Node::Directory,
            OutlineNode::File { length, holes, substitutions, .. } => {
                let made = content.unwrap_or_else(|| FileContent {
                    length,
                    hash: model::Hash::of(b""),
                    holes,
                    chunks: Vec::new(),
                    substitutions: Vec::new(),
                });
                Node::File(FileContent { substitutions, ..made })
            }
            OutlineNode::Symlink(to) => Node::Symlink(to),
            OutlineNode::HardLink { tree, path } => Node::HardLink { tree, path },
            OutlineNode::Fifo => Node::Fifo,
            OutlineNode::CharacterDevice { major, minor } => Node::CharacterDevice { major, minor },
            OutlineNode::BlockDevice { major, minor } => Node::BlockDevice { major, minor },
            OutlineNode::Carrier => Node::Carrier,
        };
        Record { tree: self.tree, path: self.path, node, meta: self.meta }
    }
}
