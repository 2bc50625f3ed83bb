//! One test binary per crate; one module per feature.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod diff;
mod sample;
mod snapshot;
