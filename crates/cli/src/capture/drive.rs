//! What both sources of Windows captures share: files of a drive by their places on the machine, and its registry before
//! and after, kept in the session as Wine keeps one.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use capture::{CapturedFiles, Change, ChangeSet, Facts, Registry, Side};
use model::{Entry, Kind, MachinePath, Owner};
use session::{Finished, Session};

use super::{Answer, CaptureError, Into, Summary, leave, options};
use crate::project::{self, Captured};

/// Files of the registry, named as Wine names them, and the hive each is.
pub(super) const HIVES: [(&str, &str); 3] =
    [("system.reg", "HKLM"), ("user.reg", "HKCU"), ("userdef.reg", r"HKU\.Default")];
/// How the copies in a session begin that are of the registry afterwards; those before have the names they had.
pub(super) const AFTER: &str = "after-";

/// The registry of a capture cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    /// The registry before was not kept.
    #[error(
        "the capture was stopped before the registry was recorded: `packhorse capture discard --session {}`, and begin anew",
        .0.display()
    )]
    Unrecorded(PathBuf),
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
    /// The registry is not what Wine writes.
    #[error("`{}`", path.display())]
    Registry {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        reason: capture::ReadRegistryError,
    },
}

/// Refuses a session whose registry before was not kept, whole.
pub(super) fn check_recorded(session: &Session) -> Result<(), DriveError> {
    if session.folder().join(HIVES[0].0).exists() {
        Ok(())
    } else {
        Err(DriveError::Unrecorded(session.folder().to_owned()))
    }
}

/// The registry whose files' names begin so.
pub(super) fn registry(folder: &Path, when: &str) -> Result<Registry, DriveError> {
    let mut registry = Registry::default();
    for (name, hive) in HIVES {
        let path = folder.join(format!("{when}{name}"));
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            // Not every prefix has every hive; without the first there is no registry.
            Err(error) if error.kind() == io::ErrorKind::NotFound && name != HIVES[0].0 => continue,
            Err(reason) => return Err(DriveError::Read { path, reason }),
        };
        registry.read(hive, &text).map_err(|reason| DriveError::Registry { path, reason })?;
    }
    Ok(registry)
}

/// A finished capture of a drive, and what else is known of its machine.
pub(super) struct Known {
    /// The capture.
    pub(super) finished: Finished,
    /// Where the session's root is on the machine: `/C:`.
    pub(super) drive: Drive,
    /// The registry.
    pub(super) before: Registry,
    /// The registry afterwards.
    pub(super) after: Registry,
    /// The account that installed; that of the session's facts when unknown.
    pub(super) user: Option<String>,
    /// What people should know besides.
    pub(super) notes: Vec<String>,
}

/// Writes the project, if one is wanted. `temporary` says that nobody asked to keep the session.
pub(super) fn answer(known: Known, into: &Into, temporary: bool) -> Result<Answer, CaptureError> {
    let Known { finished, drive, before, after, user, notes } = known;
    let mut summary = Summary::of(&finished);
    summary.notes.extend(notes);
    let mut report = None;
    if let Some(folder) = &into.output {
        let captured = Captured::of(&finished).map_err(|reason| DriveError::Read {
            path: finished.session().beginning().root.clone(),
            reason,
        })?;
        let files = OnDrive { captured, drive: &drive };
        let changes = drive.changes(&finished.changes);
        let mut facts: Facts = finished.facts.clone();
        facts.user = user.or(facts.user);
        let mut wanted = options(into, folder)?;
        wanted.architecture.get_or_insert(model::Architecture::Only("x86_64".into()));
        let draft = project::write_windows(&changes, &files, &facts, &wanted, folder, |draft| {
            capture::add_registry(draft, &before, &after, &facts);
        })?;
        summary.changes = draft.report.counts.changes;
        report = Some(draft.report.to_string());
        summary.project = Some(folder.clone());
    }
    leave(finished, temporary && into.output.is_some(), summary, report)
}

/// A captured drive.
pub(super) struct Drive {
    /// The place of the captured root on the machine it shows.
    pub(super) place: MachinePath,
    /// What else is known of an entry at a place below that root.
    pub(super) more: Option<More>,
}

/// Adds to an entry what its source knows besides.
pub(super) type More = Box<dyn Fn(&MachinePath, &mut Entry)>;

impl Drive {
    fn to(&self, path: &MachinePath) -> MachinePath {
        let below = if path.is_root() { b"".as_slice() } else { path.as_bytes() };
        MachinePath::new([self.place.as_bytes(), below].concat()).unwrap_or_else(|_| path.clone())
    }

    fn below(&self, path: &MachinePath) -> Option<MachinePath> {
        let rest = path.as_bytes().strip_prefix(self.place.as_bytes())?;
        MachinePath::new(if rest.is_empty() { b"/" } else { rest }).ok()
    }

    /// What a Windows machine would say of a file: it has no owners, and may be written or not.
    fn entry(&self, path: &MachinePath, entry: &Entry) -> Entry {
        let mut entry = entry.clone();
        let writable = entry.meta.mode & 0o200 != 0;
        entry.meta.mode = match entry.kind {
            Kind::Directory => 0o755,
            Kind::Symlink(_) => 0o777,
            _ if writable => 0o644,
            _ => 0o444,
        };
        (entry.meta.owner, entry.meta.group) = (Owner::root(), Owner::root());
        (entry.meta.acl, entry.meta.default_acl) = (None, None);
        if let Some(more) = &self.more {
            more(path, &mut entry);
        }
        entry.meta.modified.nanoseconds -= entry.meta.modified.nanoseconds % 100;
        if let Kind::HardLink(first) = &mut entry.kind {
            *first = self.to(first);
        }
        entry
    }

    fn changes(&self, changes: &ChangeSet) -> ChangeSet {
        let mut all = ChangeSet::default();
        for (path, change) in &changes.changes {
            let before = change.before.as_ref().map(|entry| self.entry(path, entry));
            let after = change.after.as_ref().map(|entry| self.entry(path, entry));
            if before != after {
                all.changes.insert(self.to(path), Change { before, after });
            }
        }
        let touched = changes.touched.iter().map(|(path, touch)| (self.to(path), *touch));
        all.touched = touched.collect();
        all
    }
}

/// The files of a capture, by their places on the machine it shows.
struct OnDrive<'a> {
    captured: Captured<'a>,
    drive: &'a Drive,
}

impl CapturedFiles for OnDrive<'_> {
    fn open(&self, path: &MachinePath, side: Side) -> io::Result<Option<Box<dyn Read + '_>>> {
        match self.drive.below(path) {
            Some(path) => self.captured.open(&path, side),
            None => Ok(None),
        }
    }

    fn entry(&self, path: &MachinePath, side: Side) -> io::Result<Option<Entry>> {
        match self.drive.below(path) {
            Some(path) => {
                let entry = self.captured.entry(&path, side)?;
                Ok(entry.as_ref().map(|entry| self.drive.entry(&path, entry)))
            }
            None => Ok(None),
        }
    }
}
