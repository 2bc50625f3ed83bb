//! Distribution points: published to, fetched from, verified, repaired, collected.
//!
//! - a [`Point`] is where content is read: a folder, any HTTP server, an S3-compatible bucket;
//! - [`publish`] makes a package a release of it, [`wanted`] finds a release and the ways to it,
//!   [`Wanted::fetch`] makes a package of it again, [`Wanted::ready`] a payload that comes while it is installed;
//! - [`verify`] finds what is damaged, missing or surplus, [`repair`] mends it from a healthy source,
//!   [`collect`] takes away what nobody needs;
//! - a [`Rebuild`] makes packs again from what a delta leads to;
//! - [`update_trust`] says who signed what there is, a [`Signing`] makes a publish sign it.
//!
//! **Invariant:** objects are written before what names them, and never changed; nothing gets a final name before its
//! hash was checked. Async stays in [`Point`].

mod assembly;
mod at;
mod cache;
mod catalogues;
mod check;
mod collect;
mod compose;
mod error;
mod fetch;
mod follow;
mod frames;
mod known;
mod make_delta;
mod partial;
mod point;
mod publish;
mod rebuild;
mod releases;
mod signed;
mod unpacked;
mod waiting;

pub use assembly::{AssembleError, Assembly};
pub use cache::Cache;
pub use check::{Finding, Found, Repaired, mend, mend_indexes, repair, verify};
pub use collect::{Collected, collect, spare};
pub use error::{FetchError, OpenPointError, PointError, PublishError};
pub use fetch::{FetchOptions, Fetched, Installed, Ready, Wanted, wanted};
pub use follow::FollowError;
pub use point::{Listed, Point, Reader, Trouble, is_folder};
pub use publish::{PublishOptions, Published, package_name, publish};
pub use rebuild::{PackPart, Rebuild, RebuildError};
pub use releases::{names, releases};
pub use signed::{
    SignError, Signed, Signing, TrustError, TrustLock, TrustSettings, apply_trust, believed,
    edit_trust, mirror_trust, relay_trust, update_trust, verify_trust,
};
pub use unpacked::UnpackError;

/// Is told what is being done, and how many bytes of how many are done.
pub type Progress<'a> = &'a mut dyn FnMut(&str, u64, u64);
