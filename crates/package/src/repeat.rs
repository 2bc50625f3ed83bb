//! Content that was there before (docs/formats/package.md §9).

use minicbor::{Decode, Encode};

/// A chunk that repeats one of an earlier frame, and so is not in the content stream again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Repeat {
    /// Its position among all chunks of the package in the records' order, from 0.
    #[n(0)]
    pub chunk: u64,
    /// The lane that holds its bytes.
    #[n(1)]
    pub lane: u8,
    /// Where they are in the lane's stream.
    #[n(2)]
    pub position: u64,
    /// Where they are in the payload, if they lie there in one piece.
    #[n(3)]
    pub origin: Option<Origin>,
}

/// A place in an earlier file of the payload.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Origin {
    /// The file's tree.
    #[n(0)]
    pub tree: u32,
    /// Its path below the tree's root.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub path: Vec<u8>,
    /// Where in the file, in bytes, holes counted.
    #[n(2)]
    pub offset: u64,
}
