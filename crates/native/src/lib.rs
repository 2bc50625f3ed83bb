//! Native packages: a compiled package as a .deb, an .rpm or an .msi, for machines without our agent.
//!
//! - [`write_deb`] and [`write_rpm`] read a [`package::PackageReader`] and write the whole file; variables have their
//!   defaults; trees become payload, everything else maintainer scripts;
//! - [`write_msi`] does so for Windows Installer, which knows tables and no scripts;
//! - a [`Remark`] says what another package system does differently, with the step; what it cannot carry at all is
//!   refused, every such step in one error;
//! - [`Deb`] and [`Rpm`] are what a finished file says of itself, and [`apt_index`] and [`RpmIndex`] are what a
//!   repository says of its files.
//!
//! **Invariant:** the same package makes the same bytes; memory grows with the number of entries, never with their
//! content, which goes through a spool that is an argument.

#![forbid(unsafe_code)]

mod account;
mod apt;
mod capabilities;
mod condition;
mod control;
mod deb;
mod entries;
mod error;
mod identity;
mod msi;
mod pattern;
mod payload;
mod plan;
mod read_deb;
mod repodata;
mod rpm;
mod scripts;
mod shell;
mod step;
mod values;

pub use apt::{Deb, Listed, apt_index, apt_release};
pub use deb::write_deb;
pub use error::{ExportError, Remark};
pub use msi::write_msi;
pub use read_deb::{DebError, read_deb};
pub use repodata::{RpmIndex, rpm_index_of_indexes};
pub use rpm::{Dependency, Rpm, RpmError, Sign, read_rpm, sign_rpm, write_rpm};

/// Which package system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Debian's: `.deb`, dpkg, apt.
    Deb,
    /// Red Hat's: `.rpm`, rpm, dnf.
    Rpm,
}

/// How hard to pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// 0 to 6 for xz, 1 to 19 for zstd; more means the most.
    pub level: u32,
    /// Blocks packed at the same time.
    pub workers: u32,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The name files of this kind have: `redis_7.2.4_amd64.deb`.
    pub file_name: String,
    /// What the package system does differently, step by step.
    pub remarks: Vec<Remark>,
    /// Regular files in it.
    pub files: u64,
    /// Bytes of the file.
    pub length: u64,
}

impl System {
    /// What its files end with.
    fn kind(self) -> &'static str {
        match self {
            Self::Deb => ".deb",
            Self::Rpm => ".rpm",
        }
    }
}

impl std::fmt::Display for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}
