//! Formats through their public doors: what goes in comes out, what is damaged is named.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod delta;
mod fixtures;
mod manifest;
mod plan;
