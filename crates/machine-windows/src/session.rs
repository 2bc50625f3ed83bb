//! A capture of this machine: two looks at a drive and at the registry.

use std::{
    env, fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use ::session::{
    BeginError, ContentError, Finished, ObserveError, Progress, Reference, ScanError, Session,
    Sink, Skip, SkipReason, SnapshotSettings, read_json, write_whole, write_with,
};
use capture::{Facts, Names, Node, Registry, Side};
use install::Facts as _;
use model::{Content, Hash, MachinePath, RegistryKey, RegistryValue, Setting, SettingState, Time};

use crate::{WindowsFacts, file, registry, scan, security, walk_registry};

/// What a run that failed failed with.
pub type RunError = ObserveError;

/// The place of a session's root on the machine: `/C:`, or a folder below it.
///
/// # Errors
/// It is on no drive.
pub fn drive_of(root: &Path) -> io::Result<MachinePath> {
    let whole = fs::canonicalize(root)?;
    let text = whole.to_string_lossy();
    let text = text.strip_prefix(r"\\?\").unwrap_or(&text).trim_end_matches('\\');
    let found = MachinePath::new(text).ok().filter(|path| path.on_drive().is_some());
    found.ok_or_else(|| {
        let what = format!("`{}` is on no drive with a letter", root.display());
        io::Error::new(io::ErrorKind::InvalidInput, what)
    })
}

/// Where sessions are kept unless somebody says otherwise.
pub fn sessions() -> PathBuf {
    let folder = env::var_os("ProgramData").map_or_else(|| r"C:\ProgramData".into(), PathBuf::from);
    folder.join("Packhorse-capture")
}

/// The drive the system is on.
pub fn system_drive() -> PathBuf {
    let letter = env::var("SystemDrive").unwrap_or_else(|_| "C:".to_owned());
    format!(r"{letter}\").into()
}

/// Begins a session and takes its baseline: metadata of everything below `root`, and content of small text.
///
/// # Errors
/// A session that is there already; a root that cannot be read.
pub fn begin_snapshots(
    folder: &Path,
    root: &Path,
    settings: &SnapshotSettings,
    progress: Progress<'_>,
) -> Result<Session, ObserveError> {
    let root = Root::at(root)?;
    let folder = &shown(folder);
    let unwritable = |reason| BeginError::Write { folder: folder.clone(), reason };
    security::make_own(folder).map_err(unwritable)?;
    ::session::begin_snapshots(folder, &root, &[shown(&sessions())], settings, progress)
}

/// Ends the observation and writes the change set; after a restart too, against the baseline it was begun with.
///
/// # Errors
/// A baseline that was never completed; a root that cannot be read; a session that cannot be written.
pub fn finish(session: Session, progress: Progress<'_>) -> Result<Finished, ObserveError> {
    let root = Root::at(&session.beginning().root)?;
    ::session::finish_snapshots(session, &root, &[shown(&sessions())], progress)
}

/// A folder by the name walks meet it with: without links and short names. One that is not there yet keeps its name.
fn shown(folder: &Path) -> PathBuf {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let Some((parent, name)) = whole.parent().zip(whole.file_name()) else { return whole };
    let real = fs::canonicalize(&whole).or_else(|_| Ok::<_, io::Error>(shown(parent).join(name)));
    let real = real.unwrap_or(whole);
    let text = real.to_string_lossy();
    match text.strip_prefix(r"\\?\").filter(|text| !text.starts_with("UNC")) {
        Some(plain) => plain.into(),
        None => real,
    }
}

/// Account names: on Windows all belongs to whoever the package's machine says.
///
/// # Errors
/// None.
pub fn names(_: &Finished) -> io::Result<Names> {
    Ok(root_alone())
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
    let root = Root::at(&finished.session().beginning().root)
        .map_err(|error| ContentError::Read { path: path.clone(), reason: Box::new(error) })?;
    finished.content_of_snapshots(path, side, &root)
}

/// What is at a path that did not change; `None` where there is nothing.
///
/// # Errors
/// It cannot be looked at.
pub fn unchanged(finished: &Finished, path: &MachinePath) -> io::Result<Option<Node>> {
    let root = Root::at(&finished.session().beginning().root).map_err(io::Error::other)?;
    match root.look(path) {
        Ok(node) => Ok(Some(node)),
        Err(error) if file::is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the registry as it is into a session: a file for each of `hives`, named and in the form of Wine's own, the first
/// of them last, and what could not be read in `unread`.
///
/// # Errors
/// A hive itself cannot be read, or the session cannot be written.
pub fn keep_registry(
    session: &Session,
    hives: &[(String, &str)],
    unread: &str,
) -> Result<(), ObserveError> {
    let failed = |reason| session.failed(reason);
    let mut all = Registry::default();
    let refused = walk_registry(&mut |walked| all.add(&walked.key, walked.values));
    let refused = refused.map_err(failed)?.into_iter().map(|one| Skip {
        path: Setting::Key(one.key).path(),
        reason: SkipReason::Unreadable(one.reason.to_string()),
    });
    let refused: Vec<Skip> = refused.collect();
    write_whole(session.folder(), unread, &refused).map_err(failed)?;
    for (name, hive) in hives.iter().rev() {
        let hive = RegistryKey::new(hive).map_err(|error| failed(io::Error::other(error)))?;
        write_with(session.folder(), name, |file| all.write(&hive, file)).map_err(failed)?;
    }
    Ok(())
}

/// What could not be read of the registry, as [`keep_registry`] wrote it down.
///
/// # Errors
/// The file is missing or damaged.
pub fn unread_registry(session: &Session, unread: &str) -> Result<Vec<Skip>, ObserveError> {
    Ok(read_json(&session.folder().join(unread))?)
}

/// What can be read of a drive of this machine, as sessions see machines.
struct Root {
    root: PathBuf,
    drive: MachinePath,
}

impl Root {
    fn at(root: &Path) -> Result<Self, ObserveError> {
        match drive_of(root) {
            Ok(drive) => {
                let bytes = drive.on_drive().unwrap_or_default();
                Ok(Self { root: String::from_utf8_lossy(&bytes).into_owned().into(), drive })
            }
            Err(reason) => Err(ObserveError::Prepare { root: root.to_owned(), reason }),
        }
    }

    fn place(&self, path: &MachinePath) -> io::Result<PathBuf> {
        scan::place(&self.drive, path)
    }
}

impl Reference for Root {
    fn root(&self) -> &Path {
        &self.root
    }

    fn host_name(&self) -> String {
        WindowsFacts.host_name()
    }

    fn passed_over(&self) -> io::Result<Vec<Skip>> {
        Ok(Vec::new())
    }

    fn scan(&self, own: &[PathBuf], sink: Sink<'_>) -> Result<Vec<Skip>, ScanError> {
        scan::scan(&self.root, &self.drive, own, sink)
    }

    fn look(&self, path: &MachinePath) -> io::Result<Node> {
        Ok(scan::look(&self.place(path)?)?.0)
    }

    fn open(&self, path: &MachinePath) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(fs::File::open(self.place(path)?)?))
    }

    fn hash(&self, path: &MachinePath, _: &Content) -> io::Result<Option<Hash>> {
        scan::hash(&self.place(path)?)
    }

    fn names(&self) -> io::Result<Names> {
        Ok(root_alone())
    }

    /// Addresses are those the registry knows of network cards, `Tcpip\Parameters\Interfaces`.
    fn facts(&self, host_name: &str) -> Facts {
        let mut users = env::var("USERPROFILE").ok().into_iter();
        let user = users.find_map(|home| Some(home.rsplit('\\').next()?.to_owned()));
        let temporary = ["TEMP", "TMP"].into_iter().filter_map(|name| env::var(name).ok());
        let mut temporary: Vec<MachinePath> =
            temporary.filter_map(|folder| MachinePath::new(folder).ok()).collect();
        temporary.dedup();
        Facts {
            host_name: host_name.to_owned(),
            real_host_name: WindowsFacts.host_name(),
            machine_ids: text_of(r"HKLM\SOFTWARE\Microsoft\Cryptography", "MachineGuid")
                .into_iter()
                .collect(),
            addresses: addresses(),
            user,
            boot_id: number_of_start(),
            temporary_folders: temporary,
            kernel: WindowsFacts.kernel(),
            os_release: [("NAME".to_owned(), WindowsFacts.distribution())].into(),
            ..Facts::default()
        }
    }

    fn settings_folder(&self) -> Option<MachinePath> {
        None
    }

    fn clock(&self, folder: &Path) -> io::Result<Time> {
        let probe = folder.join("clock");
        fs::File::create(&probe)?.write_all(b"now")?;
        let (_, stamp) = scan::look(&probe)?;
        fs::remove_file(&probe)?;
        Ok(stamp.changed)
    }
}

fn root_alone() -> Names {
    Names::parse(b"root:x:0:", b"root:x:0:")
}

fn value_of(key: &str, name: &str) -> Option<RegistryValue> {
    let key = RegistryKey::new(key).ok()?;
    match registry::look(&Setting::value(&key, name)) {
        Ok(Some(SettingState::Value(value))) => Some(value),
        _ => None,
    }
}

fn text_of(key: &str, name: &str) -> Option<String> {
    value_of(key, name)?.as_text().filter(|text| !text.is_empty())
}

/// Which start of the machine this is: Windows counts them for its prefetcher. Empty where nobody counts.
fn number_of_start() -> String {
    let key = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters";
    let number = value_of(key, "BootId").map(|value| value.data);
    number.map_or_else(String::new, |data| format!("start {data:?}"))
}

fn addresses() -> Vec<String> {
    let Ok(cards) =
        RegistryKey::new(r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters\Interfaces")
    else {
        return Vec::new();
    };
    let cards = registry::list(&cards).unwrap_or_default();
    let keys = cards.iter().filter_map(|card| match card {
        Setting::Key(key) => Some(key.as_str()),
        _ => None,
    });
    let mut all = Vec::new();
    for key in keys {
        all.extend(text_of(key, "DhcpIPAddress"));
        all.extend(
            value_of(key, "IPAddress").and_then(|value| value.as_list()).unwrap_or_default(),
        );
    }
    all.retain(|address| !address.is_empty() && address != "0.0.0.0");
    all.sort();
    all.dedup();
    all
}
