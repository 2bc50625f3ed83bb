use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use change::{
    Action, CommandEnd, CommandRequest, FileSink, Found, Machine, MachineError, Node, Observe,
    RawMeta, read_part,
};
use model::{Hash, Hasher, MachinePath};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags},
    io::Errno,
};

use crate::{meta, resolve::Resolver};

/// Bytes read or written at once.
const BLOCK: usize = 1 << 17;

/// A live Linux, or a folder that is the root of one.
#[derive(Debug)]
pub struct LinuxMachine {
    paths: Resolver,
    /// One open folder for each file system that was changed since the last sync.
    changed: HashMap<u64, OwnedFd>,
    last_changed: Option<PathBuf>,
    /// The file appended to last; a journal is appended to many times.
    appending: Option<(MachinePath, File)>,
    named: Option<MachinePath>,
}

impl LinuxMachine {
    /// The machine whose root is the folder `root`; `/` is the one we run on.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        let root = std::fs::canonicalize(&root).map_err(|reason| {
            io::Error::new(
                reason.kind(),
                format!("cannot open root folder `{}`: {reason}", root.display()),
            )
        })?;
        if !root.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("root `{}` is no folder", root.display()),
            ));
        }
        Ok(Self {
            paths: Resolver::new(root),
            changed: HashMap::new(),
            last_changed: None,
            appending: None,
            named: None,
        })
    }

    /// Whether this is the system we run on.
    pub fn is_live(&self) -> bool {
        self.paths.root() == Path::new("/")
    }

    /// The root folder on the machine we run on.
    pub fn root(&self) -> &Path {
        self.paths.root()
    }

    /// Where the canonical `path` is on the machine we run on.
    pub fn host(&self, path: &MachinePath) -> PathBuf {
        self.paths.host(path)
    }

    /// Remembers that the folder of `host` changed, for the next sync.
    fn touch(&mut self, host: &Path) -> io::Result<()> {
        let folder = host.parent().unwrap_or(host);
        if self.last_changed.as_deref() == Some(folder) {
            return Ok(());
        }
        let device = std::fs::metadata(folder)?.dev();
        if let std::collections::hash_map::Entry::Vacant(vacant) = self.changed.entry(device) {
            vacant.insert(rustix::fs::open(
                folder,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?);
        }
        self.last_changed = Some(folder.to_owned());
        Ok(())
    }

    fn change<T>(
        &mut self,
        action: Action,
        path: &MachinePath,
        act: impl FnOnce(&Path) -> io::Result<T>,
    ) -> Result<T, MachineError> {
        let host = self.host(path);
        self.touch(&host).and_then(|()| act(&host)).map_err(MachineError::of(action, path))
    }
}

/// Opens for reading without following a link or changing the access time where we may.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = match rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::open(path, flags, Mode::empty()),
        other => other,
    };
    Ok(File::from(opened?))
}

impl Observe for LinuxMachine {
    fn resolve(&self, path: &MachinePath) -> Result<MachinePath, MachineError> {
        self.paths.resolve(path).map_err(MachineError::of(Action::Look, path))
    }

    fn look(&self, path: &MachinePath) -> Result<Option<Found>, MachineError> {
        meta::look(&self.host(path)).map_err(MachineError::of(Action::Look, path))
    }

    fn list(&self, path: &MachinePath) -> Result<Vec<Vec<u8>>, MachineError> {
        let names = || -> io::Result<Vec<Vec<u8>>> {
            use std::os::unix::ffi::OsStringExt as _;
            std::fs::read_dir(self.host(path))?
                .map(|entry| Ok(entry?.file_name().into_vec()))
                .collect()
        };
        names().map_err(MachineError::of(Action::List, path))
    }

    fn read(&self, path: &MachinePath) -> Result<Vec<u8>, MachineError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            open(&self.host(path))?.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(MachineError::of(Action::Read, path))
    }

    fn read_at(
        &self,
        path: &MachinePath,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, MachineError> {
        let read = || -> io::Result<Vec<u8>> {
            let file = open(&self.host(path))?;
            read_part(offset, length, &mut |bytes, at| file.read_at(bytes, at))
        };
        read().map_err(MachineError::of(Action::Read, path))
    }

    fn hash(&self, path: &MachinePath) -> Result<Hash, MachineError> {
        let hash = || -> io::Result<Hash> {
            let mut file = open(&self.host(path))?;
            let mut hasher = Hasher::new();
            hasher.read_all(&mut file)?;
            Ok(hasher.finish())
        };
        hash().map_err(MachineError::of(Action::Read, path))
    }
}

impl Machine for LinuxMachine {
    fn make_directory(&mut self, path: &MachinePath, meta: &RawMeta) -> Result<(), MachineError> {
        self.change(Action::Make, path, |host| {
            rustix::fs::mkdir(host, Mode::RWXU)?;
            meta::set_new(host, &Node::Directory, meta)
        })
    }

    fn make_file(
        &mut self,
        path: &MachinePath,
        meta: &RawMeta,
        fill: &mut dyn FnMut(&mut dyn FileSink) -> io::Result<()>,
    ) -> Result<(), MachineError> {
        self.change(Action::Write, path, |host| {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(host)?;
            let mut sink =
                Sink { file: BufWriter::with_capacity(BLOCK, file), ends_in_hole: false };
            fill(&mut sink)?;
            let file = sink.finish()?;
            meta::set_new_file(&file, host, meta)
        })
    }

    fn make_node(
        &mut self,
        path: &MachinePath,
        node: &Node,
        meta: &RawMeta,
    ) -> Result<(), MachineError> {
        self.change(Action::Make, path, |host| {
            make_node(host, node)?;
            meta::set_new(host, node, meta)
        })
    }

    fn link(&mut self, existing: &MachinePath, name: &MachinePath) -> Result<(), MachineError> {
        let from = self.host(existing);
        self.change(Action::Link, name, |host| {
            rustix::fs::linkat(CWD, &from, CWD, host, rustix::fs::AtFlags::empty())
                .map_err(io::Error::from)
        })
    }

    fn copy(&mut self, from: &MachinePath, to: &MachinePath) -> Result<(), MachineError> {
        let source = self.host(from);
        let found = self
            .look(from)?
            .ok_or_else(|| MachineError::of(Action::Look, from)(Errno::NOENT.into()))?;
        self.change(Action::Write, to, |host| {
            match &found.node {
                Node::File { .. } => copy_data(&source, host)?,
                Node::Directory => rustix::fs::mkdir(host, Mode::RWXU)?,
                node => make_node(host, node)?,
            }
            meta::set_new(host, &found.node, &found.meta)
        })
    }

    fn rename(&mut self, from: &MachinePath, to: &MachinePath) -> Result<(), MachineError> {
        let source = self.host(from);
        self.touch(&source).map_err(MachineError::of(Action::Rename, from))?;
        self.paths.forget();
        self.appending = None;
        self.change(Action::Rename, to, |host| std::fs::rename(&source, host))
    }

    fn remove(&mut self, path: &MachinePath) -> Result<(), MachineError> {
        self.paths.forget();
        // A file system that is no kernel's own (NTFS, NFS) keeps what is open under another name, in the same folder.
        self.appending = self.appending.take().filter(|(open, _)| open != path);
        self.change(Action::Remove, path, |host| match rustix::fs::unlink(host) {
            Err(Errno::ISDIR | Errno::PERM) => Ok(rustix::fs::rmdir(host)?),
            other => Ok(other?),
        })
    }

    fn set_meta(&mut self, path: &MachinePath, meta: &RawMeta) -> Result<(), MachineError> {
        self.change(Action::SetMeta, path, |host| meta::set(host, meta))
    }

    fn append(&mut self, path: &MachinePath, bytes: &[u8]) -> Result<(), MachineError> {
        let host = self.host(path);
        self.touch(&host).map_err(MachineError::of(Action::Write, path))?;
        let mut write = || -> io::Result<()> {
            if self.appending.as_ref().is_none_or(|(open, _)| open != path) {
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&host)?;
                self.appending = Some((path.clone(), file));
                self.named = None;
            }
            match &mut self.appending {
                Some((_, file)) => file.write_all(bytes),
                None => Ok(()),
            }
        };
        write().map_err(MachineError::of(Action::Write, path))
    }

    fn sync_file(&mut self, path: &MachinePath) -> Result<(), MachineError> {
        let host = self.host(path);
        let sync = || -> io::Result<()> {
            match &self.appending {
                Some((open, file)) if open == path => file.sync_data()?,
                _ => open(&host)?.sync_all()?,
            }
            if self.named.as_ref() != Some(path) {
                // A new name is durable when its folder is, and that when its own folder is.
                for folder in host
                    .ancestors()
                    .skip(1)
                    .take_while(|folder| folder.starts_with(self.paths.root()))
                {
                    open(folder)?.sync_all()?;
                }
            }
            Ok(())
        };
        sync().map_err(MachineError::of(Action::Sync, path))?;
        self.named = Some(path.clone());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), MachineError> {
        for folder in self.changed.values() {
            rustix::fs::syncfs(folder).map_err(|error| {
                MachineError::of(Action::Sync, &MachinePath::root())(error.into())
            })?;
        }
        self.changed.clear();
        self.last_changed = None;
        Ok(())
    }

    fn run(&mut self, command: &CommandRequest) -> Result<CommandEnd, MachineError> {
        self.paths.forget();
        // What a program changes, it changes anywhere.
        let root = self.paths.root().to_owned();
        self.touch(&root.join("x")).map_err(MachineError::of(Action::Run, &MachinePath::root()))?;
        crate::command::run(&root, command)
            .map_err(MachineError::of(Action::Run, &MachinePath::root()))
    }
}

/// Writes a file front to back, holes skipped.
struct Sink {
    file: BufWriter<File>,
    ends_in_hole: bool,
}

impl FileSink for Sink {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.ends_in_hole = false;
        self.file.write_all(bytes)
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        let length = i64::try_from(length).map_err(io::Error::other)?;
        self.file.seek(SeekFrom::Current(length))?;
        self.ends_in_hole = true;
        Ok(())
    }
}

impl Sink {
    fn finish(self) -> io::Result<File> {
        let mut file = self.file.into_inner()?;
        if self.ends_in_hole {
            let end = file.stream_position()?;
            file.set_len(end)?;
        }
        Ok(file)
    }
}

fn make_node(host: &Path, node: &Node) -> io::Result<()> {
    let device = |major, minor| rustix::fs::makedev(major, minor);
    let (kind, device) = match node {
        Node::Symlink(target) => {
            use std::os::unix::ffi::OsStrExt as _;
            return Ok(rustix::fs::symlink(std::ffi::OsStr::from_bytes(target), host)?);
        }
        Node::Fifo => (FileType::Fifo, 0),
        Node::Socket => (FileType::Socket, 0),
        Node::CharacterDevice { major, minor } => {
            (FileType::CharacterDevice, device(*major, *minor))
        }
        Node::BlockDevice { major, minor } => (FileType::BlockDevice, device(*major, *minor)),
        Node::Directory | Node::File { .. } => return Err(io::ErrorKind::InvalidInput.into()),
    };
    Ok(rustix::fs::mknodat(CWD, host, kind, Mode::RUSR | Mode::WUSR, device)?)
}

/// Copies data and holes; blocks are shared where the file system can.
fn copy_data(from: &Path, to: &Path) -> io::Result<()> {
    let source = open(from)?;
    let length = source.metadata()?.len();
    let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
        return Ok(());
    }
    let mut block = vec![0; BLOCK];
    let mut position = 0;
    while position < length {
        let start = match rustix::fs::seek(&source, rustix::fs::SeekFrom::Data(position)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(_) => position,
        };
        let end = rustix::fs::seek(&source, rustix::fs::SeekFrom::Hole(start)).unwrap_or(length);
        position = start;
        while position < end {
            let most = usize::try_from(end - position).unwrap_or(BLOCK).min(BLOCK);
            let count = source.read_at(&mut block[..most], position)?;
            if count == 0 {
                break;
            }
            target.write_all_at(&block[..count], position)?;
            position += count as u64;
        }
        position = end;
    }
    target.set_len(length)
}
