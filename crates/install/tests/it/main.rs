//! What former versions wrote is still read.

#![expect(clippy::unwrap_used, reason = "tests")]

mod frozen;
