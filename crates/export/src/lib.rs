//! Export: signed repositories of native packages, for machines that have apt or dnf and no agent of ours.
//!
//! - [`export_apt`] and [`export_rpm`] add files to a repository, which is made where none is;
//! - a [`Key`] signs; its public half is put beside the repository for clients to pin.
//!
//! **Invariant:** a reader sees the old repository or the new one. Packages are there before any index names them,
//! indexes are named by their hashes, and one exchange of folders switches over. Nothing a file of the same name held
//! is ever replaced by something else.

mod apt;
mod error;
mod files;
mod key;
mod rpm;

pub use apt::export_apt;
pub use error::ExportRepositoryError;
pub use key::{Key, KeyError};
pub use rpm::export_rpm;

/// What a repository holds after an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Files that came with this export.
    pub added: usize,
    /// Files in all.
    pub packages: usize,
    /// The key's fingerprint, in hexadecimal digits.
    pub fingerprint: String,
}
