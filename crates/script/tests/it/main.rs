//! One test binary; one module per feature.

mod conditions;
mod files_meta;
mod format;
mod refusals;
mod round_trip;
mod scripts;
