//! A capture of a Linux root: by overlays, or by two snapshots. What every capture has is [`session`](::session)'s.

mod compare;
mod overlay;
mod root;

use std::{
    io,
    path::{Path, PathBuf},
};

use ::session::{ContentError, Finished, ObserveError, Progress, Session, SnapshotSettings};
use capture::{Names, Node, Observer, Side};
use model::MachinePath;

pub use compare::SecondObserver;
pub use overlay::{RunError, RunSettings, begin_overlay, run, unmistakable_host_name};
pub use root::Root;

const SESSIONS: &str = "/var/lib/packhorse-capture";

/// Where sessions are kept unless somebody says otherwise.
pub fn sessions() -> PathBuf {
    SESSIONS.into()
}

/// Begins a session and takes its baseline: metadata of everything, content of `/etc` and of small text.
///
/// # Errors
/// A session that is there already; a root that cannot be read.
pub fn begin_snapshots(
    folder: &Path,
    root: &Path,
    settings: &SnapshotSettings,
    progress: Progress<'_>,
) -> Result<Session, ObserveError> {
    let failed = |reason| ObserveError::Prepare { root: root.to_owned(), reason };
    let root = Root(root.canonicalize().map_err(failed)?);
    ::session::begin_snapshots(folder, &root, &[SESSIONS.into()], settings, progress)
}

/// Ends the observation and writes the change set; after a restart too, against the baseline it was begun with.
///
/// # Errors
/// A baseline that was never completed; a root that cannot be read; a session that cannot be written.
pub fn finish(session: Session, progress: Progress<'_>) -> Result<Finished, RunError> {
    match session.beginning().observer {
        Observer::Overlay => overlay::finish_overlay(session),
        Observer::Snapshots => {
            let root = Root::of(&session);
            Ok(::session::finish_snapshots(session, &root, &[SESSIONS.into()], progress)?)
        }
    }
}

/// The account names of the captured root.
///
/// # Errors
/// They cannot be read.
pub fn names(finished: &Finished) -> io::Result<Names> {
    crate::owners::read_names(&finished.session().beginning().root)
}

/// The content of the regular file at `path`, or of the file it is a hard link to.
///
/// The caller compares the hash: a live machine may have changed since.
///
/// # Errors
/// Old content that was not kept, or a file that cannot be read.
pub fn content(
    finished: &Finished,
    path: &MachinePath,
    side: Side,
) -> Result<Box<dyn io::Read>, ContentError> {
    match finished.session().beginning().observer {
        Observer::Overlay => overlay::content(finished, path, side),
        Observer::Snapshots => {
            finished.content_of_snapshots(path, side, &Root::of(finished.session()))
        }
    }
}

/// What is at a path that did not change; `None` where there is nothing.
///
/// # Errors
/// It cannot be looked at.
pub fn unchanged(finished: &Finished, path: &MachinePath) -> io::Result<Option<Node>> {
    let found = match finished.session().beginning().observer {
        Observer::Overlay => overlay::look_below(finished, path),
        Observer::Snapshots => root::look(&finished.session().beginning().root, path.relative()),
    };
    match found {
        Ok(node) => Ok(Some(node)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
