//! What travels between a publisher, distribution points and clients: which objects there are, what is in them, and
//! what to fetch.
//!
//! Formats: docs/formats/index.md, manifest.md, pack.md, delta.md.
//!
//! - an [`Index`] is what a distribution point has of one package: its [`Release`]s, and the deltas between them;
//! - an [`Object`] is an immutable piece of a store, named by the hash of its bytes;
//!
//! **Invariant:** nothing here touches a disk or a network. Bytes come in as arguments, and none is believed before
//! its hash was checked.

#![forbid(unsafe_code)]

mod align;
mod delta;
mod index;
mod manifest;
mod object;
mod plan;
mod similar;

pub use delta::{
    BaseFile, DELTA_FORMAT, Data, DeltaHead, DeltaReader, DeltaWriter, Effort, Outline,
    OutlineNode, ReadDeltaError, Recipe, SEGMENT, Spread, WriteDeltaError, lane_of,
};
pub use index::{Composed, DeltaEntry, INDEX_FORMAT, Index, ReadIndexError, Release};
pub use manifest::{
    Catalogue, Entries, Entry, MANIFEST_FORMAT, PackFrame, PartHead, PartWriter, Place, PlacedLeaf,
    ReadManifestError, Run,
};
pub use object::{Object, ObjectKind, ParseObjectError};
pub use plan::{Cost, Plan, Route, Stretch, Way, stretches};
pub use similar::{Bases, Found, Sketch};
