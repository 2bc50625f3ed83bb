//! One test binary; one module per command.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod processes;
mod readme;
mod script;
mod trust;
