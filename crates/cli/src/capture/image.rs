//! A Windows installer captured on a machine that does not run while it is looked at: its drive `C:` is mounted here, before the
//! installer ran in it and after. The registry is read from its hives.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use capture::{Hive, ReadHiveError, Registry, State};
use machine_linux::session::begin_snapshots;
use model::{Entry, Kind, MachinePath, RegistryKey};
use serde::{Deserialize, Serialize};
use session::{Finished, Session, SnapshotSettings, read_json, write_whole, write_with};

use super::{
    Answer, CaptureError, Into, count,
    drive::{self, AFTER, Drive, HIVES, registry},
    spinner,
};

/// Where the drive is on the machine it is of.
const DRIVE: &str = "/C:";
/// What a session of an image remembers of it.
const KNOWN: &str = "image.json";
/// What people should know of the registry as it was read.
const NOTES: &str = "notes.json";
/// Hives of the machine: where each is below the drive, and at which key.
const OF_MACHINE: [(&[&str], &str); 3] = [
    (&["Windows", "System32", "config", "SOFTWARE"], r"HKLM\SOFTWARE"),
    (&["Windows", "System32", "config", "SYSTEM"], r"HKLM\SYSTEM"),
    (&["Windows", "System32", "config", "DEFAULT"], r"HKU\.Default"),
];
/// Those of a user, below the profile.
const OF_USER: [(&[&str], &str); 2] = [
    (&["NTUSER.DAT"], "HKCU"),
    (&["AppData", "Local", "Microsoft", "Windows", "UsrClass.dat"], r"HKCU\Software\Classes"),
];
/// Profiles nobody works in.
const NOBODY: [&str; 4] = ["Default", "Default User", "Public", "All Users"];
/// How the file begins that holds the memory of a Windows that sleeps; what has woken up begins with `wake`.
const ASLEEP: [&[u8]; 3] = [b"hibr", b"HIBR", b"RSTR"];
/// Ends of the names of a hive's logs.
const LOGS: [&str; 2] = [".LOG1", ".LOG2"];
/// `FILE_ATTRIBUTE_READONLY`; hidden, and of the system.
const READ_ONLY: u32 = 1;
const KEPT: u32 = 6;

/// An image cannot be captured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// The folder is no drive with Windows on it.
    #[error(
        "`{}` holds no Windows: `{missing}` is not there; name the folder the machine's drive `C:` is mounted at", root.display()
    )]
    NoWindows {
        /// Which.
        root: PathBuf,
        /// What is missing.
        missing: String,
    },
    /// Its memory is not on its drive.
    #[error(
        "the Windows in `{}` sleeps, and not all it did is on its drive: start it, shut it down whole (`shutdown /s /t 0`), and \
         mount the drive again", .0.display()
    )]
    Asleep(PathBuf),
    /// It is not said whose registry counts.
    #[error("whose installation is it? `{}` has {}: name one with `--user`", root.display(), listed(users))]
    Whose {
        /// The image.
        root: PathBuf,
        /// Who has a profile there.
        users: Vec<String>,
    },
    /// A hive is not what it should be.
    #[error("cannot read the registry in `{}`", path.display())]
    Hive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        reason: ReadHiveError,
    },
    /// A file of it cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
}

/// What is remembered of an image between two looks.
#[derive(Serialize, Deserialize)]
struct Known {
    user: String,
}

/// Records an image as it is, before the installer is run in its machine.
pub(super) fn begin(
    root: &Path,
    user: Option<&str>,
    folder: &Path,
    settings: &SnapshotSettings,
) -> Result<Session, CaptureError> {
    let root = fs::canonicalize(root).map_err(at(root))?;
    let image = Image::at(&root, user)?;
    let (before, notes) = image.registry()?;
    let bar = spinner("recording the drive as it is");
    let session = begin_snapshots(folder, &root, settings, &mut |paths| count(&bar, paths))?;
    bar.finish_and_clear();
    let known = Known { user: image.user };
    write_whole(session.folder(), KNOWN, &known).map_err(|reason| session.failed(reason))?;
    keep(&session, "", &before, &notes)?;
    Ok(session)
}

/// Whether a session is one of an image.
pub(super) fn is_of_image(session: &Session) -> bool {
    session.folder().join(KNOWN).exists()
}

/// Whether what a session has recorded is the drive of a Windows machine.
pub(super) fn holds_windows(session: &Session) -> bool {
    matches!(found(&session.beginning().root, OF_MACHINE[0].0), Ok(Some(_)))
}

/// Ends a capture that was begun with [`begin`].
pub(super) fn finish(session: Session, into: &Into) -> Result<Answer, CaptureError> {
    drive::check_recorded(&session)?;
    let Known { user } = read_json(&session.folder().join(KNOWN))?;
    let root = session.beginning().root.clone();
    let finished = if session.state().0 == State::Finished {
        Finished::open(session)?
    } else {
        let (after, notes) = Image::at(&root, Some(&user))?.registry()?;
        keep(&session, AFTER, &after, &notes)?;
        let bar = spinner("looking for what changed");
        let finished = machine_linux::session::finish(session, &mut |paths| count(&bar, paths))?;
        bar.finish_and_clear();
        finished
    };
    let folder = finished.session().folder();
    let (before, after) = (registry(folder, "")?, registry(folder, AFTER)?);
    let notes = read_json(&folder.join(format!("{AFTER}{NOTES}")))?;
    let place = MachinePath::new(DRIVE).unwrap_or_else(|_| MachinePath::root());
    let drive = Drive {
        place,
        more: Some(Box::new(move |path, entry| as_windows_says(entry, &root, path))),
    };
    let known = drive::Known { finished, drive, before, after, user: Some(user), notes };
    drive::answer(known, into, false)
}

/// A drive with Windows on it.
struct Image {
    root: PathBuf,
    user: String,
    profile: PathBuf,
}

impl Image {
    fn at(root: &Path, user: Option<&str>) -> Result<Self, ImageError> {
        let no_windows = |missing: &[&str]| ImageError::NoWindows {
            root: root.to_owned(),
            missing: missing.join("\\"),
        };
        for (hive, _) in &OF_MACHINE[..2] {
            found(root, hive)?.ok_or_else(|| no_windows(hive))?;
        }
        if let Some(memory) = found(root, &["hiberfil.sys"])? {
            let mut head = [0; 4];
            let read = fs::File::open(&memory).and_then(|mut file| file.read(&mut head));
            if read.map_err(at(&memory))? == 4 && ASLEEP.iter().any(|start| *start == head) {
                return Err(ImageError::Asleep(root.to_owned()));
            }
        }
        let profiles = found(root, &["Users"])?.ok_or_else(|| no_windows(&["Users"]))?;
        let mut users = Vec::new();
        for entry in fs::read_dir(&profiles).map_err(at(&profiles))? {
            let entry = entry.map_err(at(&profiles))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_somebody = !NOBODY.iter().any(|nobody| nobody.eq_ignore_ascii_case(&name));
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_somebody && is_folder && found(&entry.path(), OF_USER[0].0)?.is_some() {
                users.push(name);
            }
        }
        users.sort();
        let is_wanted =
            |one: &&String| user.is_none_or(|user| user.to_lowercase() == one.to_lowercase());
        let wanted: Vec<String> = users.iter().filter(is_wanted).cloned().collect();
        match <[String; 1]>::try_from(wanted) {
            Ok([user]) => Ok(Self { root: root.to_owned(), profile: profiles.join(&user), user }),
            Err(_) => Err(ImageError::Whose { root: root.to_owned(), users }),
        }
    }

    /// Its registry, and what people should know of it.
    fn registry(&self) -> Result<(Registry, Vec<String>), ImageError> {
        let (mut all, mut notes) = (Registry::default(), Vec::new());
        let of_machine = OF_MACHINE.iter().map(|(names, key)| (&self.root, *names, *key));
        let of_user = OF_USER.iter().map(|(names, key)| (&self.profile, *names, *key));
        for (folder, names, key) in of_machine.chain(of_user) {
            let Some(path) = found(folder, names)? else { continue };
            let file = fs::read(&path).map_err(at(&path))?;
            let logs = logs(&path)?;
            let logs: Vec<&[u8]> = logs.iter().map(Vec::as_slice).collect();
            let damaged = |reason| ImageError::Hive { path: path.clone(), reason };
            let key = RegistryKey::new(key).map_err(|error| at(&path)(io::Error::other(error)))?;
            let hive = Hive::open(&file, &logs).map_err(damaged)?;
            if hive.replayed() > 0 {
                let (path, entries) = (path.display(), hive.replayed());
                notes.push(format!(
                    "`{path}` was not written to its end: {entries} entries of its logs were read"
                ));
            }
            let unsaid = all.add_hive(&key, &hive).map_err(damaged)?.into_iter();
            notes.extend(
                unsaid.map(|name| format!("left out `{name}`: no program can say its name")),
            );
        }
        Ok((all, notes))
    }
}

/// What Windows wrote down before it wrote it into a hive.
fn logs(hive: &Path) -> Result<Vec<Vec<u8>>, ImageError> {
    let (Some(folder), Some(name)) =
        (hive.parent(), hive.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for end in LOGS {
        if let Some(path) = found(folder, &[&format!("{name}{end}")])? {
            all.push(fs::read(&path).map_err(at(&path))?);
        }
    }
    Ok(all)
}

/// What is at a place below a folder, whatever the case of the names.
fn found(folder: &Path, names: &[&str]) -> Result<Option<PathBuf>, ImageError> {
    let mut place = folder.to_owned();
    for name in names {
        let mut next = None;
        let entries = match fs::read_dir(&place) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            entries => entries.map_err(at(&place))?,
        };
        for entry in entries {
            let entry = entry.map_err(at(&place))?;
            if entry.file_name().to_string_lossy().eq_ignore_ascii_case(name) {
                next = Some(entry.path());
            }
        }
        match next {
            Some(next) => place = next,
            None => return Ok(None),
        }
    }
    Ok(Some(place))
}

/// Keeps a registry in a session, and what is to be said of it; what the session needs most comes last.
fn keep(
    session: &Session,
    when: &str,
    all: &Registry,
    notes: &[String],
) -> Result<(), CaptureError> {
    let failed = |reason| session.failed(reason);
    write_whole(session.folder(), &format!("{when}{NOTES}"), &notes).map_err(failed)?;
    for (name, hive) in HIVES.iter().rev() {
        let hive = RegistryKey::new(hive).map_err(|error| failed(io::Error::other(error)))?;
        write_with(session.folder(), &format!("{when}{name}"), |file| all.write(&hive, file))
            .map_err(failed)?;
    }
    Ok(())
}

/// What only a volume of NTFS says of a file: its streams by their names on Windows, and whether it is hidden, of the system,
/// or may only be read (`ntfs-3g(8)`, "Extended Attributes").
fn as_windows_says(entry: &mut Entry, image: &Path, path: &MachinePath) {
    let xattrs = std::mem::take(&mut entry.meta.xattrs);
    entry.meta.xattrs = xattrs
        .into_iter()
        .map(|(name, value)| match name.strip_prefix(b"user.") {
            Some(stream)
                if !stream.starts_with(b"DosStream.") && !stream.starts_with(b"DOSATTRIB") =>
            {
                ([b"user.DosStream.", stream, b":$DATA"].concat().into(), value)
            }
            _ => (name, value),
        })
        .collect();
    let below = path.as_bytes().strip_prefix(b"/").unwrap_or_default();
    let place = image.join(OsStr::from_bytes(below));
    let mut word = [0; 4];
    // What they were before can be asked no more, and is taken to be what they are.
    if rustix::fs::lgetxattr(&place, "system.ntfs_attrib", &mut word) != Ok(4) {
        return;
    }
    let attributes = u32::from_le_bytes(word);
    if attributes & KEPT != 0 {
        let text = format!("{:#x}", attributes & KEPT).into_bytes();
        entry.meta.xattrs.insert(b"user.DOSATTRIB".as_slice().into(), text.into());
    }
    if !matches!(entry.kind, Kind::Directory | Kind::Symlink(_)) {
        entry.meta.mode = if attributes & READ_ONLY == 0 { 0o644 } else { 0o444 };
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> ImageError {
    let path = path.to_owned();
    move |reason| ImageError::File { path: path.clone(), reason }
}

fn listed(users: &[String]) -> String {
    match users {
        [] => "no profile with an `NTUSER.DAT`".to_owned(),
        users => users.iter().map(|user| format!("`{user}`")).collect::<Vec<_>>().join(", "),
    }
}
