//! Attacks on real metadata, and the ways back from lost keys.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod attacks;
mod expiry;
mod keys;
mod support;
