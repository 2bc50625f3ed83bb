//! Trust: who may publish what, and how a client finds out (docs/formats/trust.md, docs/trust.md).
//!
//! - a [`Trusted`] is what a client believes: the root it pinned, led on through rotations, and what it saw last;
//! - [`update`] leads it to what a distribution point offers and makes [`Verified`] of it, or a [`Refusal`];
//! - an [`Edit`] is what a publisher changes, signed with [`SigningKey`]s by [`Edit::finish`].
//!
//! The metadata is that of The Update Framework, by the types of `tough`; the numbers in comments are those of its
//! specification 1.0. **Invariant:** no clock, no disk, no network, no randomness: what is read comes through a closure,
//! the time as a value. Nothing is kept that failed a later check.

#![forbid(unsafe_code)]

mod certificate;
mod client;
mod edit;
mod files;
mod key;
mod names;
mod refusal;
mod verified;

pub use certificate::{for_purpose, has_certified, has_signed};
pub use client::{Trusted, Want, update};
pub use edit::{Change, Edit, EditError, FinishError, Lifetimes, Party, sign_draft};
pub use files::{FOLDER, TIMESTAMP, root_path};
pub use key::{PublicKey, ReadKeyError, SigningKey};
pub use names::{NamePattern, SignedRelease};
pub use refusal::{Refusal, UpdateError};
pub use verified::{RoleStatus, Standing, StatedFile, Verified};

/// Reads a file of the distribution point: its bytes, but no more than one beyond the limit; `None` if it is not there.
pub type Read<'a, E> = &'a mut dyn FnMut(&str, u64) -> Result<Option<Vec<u8>>, E>;
