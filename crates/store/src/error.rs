use std::{io, path::PathBuf};

use content::{Object, ReadIndexError, ReadManifestError, WriteDeltaError};
use model::{PackageName, Version};
use package::{OpenError, ReadError, WriteError};

use crate::{
    SignError, TrustError, assembly::AssembleError, follow::FollowError, unpacked::UnpackError,
};

/// A distribution point that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenPointError {
    /// The location is no place we know.
    #[error(
        "`{location}` is no distribution point: give a folder, or `http(s)://…`, `s3://bucket/folder`, `gs://bucket/folder` or `az://container/folder`"
    )]
    Location {
        /// What was given.
        location: String,
        /// Why.
        #[source]
        source: Option<object_store::Error>,
    },
    /// This program is built without what speaks to it.
    #[error(
        "`{location}` is a bucket, and this program is built to read folders and addresses that begin with `http://` or `https://`: give it one with `packhorse site dp read-at`, or build the agent with its feature `buckets`"
    )]
    NotBuiltIn {
        /// What was given.
        location: String,
    },
    /// The authorities' file holds no certificates.
    #[error("the authorities' file cannot be read: give certificates in PEM with `--ca FILE`")]
    Authority {
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// It is empty.
    #[error("the authorities' file has no certificate: give some in PEM with `--ca FILE`")]
    NoAuthority,
    /// The folder cannot be made or read.
    #[error("opening the folder `{path}` stopped", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The machine gives no threads or no events.
    #[error("starting the input and output threads stopped")]
    Runtime(#[source] io::Error),
}

/// A request a distribution point did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum PointError {
    /// Something is not there.
    #[error("the distribution point has no `{path}`")]
    Missing {
        /// Its path below the point's root.
        path: String,
    },
    /// It did not answer.
    #[error("{doing} `{path}` at the distribution point stopped")]
    Request {
        /// What was being done.
        doing: &'static str,
        /// The path below the point's root.
        path: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// An object is not what its name says.
    #[error("`{path}` at the distribution point is damaged: {reason}; run `packhorse dp repair`")]
    Damaged {
        /// Its path below the point's root.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// An index cannot be read.
    #[error("reading `{path}` of the distribution point stopped")]
    Index {
        /// Its path below the point's root.
        path: String,
        /// Why.
        #[source]
        source: ReadIndexError,
    },
    /// A file on this machine cannot be read or written.
    #[error("{doing} the file `{path}` stopped", path = path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another publish or collection holds the folder.
    #[error("`{path}` is in use by another publish or collection: wait for it, or try again", path = path.display())]
    InUse {
        /// The lock.
        path: PathBuf,
    },
}

impl PointError {
    /// What a file of this machine refused.
    pub fn file(
        doing: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }

    /// Whether the distribution point answered that this is not allowed.
    pub fn is_denied(&self) -> bool {
        matches!(
            self,
            Self::Request {
                source: object_store::Error::PermissionDenied { .. }
                    | object_store::Error::Unauthenticated { .. },
                ..
            }
        )
    }

    /// Whether nobody answered, as far as that can be told from an answer that is no use.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Request { source: object_store::Error::Generic { .. }, .. })
    }

    /// Whether what is there is not what it should be, as far as it answers.
    pub fn is_of_content(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Damaged { .. } | Self::Index { .. })
    }
}

/// A package that cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The distribution point.
    #[error(transparent)]
    Point(#[from] PointError),
    /// The package file cannot be opened.
    #[error("opening the package `{path}` stopped", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The package file cannot be read.
    #[error("reading the package `{path}` stopped", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// A package cannot be unpacked to compare it.
    #[error("unpacking the package `{path}` stopped", path = path.display())]
    Unpack {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// A delta cannot be written.
    #[error(transparent)]
    Delta(WriteDeltaError),
    /// A release to make a delta from cannot be had.
    #[error("reading version `{version}` of the distribution point stopped")]
    Base {
        /// The version.
        version: Version,
        /// Why.
        #[source]
        source: Box<FetchError>,
    },
    /// A manifest of the distribution point says what cannot be.
    #[error(
        "reading what the distribution point has for `{name}` stopped; run `packhorse dp verify`"
    )]
    Manifest {
        /// The package that is published.
        name: PackageName,
        /// What is wrong.
        #[source]
        source: ReadManifestError,
    },
    /// Something else has this version already.
    #[error(
        "version `{version}` of `{name}` is published with other content: give it another version, or say `--replace`"
    )]
    Taken {
        /// The package.
        name: PackageName,
        /// The version.
        version: Version,
    },
    /// It cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A version to make a delta from is not there.
    #[error(
        "the distribution point has no version `{version}` of `{name}`: publish it first, or leave `--base` out"
    )]
    NoBase {
        /// The package.
        name: PackageName,
        /// The version.
        version: Version,
    },
}

/// A release that cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The distribution point.
    #[error(transparent)]
    Point(#[from] PointError),
    /// Who published it is not who may.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Nothing of this name is published there.
    #[error(
        "the distribution point has no package `{name}`: `packhorse dp list` shows what it has"
    )]
    NoPackage {
        /// The package.
        name: PackageName,
    },
    /// The version is not there.
    #[error("the distribution point has no version `{version}` of `{name}`; it has {known}")]
    NoVersion {
        /// The package.
        name: PackageName,
        /// The version.
        version: Version,
        /// Those that are there.
        known: String,
    },
    /// All that came, came whole, and is not the release.
    #[error("what `{object}` leads to is not the release it stands for: tell its publisher")]
    NotTheRelease {
        /// What was used.
        object: Object,
    },
    /// The base is not what it was, or cannot be read.
    #[error("the package `{path}` that is here already is of no use", path = path.display())]
    Base {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// A delta could not be followed.
    #[error("following a delta stopped")]
    Follow(#[source] FollowError),
    /// A manifest cannot be read.
    #[error("reading the manifest `{path}` of the distribution point stopped")]
    Manifest {
        /// Its path below the point's root.
        path: String,
        /// Why.
        #[source]
        source: ReadManifestError,
    },
    /// Content cannot be had.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// The package that is made of what came cannot be written.
    #[error("making the package stopped")]
    Write {
        /// Why.
        #[source]
        source: WriteError,
    },
}

impl FetchError {
    /// Without space or without an answer every other way ends the same.
    pub(crate) fn ends_all(&self) -> bool {
        let (Self::Point(point) | Self::Assemble(AssembleError::Point(point))) = self else {
            return false;
        };
        matches!(point, PointError::File { .. } | PointError::Request { .. })
    }
}
