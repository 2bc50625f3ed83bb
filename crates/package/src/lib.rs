//! The package: a script's compiled, immutable, content-addressed form (docs/formats/package.md).
//!
//! - a [`Header`] says what the package is and what its steps are, in closed form;
//! - a [`Record`] is one entry of the payload: where it goes, its metadata, its content as [`Chunk`]s;
//! - a [`PackageWriter`] turns both and the content into bytes; a [`PackageReader`] gives them back:
//!   first [`PackageReader::verify`], then [`PackageReader::records`], then [`PackageReader::contents`],
//!   which hands out content in the records' order, no byte before its hash was checked.
//!
//! **Invariant:** nothing here touches a disk. Readers and writers are arguments; the same input makes the same
//! bytes; memory depends on the settings, not on the package.

#![forbid(unsafe_code)]

mod calls;
mod chunking;
mod compress;
mod conditions;
mod contents;
mod damage;
mod decompress;
mod explain;
mod extents;
mod frame;
mod header;
mod known;
mod lane;
mod layout;
mod manifest;
mod order;
mod reader;
mod record;
mod repeat;
mod signature;
mod source;
mod validate;
mod writer;

pub use chunking::{ChunkSizes, MAX_CHUNK};
pub use compress::Settings;
pub use contents::{ChunkPlace, Contents, NoRecall, Piece, Recall};
pub use damage::{Damage, OpenError, Part, ReadError};
pub use explain::explain;
pub use frame::{FrameContent, FrameShape, pack_frame};
pub use header::{Action, Header, Step, Totals, Tree};
pub use layout::{FORMAT, Layout};
pub use manifest::{Leaf, LeafBuilder, ManifestNode, ManifestTree, identity};
pub use order::compare_paths;
pub use reader::{PackageReader, Progress, Records, Sizes, StoredFrame};
pub use record::{Chunk, FileContent, Form, Node, Record, Substitution};
pub use repeat::Origin;
pub use validate::RecordCheck;
pub use writer::{PackageWriter, WriteError, Written};
