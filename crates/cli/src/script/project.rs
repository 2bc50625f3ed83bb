//! A project folder on disk.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use script::{FileMeta, Part, Payload, PayloadKind, Place, Problem};

/// A project folder, read whole but for the content of its payload.
pub(super) struct Project {
    pub(super) script: Source,
    pub(super) files_meta: Option<Source>,
    /// What is wrong with its lines; then `entries` are none.
    pub(super) files_meta_problems: Vec<Problem>,
    pub(super) entries: Vec<FileMeta>,
    /// What is on disk.
    pub(super) disk: Payload,
    /// The same, and what `files.meta` says of it.
    pub(super) payload: Payload,
}

/// A text file of a project.
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// The path as messages say it.
    pub(super) name: String,
    pub(super) text: Arc<str>,
}

/// Why a project folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadProjectError {
    /// There is no script.
    #[error("there is no `{}`", .path.display())]
    NoScript {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file or folder cannot be read.
    #[error("`{}` cannot be read: {source}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no text.
    #[error("`{}` is not UTF-8: byte {at} begins no character", .path.display())]
    NoText {
        /// Which.
        path: PathBuf,
        /// The first byte that is wrong, from 0.
        at: usize,
    },
}

impl ReadProjectError {
    /// What to type.
    pub(super) fn hint(&self, dir: &Path) -> String {
        match self {
            Self::NoScript { .. } => format!(
                "a project folder holds a package.toml; name it: `packhorse script check {}`",
                dir.join("PROJECT").display()
            ),
            Self::Unreadable { path, .. } => format!("look at `ls -ld {}`", path.display()),
            Self::NoText { path, at } => {
                format!(
                    "save `{}` as UTF-8; `head -c {at}` shows where it breaks off",
                    path.display()
                )
            }
        }
    }
}

impl Project {
    /// Reads a project folder.
    pub(super) fn read(dir: &Path) -> Result<Self, ReadProjectError> {
        let (script, files_meta) = read_sources(dir)?;
        let mut disk = Payload::default();
        walk(&dir.join("files"), b"files", &mut disk)?;
        let entries = files_meta.as_ref().map(|source| script::parse_files_meta(&source.text));
        let (entries, files_meta_problems): (Vec<FileMeta>, _) = match entries {
            Some(Ok(entries)) => (entries, Vec::new()),
            Some(Err(problems)) => (Vec::new(), problems),
            None => (Vec::new(), Vec::new()),
        };
        let mut payload = disk.clone();
        payload.describe(&entries);
        Ok(Self { script, files_meta, files_meta_problems, entries, disk, payload })
    }
}

/// Reads package.toml.
pub(super) fn read_script(dir: &Path) -> Result<Source, ReadProjectError> {
    let path = dir.join("package.toml");
    read_source(path.clone())?.ok_or(ReadProjectError::NoScript { path })
}

/// Reads package.toml, and files.meta if there is one.
pub(super) fn read_sources(dir: &Path) -> Result<(Source, Option<Source>), ReadProjectError> {
    Ok((read_script(dir)?, read_source(dir.join("files.meta"))?))
}

/// Reads a text file; `None` where there is none.
fn read_source(path: PathBuf) -> Result<Option<Source>, ReadProjectError> {
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ReadProjectError::Unreadable { path, source }),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(Source { name: path.display().to_string(), path, text: text.into() })),
        Err(error) => Err(ReadProjectError::NoText { path, at: error.utf8_error().valid_up_to() }),
    }
}

/// Adds a folder and everything below it; a missing one adds nothing.
fn walk(folder: &Path, below: &[u8], payload: &mut Payload) -> Result<(), ReadProjectError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| ReadProjectError::Unreadable { path, source }
    };
    let mut ahead = vec![(folder.to_owned(), below.to_vec())];
    while let Some((folder, below)) = ahead.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && below == b"files" => continue,
            Err(error) => return Err(unreadable(&folder)(error)),
        };
        payload.insert(below.clone(), PayloadKind::Folder);
        for entry in entries {
            let entry = entry.map_err(unreadable(&folder))?;
            let path = [below.as_slice(), b"/", entry.file_name().as_encoded_bytes()].concat();
            let kind = entry.file_type().map_err(unreadable(&entry.path()))?;
            if kind.is_dir() {
                ahead.push((entry.path(), path));
            } else if kind.is_file() {
                payload.insert(path, PayloadKind::File);
            } else {
                payload.insert(path, PayloadKind::Other);
            }
        }
    }
    Ok(())
}

/// Replaces a file's content at once: a reader sees the old or the new.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    // Through a link the file it names is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    match fs::metadata(&path) {
        Ok(metadata) => file.as_file().set_permissions(metadata.permissions())?,
        Err(_) => compile::set_mode(file.as_file(), 0o644)?,
    }
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}

/// A problem with the project as a whole.
pub(super) fn problem(message: &str) -> Problem {
    Problem::error(Place::of(Part::Script), message)
}
