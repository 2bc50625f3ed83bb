//! Deltas: from one release to another (docs/formats/delta.md).
//!
//! A delta is read front to back. It names no hashes but the two packages': what comes out is hashed like any
//! package, and its identity says whether it is right. So nothing that can be computed is sent.

mod outline;
mod pieces;
mod reader;
mod recipe;
mod writer;

pub use outline::{Data, Outline, OutlineNode};
pub use pieces::Spread;
pub use reader::{DeltaReader, ReadDeltaError};
pub use recipe::{BaseFile, Effort, Recipe, lane_of};
pub use writer::{DeltaWriter, WriteDeltaError};

use minicbor::{Decode, Encode};
use model::Hash;

/// The format this crate writes, and the newest it reads.
pub const DELTA_FORMAT: u32 = 1;
pub(crate) const START: &[u8; 8] = b"PHDELTA\n";

/// §3: what a delta leads from and to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct DeltaHead {
    /// The identity of the package it leads from.
    #[n(0)]
    pub base: Hash,
    /// The identity of the package it leads to.
    #[n(1)]
    pub target: Hash,
    /// That package's header, as it has it.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub header: Vec<u8>,
}

/// What a lane's data is made of (§5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Which stretches come from where.
    Control,
    /// How many bytes are equal between two that differ.
    Runs,
    /// By how much bytes differ.
    Values,
    /// Bytes that are nowhere in the base.
    Extra,
}

impl Stream {
    pub(crate) const ALL: [Self; 4] = [Self::Control, Self::Runs, Self::Values, Self::Extra];

    /// §4.2: what a piece of it unpacks to at most, in bytes.
    pub(crate) fn piece(self) -> usize {
        match self {
            Self::Control => 1 << 20,
            Self::Runs | Self::Values => 2 << 20,
            Self::Extra => 4 << 20,
        }
    }
}

/// §5.1: lanes a delta has: machine code, and all else.
pub(crate) const LANES: usize = 2;
/// §6.1: longer files are made in segments of so many bytes, which bounds the memory making them takes.
pub const SEGMENT: usize = 64 << 20;
/// §4.1: the section of outlines; streams have `1 + lane × 4 + stream`.
pub(crate) const OUTLINES: u8 = 0;
/// §4.1: the head.
pub(crate) const HEAD: u8 = 254;
/// §4.1: the end.
pub(crate) const END: u8 = 255;
/// §4.2: what a section of outlines, or the head, unpacks to at most.
pub(crate) const MAX_OUTLINES: usize = 64 << 20;

/// Appends a number, seven bits to the byte, the low ones first.
pub(crate) fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// Signed numbers, the small ones of either sign small.
pub(crate) fn fold(number: i64) -> u64 {
    (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned()
}

pub(crate) fn unfold(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}
