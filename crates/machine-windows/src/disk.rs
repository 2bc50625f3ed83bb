use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    os::windows::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use change::{
    Action, CommandEnd, CommandRequest, FileSink, Found, Machine, MachineError, Node, Observe,
    RawMeta, read_part,
};
use model::{Hash, Hasher, MachinePath, RegistryKey, Setting, SettingState};
use windows_sys::Win32::{
    Foundation::INVALID_HANDLE_VALUE,
    Storage::FileSystem::{
        FILE_FLAG_BACKUP_SEMANTICS, FindClose, FindFirstFileW, MOVEFILE_DELAY_UNTIL_REBOOT,
        MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH, MoveFileExW, WIN32_FIND_DATAW,
    },
};

use crate::{
    announcing::News,
    closing::{AT_ONCE, Closing},
    file, hives,
    names::{bytes_of, host, wide, words_of},
    registry, services, streams, tasks,
};

const BLOCK: usize = 1 << 17;

/// The Windows machine we run on.
#[derive(Debug, Default)]
pub struct WindowsMachine {
    /// Folders by the names they really have.
    folders: RefCell<HashMap<MachinePath, MachinePath>>,
    /// Files written since the last sync, and not flushed.
    written: BTreeSet<PathBuf>,
    /// Files written that are open yet.
    closing: Closing,
    /// Volumes, and whether each can be flushed as a whole.
    volumes: HashMap<String, bool>,
    /// What gathers what is written.
    buffer: Vec<u8>,
    keys: BTreeSet<RegistryKey>,
    appending: Option<(MachinePath, File)>,
    /// What those who run are told in the end.
    news: News,
    /// Whether something waits for a restart to give way.
    restart: bool,
}

impl WindowsMachine {
    /// The machine we run on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a file that was in use gives way only when the machine restarts.
    pub fn needs_restart(&self) -> bool {
        self.restart
    }

    fn folder(&self, path: &MachinePath) -> io::Result<MachinePath> {
        if let Some(known) = self.folders.borrow().get(path) {
            return Ok(known.clone());
        }
        let real = self.real(path)?;
        let leads = match host(&real) {
            Some(at) => std::fs::symlink_metadata(&at).is_ok_and(|known| known.is_symlink()),
            None => false,
        };
        let real = if leads { followed(&real)? } else { real };
        self.folders.borrow_mut().insert(path.clone(), real.clone());
        Ok(real)
    }

    /// `path` by the names its parts really have.
    fn real(&self, path: &MachinePath) -> io::Result<MachinePath> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Ok(path.clone());
        };
        if parent.is_root() {
            return Ok(path.clone());
        }
        let parent = self.folder(&parent)?;
        let asked = parent.join(name).map_err(io::Error::other)?;
        match host(&asked).map(|at| name_on_disk(&at)) {
            Some(Some(name)) => parent.join(name).map_err(io::Error::other),
            _ => Ok(asked),
        }
    }

    fn change<T>(
        action: Action,
        path: &MachinePath,
        act: impl FnOnce(&Path) -> io::Result<T>,
    ) -> Result<T, MachineError> {
        at(path).and_then(|at| act(&at)).map_err(MachineError::of(action, path))
    }

    /// Whether the volume of `path` is flushed at once, by who may.
    fn is_flushed_whole(&mut self, path: &Path) -> bool {
        let Some(volume) = volume_of(path) else { return false };
        if let Some(known) = self.volumes.get(&volume) {
            return *known;
        }
        let whole = flush_volume(&volume).is_ok();
        self.volumes.insert(volume, whole);
        whole
    }

    /// Lets what is in use or read-only at `path` give way: renamed aside, gone when the machine restarts.
    fn put_aside(&mut self, path: &Path) -> io::Result<()> {
        let mut number = 0;
        let aside = loop {
            let aside = path.with_file_name(format!(".packhorse-busy-{number}"));
            if !aside.exists() {
                break aside;
            }
            number += 1;
        };
        move_file(path, Some(&aside), MOVEFILE_WRITE_THROUGH)?;
        if std::fs::remove_file(&aside).is_err() {
            self.restart = true;
            move_file(&aside, None, MOVEFILE_DELAY_UNTIL_REBOOT)?;
        }
        Ok(())
    }
}

fn at(path: &MachinePath) -> io::Result<PathBuf> {
    host(path).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidFilename, "it is on no drive: write `C:\\…`")
    })
}

fn followed(path: &MachinePath) -> io::Result<MachinePath> {
    let real = std::fs::canonicalize(at(path)?)?;
    let text = real.to_string_lossy().into_owned();
    let text = text.strip_prefix(r"\\?\").unwrap_or(&text);
    MachinePath::new(text).map_err(io::Error::other)
}

#[expect(unsafe_code, reason = "std tells no name but the one it was given")]
fn name_on_disk(path: &Path) -> Option<Vec<u8>> {
    let mut found = WIN32_FIND_DATAW::default();
    // SAFETY: the name ends with a zero, and the structure is plain data on this stack.
    let handle = unsafe { FindFirstFileW(wide(path).as_ptr(), &raw mut found) };
    if handle == INVALID_HANDLE_VALUE {
        return None;
    }
    // SAFETY: the handle was just given to us.
    unsafe { FindClose(handle) };
    let end = found.cFileName.iter().position(|&word| word == 0).unwrap_or(0);
    Some(bytes_of(&found.cFileName[..end]))
}

#[expect(unsafe_code, reason = "std renames without writing through")]
fn move_file(from: &Path, to: Option<&Path>, flags: u32) -> io::Result<()> {
    let to = to.map(wide);
    let pointer = to.as_ref().map_or(std::ptr::null(), Vec::as_ptr);
    // SAFETY: both names end with a zero and outlive the call.
    let done = unsafe { MoveFileExW(wide(from).as_ptr(), pointer, flags) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Drop for WindowsMachine {
    fn drop(&mut self) {
        self.news.tell();
        hives::release();
    }
}

impl Observe for WindowsMachine {
    fn resolve(&self, path: &MachinePath) -> Result<MachinePath, MachineError> {
        self.real(path).map_err(MachineError::of(Action::Look, path))
    }

    fn look(&self, path: &MachinePath) -> Result<Option<Found>, MachineError> {
        let Some(at) = host(path) else { return Ok(None) };
        file::look(&at).map_err(MachineError::of(Action::Look, path))
    }

    fn list(&self, path: &MachinePath) -> Result<Vec<Vec<u8>>, MachineError> {
        let names = || -> io::Result<Vec<Vec<u8>>> {
            use std::os::windows::ffi::OsStrExt as _;
            std::fs::read_dir(at(path)?)?
                .map(|entry| Ok(bytes_of(&entry?.file_name().encode_wide().collect::<Vec<_>>())))
                .collect()
        };
        names().map_err(MachineError::of(Action::List, path))
    }

    fn read(&self, path: &MachinePath) -> Result<Vec<u8>, MachineError> {
        at(path).and_then(std::fs::read).map_err(MachineError::of(Action::Read, path))
    }

    fn read_at(
        &self,
        path: &MachinePath,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, MachineError> {
        let read = || -> io::Result<Vec<u8>> {
            let file = File::open(at(path)?)?;
            read_part(offset, length, &mut |bytes, at| file.seek_read(bytes, at))
        };
        read().map_err(MachineError::of(Action::Read, path))
    }

    fn hash(&self, path: &MachinePath) -> Result<Hash, MachineError> {
        let hash = || -> io::Result<Hash> {
            let mut file = File::open(at(path)?)?;
            let mut hasher = Hasher::new();
            hasher.read_all(&mut file)?;
            Ok(hasher.finish())
        };
        hash().map_err(MachineError::of(Action::Read, path))
    }

    fn state_folder(&self) -> MachinePath {
        let folder = std::env::var("ProgramData").unwrap_or_else(|_| r"C:\ProgramData".to_owned());
        MachinePath::new(format!(r"{folder}\Packhorse")).unwrap_or_else(|_| MachinePath::root())
    }

    fn holdable(&self, wanted: RawMeta) -> RawMeta {
        let mut xattrs = wanted.xattrs;
        // Packages go where the system is; another volume that holds fewer refuses.
        let streams = host(&self.state_folder()).is_some_and(|folder| streams::are_held(&folder));
        xattrs
            .retain(|name, _| **name == *file::ATTRIBUTES || (streams && streams::is_stream(name)));
        let mut modified = wanted.modified;
        modified.nanoseconds -= modified.nanoseconds % 100;
        let mode = if wanted.mode & 0o200 == 0 { file::READ_ONLY } else { file::WRITABLE };
        RawMeta { mode, user: 0, group: 0, modified, xattrs }
    }

    fn holdable_setting(&self, wanted: SettingState) -> SettingState {
        match wanted {
            SettingState::Service(setup) => {
                SettingState::Service(Box::new(services::holdable(*setup)))
            }
            SettingState::Task(definition) => SettingState::Task(tasks::normal(&definition).into()),
            other => other,
        }
    }

    fn setting(&self, setting: &Setting) -> Result<Option<SettingState>, MachineError> {
        let found = match setting {
            Setting::Service(name) => services::look(name),
            Setting::Task(name) => tasks::look(name),
            other => registry::look(other),
        };
        found.map_err(MachineError::of(Action::Look, &setting.path()))
    }

    fn settings_in(&self, key: &RegistryKey) -> Result<Vec<Setting>, MachineError> {
        registry::list(key)
            .map_err(MachineError::of(Action::List, &Setting::Key(key.clone()).path()))
    }
}

impl Machine for WindowsMachine {
    fn make_directory(&mut self, path: &MachinePath, meta: &RawMeta) -> Result<(), MachineError> {
        Self::change(Action::Make, path, |host| {
            std::fs::create_dir(host)?;
            file::set(host, meta)
        })
    }

    fn make_file(
        &mut self,
        path: &MachinePath,
        meta: &RawMeta,
        fill: &mut dyn FnMut(&mut dyn FileSink) -> io::Result<()>,
    ) -> Result<(), MachineError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let made = Self::change(Action::Write, path, |host| {
            let file = OpenOptions::new().write(true).create_new(true).open(host)?;
            let mut sink = Sink { file, buffer: &mut buffer, length: 0, ends_in_hole: false };
            fill(&mut sink)?;
            let file = sink.finish()?;
            file::set_new(&file, host, meta)?;
            Ok((file, host.to_owned()))
        });
        self.buffer = buffer;
        let (file, host) = made?;
        let whole = self.is_flushed_whole(&host);
        self.closing.take(file, &host, !whole);
        if whole {
            self.written.insert(host);
        }
        Ok(())
    }

    fn make_node(
        &mut self,
        path: &MachinePath,
        node: &Node,
        meta: &RawMeta,
    ) -> Result<(), MachineError> {
        Self::change(Action::Make, path, |host| {
            use std::os::windows::ffi::OsStringExt as _;
            let Node::Symlink(target) = node else {
                let what = format!("Windows has no {}", node.word());
                return Err(io::Error::new(io::ErrorKind::Unsupported, what));
            };
            let target: PathBuf = std::ffi::OsString::from_wide(&words_of(target)).into();
            let full = host.parent().unwrap_or(host).join(&target);
            if full.is_dir() {
                std::os::windows::fs::symlink_dir(&target, host)?;
            } else {
                std::os::windows::fs::symlink_file(&target, host)?;
            }
            file::set(host, meta)
        })
    }

    fn link(&mut self, existing: &MachinePath, name: &MachinePath) -> Result<(), MachineError> {
        let from = at(existing).map_err(MachineError::of(Action::Link, existing))?;
        Self::change(Action::Link, name, |host| std::fs::hard_link(&from, host))
    }

    fn copy(&mut self, from: &MachinePath, to: &MachinePath) -> Result<(), MachineError> {
        let missing = || MachineError::of(Action::Look, from)(io::ErrorKind::NotFound.into());
        let found = self.look(from)?.ok_or_else(missing)?;
        let source = at(from).map_err(MachineError::of(Action::Read, from))?;
        match &found.node {
            Node::File { .. } => Self::change(Action::Write, to, |host| {
                std::fs::copy(&source, host)?;
                file::set(host, &found.meta)
            })?,
            Node::Directory => self.make_directory(to, &found.meta)?,
            node => self.make_node(to, node, &found.meta)?,
        }
        self.written.extend(host(to));
        Ok(())
    }

    fn rename(&mut self, from: &MachinePath, to: &MachinePath) -> Result<(), MachineError> {
        let source = at(from).map_err(MachineError::of(Action::Rename, from))?;
        let target = at(to).map_err(MachineError::of(Action::Rename, to))?;
        self.closing.settle().map_err(MachineError::of(Action::Rename, from))?;
        self.folders.borrow_mut().clear();
        self.appending = None;
        let flags = MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH;
        let moved = match move_file(&source, Some(&target), flags) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && target.is_file() => {
                self.put_aside(&target).and_then(|()| move_file(&source, Some(&target), flags))
            }
            other => other,
        };
        if self.written.remove(&source) {
            self.written.insert(target);
        }
        moved.map_err(MachineError::of(Action::Rename, to))
    }

    fn remove(&mut self, path: &MachinePath) -> Result<(), MachineError> {
        self.folders.borrow_mut().clear();
        if self.appending.as_ref().is_some_and(|(open, _)| open == path) {
            self.appending = None;
        }
        let host = at(path).map_err(MachineError::of(Action::Remove, path))?;
        self.closing.settle().map_err(MachineError::of(Action::Remove, path))?;
        let remove = || match std::fs::symlink_metadata(&host)? {
            known if known.is_dir() => std::fs::remove_dir(&host),
            _ => std::fs::remove_file(&host),
        };
        let removed = match remove() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && host.is_file() => {
                file::set_attributes(&host, 0)
                    .and_then(|()| remove())
                    .or_else(|_| self.put_aside(&host))
            }
            other => other,
        };
        self.written.remove(&host);
        removed.map_err(MachineError::of(Action::Remove, path))
    }

    fn set_meta(&mut self, path: &MachinePath, meta: &RawMeta) -> Result<(), MachineError> {
        Self::change(Action::SetMeta, path, |host| file::set(host, meta))
    }

    fn append(&mut self, path: &MachinePath, bytes: &[u8]) -> Result<(), MachineError> {
        let host = at(path).map_err(MachineError::of(Action::Write, path))?;
        let mut write = || -> io::Result<()> {
            if self.appending.as_ref().is_none_or(|(open, _)| open != path) {
                let file = OpenOptions::new().append(true).create(true).open(&host)?;
                self.appending = Some((path.clone(), file));
            }
            match &mut self.appending {
                Some((_, file)) => file.write_all(bytes),
                None => Ok(()),
            }
        };
        write().map_err(MachineError::of(Action::Write, path))?;
        self.written.insert(host);
        Ok(())
    }

    fn sync_file(&mut self, path: &MachinePath) -> Result<(), MachineError> {
        let sync = || match &self.appending {
            Some((open, file)) if open == path => file.sync_all(),
            _ => self.closing.settle().and_then(|()| flush(&at(path)?)),
        };
        sync().map_err(MachineError::of(Action::Sync, path))
    }

    fn sync(&mut self) -> Result<(), MachineError> {
        let failed = MachineError::of(Action::Sync, &MachinePath::root());
        self.closing.settle().map_err(failed)?;
        let volumes: BTreeSet<_> = self.written.iter().filter_map(|path| volume_of(path)).collect();
        let whole = volumes
            .iter()
            .all(|volume| self.volumes.get(volume) != Some(&false) && flush_volume(volume).is_ok());
        let written = std::mem::take(&mut self.written);
        if !whole {
            let written: Vec<PathBuf> = written.into_iter().collect();
            flush_all(&written).map_err(MachineError::of(Action::Sync, &MachinePath::root()))?;
        }
        for key in std::mem::take(&mut self.keys) {
            registry::flush(&key)
                .map_err(MachineError::of(Action::Sync, &Setting::Key(key).path()))?;
        }
        Ok(())
    }

    fn set(&mut self, setting: &Setting, state: Option<&SettingState>) -> Result<(), MachineError> {
        // What a service starts is open to nobody.
        let settled = self.closing.settle();
        settled.map_err(MachineError::of(Action::Write, &setting.path()))?;
        self.keys.extend(setting.key().and_then(registry::hive_of));
        let done = match setting {
            Setting::Service(name) => services::set(name, state),
            Setting::Task(name) => tasks::set(name, state),
            other => registry::set(other, state),
        };
        self.news.add(setting);
        done.map_err(MachineError::of(Action::Write, &setting.path()))
    }

    fn run(&mut self, command: &CommandRequest) -> Result<CommandEnd, MachineError> {
        self.folders.borrow_mut().clear();
        self.closing.settle().map_err(MachineError::of(Action::Run, &MachinePath::root()))?;
        crate::command::run(command).map_err(MachineError::of(Action::Run, &MachinePath::root()))
    }
}

/// Flushes files, several at a time: what a disk is asked together it does at once.
fn flush_all(paths: &[PathBuf]) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            match flush(path) {
                Err(error) if file::is_absent(&error) => {}
                // Read-only files were written before they became so.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                other => other?,
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads = AT_ONCE.min(paths.len());
        let mut all = Vec::new();
        for _ in 1..threads {
            // Fewer do as well, only slower.
            all.extend(thread::Builder::new().spawn_scoped(scope, work));
        }
        all.into_iter().fold(work(), |done, thread| {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a flush panicked")));
            done.and(ended)
        })
    })
}

fn flush(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)?.sync_all()
}

/// The volume of a path, `\\.\C:`.
fn volume_of(path: &Path) -> Option<String> {
    let text = path.to_str()?.strip_prefix(r"\\?\")?;
    Some(format!(r"\\.\{}", text.get(..2)?))
}

fn flush_volume(volume: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(volume)?.sync_all()
}

/// A new file being written; small parts are gathered.
struct Sink<'b> {
    file: File,
    buffer: &'b mut Vec<u8>,
    length: u64,
    ends_in_hole: bool,
}

impl FileSink for Sink<'_> {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        self.ends_in_hole &= bytes.is_empty();
        if self.buffer.len() + bytes.len() > BLOCK {
            self.write_out()?;
        }
        if bytes.len() >= BLOCK {
            return self.file.write_all(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        self.write_out()?;
        self.length += length;
        self.ends_in_hole |= length > 0;
        self.file.seek(SeekFrom::Start(self.length)).map(|_| ())
    }
}

impl Sink<'_> {
    fn write_out(&mut self) -> io::Result<()> {
        self.file.write_all(self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<File> {
        self.write_out()?;
        // What was written last ends a file.
        if self.ends_in_hole {
            self.file.set_len(self.length)?;
        }
        Ok(self.file)
    }
}
