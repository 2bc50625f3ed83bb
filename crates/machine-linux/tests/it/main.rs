//! One test binary per crate; one module per feature. Tests that mount need root, and say so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod observers;
