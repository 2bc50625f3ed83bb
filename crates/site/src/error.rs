use std::{io, net::SocketAddr, path::PathBuf};

use policy::{InvalidCode, Refused, RowsError};
use store::{OpenPointError, PointError, PublishError, TrustError};

use crate::StorageError;

/// Why a site does not do it.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// Its database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Rows that make no site.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The event means nothing here.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No site code.
    #[error(transparent)]
    Code(#[from] InvalidCode),
    /// There is one already.
    #[error("there is a site already")]
    Exists,
    /// Another process serves it, or looks after it.
    #[error("`{path}` is in use by another process of this site: stop it first", path = path.display())]
    InUse {
        /// The lock.
        path: PathBuf,
    },
    /// A file of the site's folder.
    #[error("{doing} `{path}` stopped", path = path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A distribution point cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenPointError),
    /// A distribution point.
    #[error(transparent)]
    Point(#[from] PointError),
    /// Trust metadata is not believed.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The site's own copies cannot be reached.
    #[error(
        "the site's own store `{location}` does not answer as it should: what was begun is begun again, nothing is lost"
    )]
    OwnStore {
        /// Where they are.
        location: String,
        /// Why.
        #[source]
        source: Box<PointError>,
    },
    /// A package cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A certificate cannot be made.
    #[error("making or reading a certificate stopped")]
    Certificate(#[from] rcgen::Error),
    /// What lines are secured with.
    #[error("setting up secure lines stopped")]
    Tls(#[from] rustls::Error),
    /// What is written in `site.toml` cannot be followed.
    #[error("`{path}` is wrong: {reason}", path = path.display())]
    Settings {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that is no token.
    #[error("`{path}` is no token: {reason}; `packhorse site child token` at the parent makes one", path = path.display())]
    Token {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A folder that is something else already.
    #[error("`{location}` cannot be a distribution point: {reason}")]
    Location {
        /// Where.
        location: String,
        /// Why not.
        reason: String,
    },
    /// Nobody has made this group.
    #[error("there is no group `{0}`: `packhorse site dp join {0} POINT…` makes it")]
    NoGroup(String),
    /// What no group can be called.
    #[error("`{0}` cannot be the name of a group: it has 1 to 64 bytes, and no `/`")]
    GroupName(String),
    /// Nobody can call it there.
    #[error("listening at `{address}` stopped: give it another address, or end who has this one")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody listens.
    #[error("the site at `{address}` does not answer: `packhorse site serve` starts it")]
    NoAnswer {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The site says no.
    #[error("{message}")]
    Said {
        /// Its words.
        message: String,
        /// Whether the request makes sense, and somebody must do something first.
        conflict: bool,
    },
}

impl SiteError {
    /// The same, for somebody whose event shared a transaction.
    pub(crate) fn for_another(&self) -> Self {
        let mut text = String::new();
        let mut source = std::error::Error::source(self);
        if let Self::Storage(error) = self {
            source = std::error::Error::source(error);
        }
        while let Some(next) = source {
            text += &format!("{}{next}", if text.is_empty() { "" } else { ": " });
            source = next.source();
        }
        StorageError::Database { doing: "a transaction with others", source: text.into() }.into()
    }

    /// What was asked for contradicts what there is.
    pub(crate) fn refused(message: String) -> Self {
        Self::Said { message, conflict: true }
    }

    pub(crate) fn file(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}
