//! What becomes of runs, event by event, and the field's failures by their names.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod book;
mod repeats;
mod runs;
mod versions;
