//! One test binary; one module per feature.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod checks;
mod conditions;
mod explains;
mod files_meta;
mod format;
mod refusals;
mod round_trip;
mod scripts;
mod size;
