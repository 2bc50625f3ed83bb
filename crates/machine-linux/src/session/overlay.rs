//! A session observed by overlays: run, then read what was written.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use capture::{BothNames, ChangeSet, Event, Node, Observer, Side, Touch, disagreements};
use model::MachinePath;

use ::session::{
    Beginning, ContentError, ENCLOSURE, Finished, LAYERS, MERGED, Notes, OBSERVED, OUTCOME,
    ObserveError, OpenSessionError, SESSION_FORMAT, Session, now, read_changes_file, read_json,
    write_whole,
};

use super::root;
use crate::{
    mounts::Mounts,
    namespaces::{Bind, EncloseError, Enclosed, Enclosure, Outcome, enclose, made_file},
    overlay::{self, Layer, OverlayDiffError, differences, open_before, open_content},
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
    /// The machine, or the session.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The run.
    #[error(transparent)]
    Enclose(#[from] EncloseError),
    /// What it did.
    #[error(transparent)]
    Differences(#[from] OverlayDiffError),
}

/// Begins a session that gives the installer overlays over `root`.
///
/// # Errors
/// A session that is there already; a root that cannot be looked at.
pub fn begin_overlay(folder: &Path, root: &Path) -> Result<Session, ObserveError> {
    let failed = |reason| ObserveError::Prepare { root: root.to_owned(), reason };
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
    let facts = crate::facts::read_facts(&root, &beginning.host_name);
    let mut session = Session::begin(&folder, beginning, &facts)?;
    for layer in &session.beginning().layers {
        overlay::make(layer).map_err(failed)?;
    }
    fs::create_dir_all(folder.join(MERGED)).map_err(failed)?;
    session.advance(Event::BaselineDone)?;
    Ok(session)
}

/// Runs the installer inside. What it did is read by [`finish`](super::finish).
///
/// # Errors
/// It could not be enclosed.
pub fn run(session: &Session, settings: &RunSettings) -> Result<Enclosed, RunError> {
    let enclosure = enclosure(session, settings).map_err(|reason| session.failed(reason))?;
    write_whole(session.folder(), ENCLOSURE, &enclosure)
        .map_err(|reason| session.failed(reason))?;
    let file = session.folder().join(ENCLOSURE);
    Ok(enclose(&settings.program, &file, &enclosure.outcome)?)
}

fn enclosure(session: &Session, settings: &RunSettings) -> io::Result<Enclosure> {
    let root = &session.beginning().root;
    let mounts = Mounts::below(root)?;
    let separate = |path: &str| {
        MachinePath::new(path)
            .ok()
            .filter(|path| mounts.points.contains_key(path) && !mounts.own.contains(path))
    };
    let hidden = below(root, session.folder()).into_iter().collect();
    let folder = std::env::current_dir()
        .ok()
        .and_then(|folder| below(root, &folder))
        .unwrap_or_else(MachinePath::root);
    Ok(Enclosure {
        layers: session.beginning().layers.clone(),
        merged: session.folder().join(MERGED),
        private: ["/run", "/tmp", "/var/tmp"].into_iter().filter_map(separate).collect(),
        hidden,
        binds: settings.binds.clone(),
        host_name: session.beginning().host_name.clone(),
        command: settings.command.clone(),
        folder,
        environment: environment(&settings.environment),
        compare: settings.compare,
        outcome: session.folder().join(OUTCOME),
    })
}

/// Reads what the installer wrote, and writes the change set. A run that was killed is read as far
/// as it came.
///
/// # Errors
/// Layers that cannot be read; a session that cannot be written.
pub(super) fn finish_overlay(mut session: Session) -> Result<Finished, RunError> {
    let root = session.beginning().root.clone();
    let failed = |reason| ObserveError::Prepare { root: root.clone(), reason };
    let outcome: Option<Outcome> = match read_json(&session.folder().join(OUTCOME)) {
        Ok(outcome) => Some(outcome),
        Err(OpenSessionError::Read { .. } | OpenSessionError::Damaged { .. }) => None,
        Err(error) => return Err(ObserveError::from(error).into()),
    };
    let layers = &session.beginning().layers;
    let names = BothNames {
        before: read_names(&root).map_err(failed)?,
        after: names_after(&root, layers).map_err(failed)?,
    };
    let made = match &outcome {
        Some(outcome) => outcome.made.clone(),
        None => made_so_far(session.folder()),
    };
    let mut found = differences(layers, &names, &made)?;
    let mut notes = Notes::default();
    let observed = session.folder().join(OBSERVED);
    if observed.exists() {
        let second = read_changes_file(&observed).map_err(ObserveError::from)?;
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
        session.beginning().skips.iter().cloned().chain(found.skips).collect();
    notes.skips = skips.into_iter().collect();
    session.write_finished(&found.changes, &notes)?;
    Ok(Finished::open(session).map_err(ObserveError::from)?)
}

/// The content of a file on one side of an overlay.
pub(super) fn content(
    finished: &Finished,
    path: &MachinePath,
    side: Side,
) -> Result<Box<dyn io::Read>, ContentError> {
    let layers = &finished.session().beginning().layers;
    let path = finished.place_of_content(path, side);
    let file = match side {
        Side::Before => open_before(layers, path),
        Side::After => open_content(layers, path),
    };
    file.map(|file| Box::new(file) as Box<dyn io::Read>)
        .map_err(|error| ContentError::Read { path: path.clone(), reason: Box::new(error) })
}

/// What is at a path nobody wrote: it lies below the nearest overlay.
pub(super) fn look_below(finished: &Finished, path: &MachinePath) -> io::Result<Node> {
    let layers = finished.session().beginning().layers.iter();
    let nearest = layers
        .filter(|layer| path.is_within(&layer.path))
        .max_by_key(|layer| layer.path.parts().count());
    let found = nearest.and_then(|layer| Some((&layer.lower, path.below(&layer.path)?)));
    let (lower, below) = found.ok_or(io::ErrorKind::NotFound)?;
    root::look(lower, below)
}

/// A host name nobody has by chance, so that its traces can be found: `packhorse-` and 8 digits.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn unmistakable_host_name() -> io::Result<String> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("packhorse-{:08x}", u32::from_ne_bytes(bytes)))
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
            let of_layer = folder.join(LAYERS).join(number.to_string());
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
        match open_content(layers, &path) {
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
    read_json(&made_file(&folder.join(OUTCOME))).unwrap_or_default()
}
