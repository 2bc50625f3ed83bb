//! A session observed by overlays: run, then read what was written.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use capture::{BothNames, ChangeSet, Event, Observer, Touch, disagreements};
use model::MachinePath;

use super::{
    AdvanceError, BeginError, Beginning, Finished, OpenSessionError, SESSION_FORMAT, Session,
    content::{Notes, read_changes_file},
    files, now, unmistakable_host_name,
};
use crate::{
    mounts::Mounts,
    namespaces::{Bind, EncloseError, Enclosed, Enclosure, Outcome, enclose, made_file},
    overlay::{Layer, OverlayDiffError, differences},
    owners::read_names,
    scan::{Skip, SkipReason},
};

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Our own program, which is started again inside.
    pub program: PathBuf,
    /// The root that is captured.
    pub root: PathBuf,
    /// The installer and its arguments.
    pub command: Vec<OsString>,
    /// What is shown inside beside the root, read-only.
    pub binds: Vec<Bind>,
    /// Additions to the scrubbed environment.
    pub environment: BTreeMap<String, String>,
    /// Observe by snapshots of the merged view, too.
    pub compare: bool,
}

/// A run was not captured.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The session.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The session.
    #[error(transparent)]
    Open(#[from] OpenSessionError),
    /// The session.
    #[error(transparent)]
    Advance(#[from] AdvanceError),
    /// The run.
    #[error(transparent)]
    Enclose(#[from] EncloseError),
    /// What it did.
    #[error(transparent)]
    Differences(#[from] OverlayDiffError),
    /// The root cannot be looked at, or the session cannot be written.
    #[error("cannot prepare the capture of `{}`", root.display())]
    Prepare {
        /// The root.
        root: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
}

impl Session {
    /// Begins a session that gives the installer overlays over `root`.
    ///
    /// # Errors
    /// A session that is there already; a root that cannot be looked at.
    pub fn begin_overlay(folder: &Path, root: &Path) -> Result<Self, RunError> {
        let failed = |reason| RunError::Prepare { root: root.to_owned(), reason };
        let root = root.canonicalize().map_err(failed)?;
        let folder = std::path::absolute(folder).map_err(failed)?;
        let mounts = Mounts::below(&root).map_err(failed)?;
        let beginning = Beginning {
            format: SESSION_FORMAT,
            observer: Observer::Overlay,
            hash: false,
            keep: 0,
            begun: now(),
            host_name: unmistakable_host_name().map_err(failed)?,
            layers: layers(&folder, &root, &mounts),
            skips: skips(&mounts),
            root: root.clone(),
        };
        let mut session = Self::begin(&folder, beginning)?;
        for layer in &session.beginning.layers {
            layer.make().map_err(failed)?;
        }
        fs::create_dir_all(folder.join(files::MERGED)).map_err(failed)?;
        session.advance(Event::BaselineDone)?;
        Ok(session)
    }

    /// Runs the installer inside. What it did is read by [`Session::finish`].
    ///
    /// # Errors
    /// It could not be enclosed.
    pub fn run(&self, settings: &RunSettings) -> Result<Enclosed, RunError> {
        let failed = |reason| RunError::Prepare { root: self.beginning.root.clone(), reason };
        let enclosure = self.enclosure(settings).map_err(failed)?;
        files::write_whole(&self.folder, files::ENCLOSURE, &enclosure).map_err(failed)?;
        let file = self.folder.join(files::ENCLOSURE);
        Ok(enclose(&settings.program, &file, &enclosure.outcome)?)
    }

    fn enclosure(&self, settings: &RunSettings) -> io::Result<Enclosure> {
        let root = &self.beginning.root;
        let mounts = Mounts::below(root)?;
        let separate = |path: &str| {
            MachinePath::new(path)
                .ok()
                .filter(|path| mounts.points.contains_key(path) && !mounts.own.contains(path))
        };
        let hidden = below(root, &self.folder).into_iter().collect();
        let folder = std::env::current_dir()
            .ok()
            .and_then(|folder| below(root, &folder))
            .unwrap_or_else(MachinePath::root);
        Ok(Enclosure {
            layers: self.beginning.layers.clone(),
            merged: self.folder.join(files::MERGED),
            private: ["/run", "/tmp", "/var/tmp"].into_iter().filter_map(separate).collect(),
            hidden,
            binds: settings.binds.clone(),
            host_name: self.beginning.host_name.clone(),
            command: settings.command.clone(),
            folder,
            environment: environment(&settings.environment),
            compare: settings.compare,
            outcome: self.folder.join(files::OUTCOME),
        })
    }

    /// Reads what the installer wrote, and writes the change set. A run that was killed is read as far
    /// as it came.
    ///
    /// # Errors
    /// Layers that cannot be read; a session that cannot be written.
    pub(super) fn finish_overlay(mut self) -> Result<Finished, RunError> {
        let root = self.beginning.root.clone();
        let failed = |reason| RunError::Prepare { root: root.clone(), reason };
        let outcome: Option<Outcome> = match files::read_json(&self.folder.join(files::OUTCOME)) {
            Ok(outcome) => Some(outcome),
            Err(OpenSessionError::Read { .. } | OpenSessionError::Damaged { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let layers = &self.beginning.layers;
        let names = BothNames {
            before: read_names(&root).map_err(failed)?,
            after: names_after(&root, layers).map_err(failed)?,
        };
        let made = match &outcome {
            Some(outcome) => outcome.made.clone(),
            None => made_so_far(&self.folder),
        };
        let mut found = differences(layers, &names, &made)?;
        let mut notes = Notes::default();
        let observed = self.folder.join(files::OBSERVED);
        if observed.exists() {
            let second = read_changes_file(&observed)?;
            notes.disagreements = Some(disagreements(&found.changes, &second));
        }
        match outcome {
            Some(outcome) => {
                mark_opened(&mut found.changes, &outcome, &root);
                notes.exit_code = Some(outcome.exit_code);
                notes.left_running = outcome.left_running;
                notes.overlay_options = Some(outcome.options);
                notes.opens = outcome.opens;
                notes.costs.extend(
                    outcome
                        .unwatched
                        .map(|why| format!("files that were only opened are not known: {why}")),
                );
            }
            None => notes.costs.push(
                "the run was killed: its end, and files that were only opened, are not known"
                    .to_owned(),
            ),
        }
        let skips: BTreeSet<Skip> =
            self.beginning.skips.iter().cloned().chain(found.skips).collect();
        notes.skips = skips.into_iter().collect();
        self.write_finished(&found.changes, &notes)?;
        Ok(Finished::open(self)?)
    }

    pub(super) fn write_finished(
        &mut self,
        changes: &ChangeSet,
        notes: &Notes,
    ) -> Result<(), RunError> {
        let failed = |reason| RunError::Prepare { root: self.beginning.root.clone(), reason };
        files::write_whole(&self.folder, files::SKIPS, notes).map_err(failed)?;
        files::write_with(&self.folder, files::CHANGES, |file| {
            capture::write_changes(changes, file)
        })
        .map_err(failed)?;
        Ok(self.advance(Event::ChangesDone)?)
    }
}

/// Where in `root` a folder of the outside is.
pub(super) fn below(root: &Path, folder: &Path) -> Option<MachinePath> {
    let folder = folder.canonicalize().ok()?;
    let below = folder.strip_prefix(root).ok()?;
    MachinePath::new([b"/", below.as_os_str().as_bytes()].concat()).ok()
}

fn environment(more: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
    let mut environment: BTreeMap<String, String> = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("TERM", &term),
        ("SYSTEMD_OFFLINE", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    environment.extend(more.clone());
    environment
}

fn layers(folder: &Path, root: &Path, mounts: &Mounts) -> Vec<Layer> {
    std::iter::once(MachinePath::root())
        .chain(mounts.own.iter().cloned())
        .enumerate()
        .map(|(number, path)| {
            let of_layer = folder.join(files::LAYERS).join(number.to_string());
            Layer {
                lower: root.join(std::ffi::OsStr::from_bytes(path.relative())),
                upper: of_layer.join("upper"),
                work: of_layer.join("work"),
                path,
            }
        })
        .collect()
}

pub(super) fn skips(mounts: &Mounts) -> Vec<Skip> {
    mounts
        .points
        .iter()
        .filter(|(path, _)| !mounts.own.contains(*path))
        // What is mounted inside a visitor is no news.
        .filter(|(path, _)| {
            path.ancestors()
                .all(|folder| mounts.own.contains(&folder) || !mounts.points.contains_key(&folder))
        })
        .map(|(path, mount)| Skip {
            path: path.clone(),
            reason: SkipReason::Mounted(mount.file_system.clone()),
        })
        .collect()
}

/// The names the merged root gives: each file from the upper folder, if it was written.
fn names_after(root: &Path, layers: &[Layer]) -> io::Result<capture::Names> {
    let read = |file: &str| -> io::Result<Vec<u8>> {
        let path = MachinePath::new(file).map_err(|_| io::ErrorKind::InvalidInput)?;
        match crate::overlay::open_content(layers, &path) {
            Ok(mut file) => {
                let mut text = Vec::new();
                io::Read::read_to_end(&mut file, &mut text)?;
                Ok(text)
            }
            // No such file: then there are no names, as below.
            Err(_) if !root.join(&file[1..]).exists() => Ok(Vec::new()),
            Err(OverlayDiffError::Path { reason, .. })
                if reason.kind() == io::ErrorKind::NotFound =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(io::Error::other(error)),
        }
    };
    Ok(capture::Names::parse(&read("/etc/passwd")?, &read("/etc/group")?))
}

/// Existing files that were opened and left alone, in folders where the installer also put or changed
/// something: probably part of what it installs, and good already (Q168776).
fn mark_opened(changes: &mut ChangeSet, outcome: &Outcome, root: &Path) {
    let folders: BTreeSet<MachinePath> = changes
        .changes
        .iter()
        .filter(|(_, change)| {
            let after = change.after.as_ref().map(|entry| &entry.kind);
            !matches!(after, None | Some(model::Kind::Directory))
        })
        .filter_map(|(path, _)| path.parent())
        .collect();
    for (path, opens) in &outcome.opens {
        let beside = path.parent().is_some_and(|folder| folders.contains(&folder));
        let known = changes.changes.contains_key(path) || changes.touched.contains_key(path);
        let existing = || {
            root.join(std::ffi::OsStr::from_bytes(path.relative()))
                .symlink_metadata()
                .is_ok_and(|found| found.is_file())
        };
        if opens.opened > 0 && beside && !known && existing() {
            changes.touched.insert(path.clone(), Touch::Opened);
        }
    }
}

/// What a killed run had made to mount on: it says so before it mounts.
fn made_so_far(folder: &Path) -> BTreeSet<MachinePath> {
    files::read_json(&made_file(&folder.join(files::OUTCOME))).unwrap_or_default()
}
