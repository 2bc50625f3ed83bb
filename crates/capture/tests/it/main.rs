//! One test binary per crate; one module per feature.

mod diff;
mod sample;
mod snapshot;
