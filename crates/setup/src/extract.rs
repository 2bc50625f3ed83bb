//! `--extract`: the package's files as plain files.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use model::{ExpandError, MachinePath, Meta, Part, Template, escape};
use operate::Exit;
use package::{Contents, Header, Node, Origin, PackageReader, ReadError, Record, Totals};

use crate::{
    answer::{Answer, of_read},
    request::Request,
    sys,
};

/// Files that could not be extracted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExtractError {
    #[error(transparent)]
    Package(#[from] ReadError),
    #[error("`{path}` comes twice where names cannot be told apart, or was there already")]
    Collision { path: String },
    #[error("`{}` is there already and not empty; name a new folder", path.display())]
    NotEmpty { path: PathBuf },
    #[error("`{path}` cannot be written")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Variable(#[from] ExpandError),
    #[error("`{to}` is no place for files: {reason}")]
    Place { to: String, reason: String },
    #[error("{found} of {expected} files came out")]
    Short { found: u64, expected: u64 },
}

/// Extracts all files to `folder`, at the places below it where an install with the same variables puts them.
pub(crate) fn run(
    answer: &Answer,
    request: &Request,
    package: &mut PackageReader<File>,
    folder: &Path,
) -> ExitCode {
    match extract(answer, request, package, folder) {
        Ok(totals) => {
            if answer.is_json() {
                answer.value(&serde_json::json!({
                    "result": "done", "exit": 0, "files": totals.files, "bytes": totals.bytes,
                    "folder": folder,
                }));
            } else if !request.silent {
                let Totals { files, bytes, .. } = totals;
                answer.text(&format!("{files} files with {bytes} bytes in {}", folder.display()));
            }
            sys::code(Exit::Done)
        }
        Err(error) => {
            let exit = match &error {
                ExtractError::Package(error) => of_read(error),
                ExtractError::Write { source, .. }
                    if source.kind() == io::ErrorKind::StorageFull =>
                {
                    Exit::NoSpace
                }
                ExtractError::Variable(_) => Exit::Usage,
                _ => Exit::Failed,
            };
            answer.failed(exit, &error)
        }
    }
}

/// Everything goes to a folder beside the wanted one, which gets its name when all is there.
fn extract(
    answer: &Answer,
    request: &Request,
    package: &mut PackageReader<File>,
    folder: &Path,
) -> Result<Totals, ExtractError> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ExtractError::NotEmpty { path: folder.to_owned() });
    }
    let places = places(package.header(), request)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let partial = folder.with_file_name(format!(".{name}.partial-{}", std::process::id()));
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |source| ExtractError::Write { path, source }
    };
    // Files are made with their modes, so that these need no second call.
    sys::own_modes();
    sys::make_folders(&partial).map_err(at(&partial))?;
    let result =
        Extraction { root: partial.clone(), places, totals: Totals::default(), last: None }
            .run(answer, request, package)
            .and_then(|totals| fs::rename(&partial, folder).map_err(at(folder)).map(|()| totals));
    if result.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    result
}

/// Where each tree goes, variables in place.
fn places(header: &Header, request: &Request) -> Result<Vec<MachinePath>, ExtractError> {
    header
        .trees
        .iter()
        .map(|tree| {
            let bytes = expand(&tree.to, header, request)?;
            MachinePath::new(&bytes).map_err(|error| ExtractError::Place {
                to: escape(&bytes),
                reason: error.to_string(),
            })
        })
        .collect()
}

/// A template with the values given, or else the defaults, which may speak of other variables.
fn expand(template: &Template, header: &Header, request: &Request) -> Result<Vec<u8>, ExpandError> {
    let value = |name: &str| match request.variables.get(name) {
        Some(value) => Some(Template::literal(value.as_bytes())),
        None => header.variables.get(name)?.default.clone(),
    };
    let mut template = template.clone();
    for _ in 0..=header.variables.len() {
        let parts = template.0.into_iter().flat_map(|part| match &part {
            Part::Variable(name) => value(name).map_or_else(|| vec![part.clone()], |text| text.0),
            Part::Literal(_) => vec![part],
        });
        template = Template(parts.collect());
    }
    template.expand(|_| None)
}

struct Extraction {
    root: PathBuf,
    places: Vec<MachinePath>,
    totals: Totals,
    /// The folder made last, which most often is the next one wanted.
    last: Option<PathBuf>,
}

impl Extraction {
    fn run(
        mut self,
        answer: &Answer,
        request: &Request,
        package: &mut PackageReader<File>,
    ) -> Result<Totals, ExtractError> {
        let header = package.header().clone();
        let expected = header.totals;
        let mut progress = answer.progress("extracting", request.silent);
        let mut contents = package.contents();
        while let Some(record) = contents.next_record()? {
            self.totals.records += 1;
            match &record.node {
                Node::File(content) => {
                    self.file(&mut contents, &record, content.length)?;
                    self.totals.files += 1;
                    self.totals.bytes += content.data_length();
                    progress.at(self.totals.bytes, expected.bytes);
                }
                Node::Directory | Node::Carrier => {
                    self.folder(&self.path(record.tree, &record.path))?;
                }
                Node::HardLink { tree, path } => self.hard_link(&record, *tree, path)?,
                _ => {}
            }
        }
        // Links last: no file is ever written through one. Then the folders' own metadata.
        for record in package.records() {
            let record = record?;
            if let Node::Symlink(target) = &record.node {
                let target = target.expand(|name| request.variables.get(name).map(String::as_str));
                let target = target.unwrap_or_default();
                let path = self.path(record.tree, &record.path);
                self.parent(&path)?;
                sys::symlink(&target, &path).map_err(wrong(&path))?;
            }
        }
        if self.totals == expected {
            Ok(self.totals)
        } else {
            Err(ExtractError::Short { found: self.totals.files, expected: expected.files })
        }
    }

    fn path(&self, tree: u32, path: &[u8]) -> PathBuf {
        let place = self.places.get(tree as usize).map_or(&b""[..], MachinePath::relative);
        let mut full = self.root.clone();
        for part in [place, path] {
            for part in part.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
                // A drive becomes a plain folder.
                let part = match part {
                    [letter, b':'] => std::slice::from_ref(letter),
                    part => part,
                };
                full.push(sys::name(part));
            }
        }
        full
    }

    fn file(
        &mut self,
        contents: &mut Contents<'_, File>,
        record: &Record,
        length: u64,
    ) -> Result<(), ExtractError> {
        let path = self.path(record.tree, &record.path);
        self.parent(&path)?;
        let file = sys::make_file(&path, record.meta.mode).map_err(wrong(&path))?;
        let mut recall = |origin: &Origin, buffer: &mut [u8]| {
            let path = self.path(origin.tree, &origin.path);
            File::open(path)
                .is_ok_and(|file| sys::read_exact_at(&file, buffer, origin.offset).is_ok())
        };
        let mut end = 0;
        while let Some(piece) = contents.piece(&mut recall)? {
            sys::write_all_at(&file, piece.data, piece.offset).map_err(wrong(&path))?;
            end = piece.offset + piece.data.len() as u64;
        }
        if end < length {
            file.set_len(length).map_err(wrong(&path))?;
        }
        file.set_modified(time(&record.meta)).map_err(wrong(&path))
    }

    fn hard_link(&mut self, record: &Record, tree: u32, first: &[u8]) -> Result<(), ExtractError> {
        let path = self.path(record.tree, &record.path);
        self.parent(&path)?;
        fs::hard_link(self.path(tree, first), &path).map_err(wrong(&path))
    }

    fn parent(&mut self, path: &Path) -> Result<(), ExtractError> {
        match path.parent() {
            Some(parent) if self.last.as_deref() != Some(parent) => {
                self.folder(parent)?;
                self.last = Some(parent.to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn folder(&mut self, path: &Path) -> Result<(), ExtractError> {
        match sys::make_folder(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.parent(path)?;
                self.folder(path)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
                    Ok(())
                } else {
                    Err(wrong(path)(error))
                }
            }
            other => other.map_err(wrong(path)),
        }
    }
}

fn wrong(path: &Path) -> impl FnOnce(io::Error) -> ExtractError {
    let path = escape(&sys::bytes(path.as_os_str().to_owned()));
    move |source| match source.kind() {
        io::ErrorKind::AlreadyExists => ExtractError::Collision { path },
        _ => ExtractError::Write { path, source },
    }
}

fn time(meta: &Meta) -> SystemTime {
    let nanoseconds = Duration::from_nanos(meta.modified.nanoseconds.into());
    let seconds = Duration::from_secs(meta.modified.seconds.unsigned_abs());
    let whole = if meta.modified.seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    whole.and_then(|time| time.checked_add(nanoseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}
