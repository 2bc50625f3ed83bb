//! Packages written, read, damaged.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod damage;
mod fixtures;
mod payload;
mod round_trip;
mod signature;
