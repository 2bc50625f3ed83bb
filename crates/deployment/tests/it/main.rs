//! Documents as they are frozen, and the field's failures by name.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod client;
mod collection;
mod document;
mod due;
mod rollout;
mod sample;
