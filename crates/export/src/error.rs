use std::{io, path::PathBuf};

use crate::KeyError;

/// A repository that is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ExportRepositoryError {
    /// A file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or folder of the repository cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no .deb.
    #[error("`{}` is left out", path.display())]
    Deb {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: native::DebError,
    },
    /// A file is no .rpm.
    #[error("`{}` is left out", path.display())]
    Rpm {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: native::RpmError,
    },
    /// The same name stands for something else in the repository.
    #[error("`{}` would become another file under the same name and version, which machines that have the old one never notice: give it a new version", path.display())]
    Taken {
        /// The file in the repository.
        path: PathBuf,
    },
    /// Another export is at work there.
    #[error("`{}` is being written by another export: wait for its end", path.display())]
    Busy {
        /// The repository.
        path: PathBuf,
    },
    /// The key cannot sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}
