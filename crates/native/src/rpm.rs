//! .rpm files, format 4 as rpm 4.14 and later read it.

mod cpio;
mod header;
mod read;
mod sign;
mod tags;
mod write;

pub use read::{Dependency, Rpm, RpmError, read_rpm};
pub use sign::{Sign, sign_rpm};
pub use write::write_rpm;
