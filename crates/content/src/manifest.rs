//! What a release is, and where its content lies (docs/formats/manifest.md).
//!
//! A manifest is a hash tree whose leaves are records and where their chunks lie. It comes in parts: a release's
//! own part has what no older part of the same package has, so little changed is little to fetch.

mod catalogue;
mod part;

pub use catalogue::{Catalogue, Entries, Entry, Place};
pub use part::{PackFrame, PartHead, PartWriter, PlacedLeaf, Run};

/// The format this crate writes, and the only one it reads: the first was never released.
pub const MANIFEST_FORMAT: u32 = 2;
pub(crate) const START: &[u8; 8] = b"PHMANIF\n";
/// §2.2: no section unpacks to more, in bytes.
pub(crate) const MAX_SECTION: usize = 64 << 20;

/// A manifest that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadManifestError {
    /// It was made by a newer version.
    #[error(
        "the manifest has format {found}, and this program reads format {known}: use a newer packhorse"
    )]
    OtherFormat {
        /// The manifest's format.
        found: u32,
        /// The format that is understood.
        known: u32,
    },
    /// It is not what a publisher wrote.
    #[error("the manifest is damaged: {reason}; repair the distribution point")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
}

pub(crate) fn damaged(reason: impl Into<String>) -> ReadManifestError {
    ReadManifestError::Damaged { reason: reason.into() }
}
