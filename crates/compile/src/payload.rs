//! What a tree step installs: the project's files, and what `files.meta` says of them.

use std::{
    collections::BTreeSet,
    fs::{self, Metadata},
    io,
    path::PathBuf,
};

use model::{Extent, Kind, Meta, Time, escape};

use crate::{CompileError, patterns::Patterns, platform, project::Project};

/// An entry of the payload on its way into the package.
#[derive(Debug)]
pub(crate) struct Found {
    /// The path below the step's source; empty for the source itself.
    pub(crate) path: Vec<u8>,
    /// The path below the project folder.
    pub(crate) project_path: Vec<u8>,
    pub(crate) kind: FoundKind,
    pub(crate) meta: Meta,
}

#[derive(Debug)]
pub(crate) enum FoundKind {
    Directory,
    /// A folder nobody described: made if it is missing, left alone if it is there.
    Carrier,
    File {
        on_disk: PathBuf,
        length: u64,
        holes: Vec<Extent>,
    },
    Symlink(Vec<u8>),
    /// Another name of a file of the project.
    HardLink(Vec<u8>),
    Fifo,
    CharacterDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
}

/// Walks a step's source in the order of records.
pub(crate) struct Walk<'a> {
    pub(crate) project: &'a Project,
    pub(crate) step: usize,
    pub(crate) except: Patterns,
    /// The time of what nobody gave one.
    pub(crate) time: Time,
    /// How many entries the exceptions left out.
    pub(crate) excluded: u64,
}

type Take<'t> = &'t mut dyn FnMut(Found) -> Result<(), CompileError>;

impl Walk<'_> {
    /// A folder and all below it.
    pub(crate) fn tree(&mut self, source: &str, take: Take<'_>) -> Result<(), CompileError> {
        let source = self.check_source(source)?;
        match self.look(&source)? {
            Some(metadata) if metadata.is_dir() => {}
            Some(_) => {
                return Err(
                    self.missing(&source, "there is a file of that name; use `install-file`")
                );
            }
            None if self
                .project
                .meta(&source)
                .is_some_and(|entry| entry.kind == Kind::Directory) => {}
            None => return Err(self.missing(&source, "nothing has that name")),
        }
        self.visit(Vec::new(), source, take)
    }

    /// One file, link or special file.
    pub(crate) fn file(&mut self, source: &str, take: Take<'_>) -> Result<(), CompileError> {
        let source = self.check_source(source)?;
        if self.look(&source)?.is_some_and(|metadata| metadata.is_dir()) {
            return Err(self.missing(&source, "there is a folder of that name; use `install-tree`"));
        }
        self.visit(Vec::new(), source, take)
    }

    fn check_source(&self, source: &str) -> Result<Vec<u8>, CompileError> {
        let source = source.trim_end_matches('/').as_bytes();
        let climbs =
            source.split(|&byte| byte == b'/').any(|part| matches!(part, b"" | b"." | b".."));
        if climbs {
            Err(self.missing(source, "it must lie below the project folder"))
        } else {
            Ok(source.to_vec())
        }
    }

    /// Takes one path and, if it is a folder, what is below it.
    fn visit(
        &mut self,
        path: Vec<u8>,
        project_path: Vec<u8>,
        take: Take<'_>,
    ) -> Result<(), CompileError> {
        if self.except.matches(&path) && !path.is_empty() {
            self.excluded += 1;
            return Ok(());
        }
        let metadata = self.look(&project_path)?;
        let found = self.found(path.clone(), project_path.clone(), metadata.as_ref())?;
        let is_folder = matches!(found.kind, FoundKind::Directory | FoundKind::Carrier);
        take(found)?;
        if !is_folder {
            return Ok(());
        }
        let mut names: BTreeSet<Vec<u8>> =
            self.project.names_below(&project_path).into_iter().collect();
        if metadata.is_some() {
            self.list(&project_path, &mut names)?;
        }
        for name in names {
            let join = |parent: &[u8]| match parent {
                b"" => name.clone(),
                parent => [parent, b"/", &name].concat(),
            };
            self.visit(join(&path), join(&project_path), take)?;
        }
        Ok(())
    }

    fn list(&self, project_path: &[u8], names: &mut BTreeSet<Vec<u8>>) -> Result<(), CompileError> {
        let on_disk = self.project.on_disk(project_path);
        let unreadable = |source| CompileError::Read { path: on_disk.clone(), source };
        for entry in fs::read_dir(&on_disk).map_err(unreadable)? {
            names.insert(entry.map_err(unreadable)?.file_name().into_encoded_bytes());
        }
        Ok(())
    }

    fn look(&self, project_path: &[u8]) -> Result<Option<Metadata>, CompileError> {
        let on_disk = self.project.on_disk(project_path);
        match fs::symlink_metadata(&on_disk) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CompileError::Read { path: on_disk, source }),
        }
    }

    /// Brings together what is on disk and what `files.meta` says; the latter decides.
    fn found(
        &self,
        path: Vec<u8>,
        project_path: Vec<u8>,
        metadata: Option<&Metadata>,
    ) -> Result<Found, CompileError> {
        let Some(entry) = self.project.meta(&project_path) else {
            return match metadata {
                Some(metadata) => self.undescribed(path, project_path, metadata),
                None => Err(self.missing(&project_path, "nothing has that name")),
            };
        };
        let is = |wanted: fn(&Metadata) -> bool| metadata.is_none_or(wanted);
        let kind = match &entry.kind {
            Kind::Directory if is(Metadata::is_dir) => FoundKind::Directory,
            Kind::Symlink(target) if is(Metadata::is_symlink) => FoundKind::Symlink(target.clone()),
            Kind::HardLink(target) if is(Metadata::is_file) => {
                FoundKind::HardLink(target.relative().to_vec())
            }
            Kind::Fifo => FoundKind::Fifo,
            Kind::CharacterDevice { major, minor } => {
                FoundKind::CharacterDevice { major: *major, minor: *minor }
            }
            Kind::BlockDevice { major, minor } => {
                FoundKind::BlockDevice { major: *major, minor: *minor }
            }
            Kind::Socket => {
                return Err(refuse(&project_path, "is a socket, which no package can carry"));
            }
            Kind::File(content) => match metadata {
                None => return Err(self.missing(&project_path, "`files.meta` has a line for it")),
                Some(metadata) if metadata.is_file() => {
                    let length = metadata.len();
                    if !content.holes.is_empty() && content.length != length {
                        let reason =
                            format!("has {length} bytes, and {} by `files.meta`", content.length);
                        return Err(refuse(&project_path, reason));
                    }
                    let on_disk = self.project.on_disk(&project_path);
                    FoundKind::File { on_disk, length, holes: content.holes.clone() }
                }
                Some(_) => {
                    return Err(refuse(&project_path, "is no file, but is one by `files.meta`"));
                }
            },
            other => {
                let reason =
                    format!("is a {} by `files.meta`, and something else on disk", other.word());
                return Err(refuse(&project_path, reason));
            }
        };
        Ok(Found { path, project_path, kind, meta: entry.meta.clone() })
    }

    fn undescribed(
        &self,
        path: Vec<u8>,
        project_path: Vec<u8>,
        metadata: &Metadata,
    ) -> Result<Found, CompileError> {
        let on_disk = self.project.on_disk(&project_path);
        let kind = metadata.file_type();
        let (kind, mode) = if kind.is_dir() {
            (FoundKind::Carrier, 0o755)
        } else if kind.is_symlink() {
            let target = fs::read_link(&on_disk)
                .map_err(|source| CompileError::Read { path: on_disk, source })?;
            (FoundKind::Symlink(target.into_os_string().into_encoded_bytes()), 0o777)
        } else if kind.is_file() {
            let mode = if platform::is_executable(metadata) { 0o755 } else { 0o644 };
            (FoundKind::File { on_disk, length: metadata.len(), holes: Vec::new() }, mode)
        } else {
            let word =
                if platform::is_socket(metadata) { "a socket" } else { "a device or named pipe" };
            let reason =
                format!("is {word} on disk; a package carries what `files.meta` describes");
            return Err(refuse(&project_path, reason));
        };
        Ok(Found { path, project_path, kind, meta: Meta::of_root(mode, self.time) })
    }

    fn missing(&self, path: &[u8], reason: &str) -> CompileError {
        CompileError::Missing { step: self.step, path: escape(path), reason: reason.to_owned() }
    }
}

pub(crate) fn refuse(path: &[u8], reason: impl Into<String>) -> CompileError {
    CompileError::Payload { path: escape(path), reason: reason.into() }
}
