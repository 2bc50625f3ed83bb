use std::{fmt, io};

use model::{Hash, MachinePath, RegistryKey, Setting, SettingState};

use crate::{Found, Node, RawMeta};

/// Where the state folder is on a machine that does not say otherwise.
const STATE: &str = "/var/lib/packhorse";

/// A machine that can be looked at. Every path is canonical: no folder on its way is a symbolic link
/// (see [`Observe::resolve`]).
pub trait Observe {
    /// `path` with every symbolic link on the way to its last part followed, inside this machine's root.
    /// Folders that do not exist stay as they are.
    fn resolve(&self, path: &MachinePath) -> Result<MachinePath, MachineError>;

    /// What `path` holds, or `None` if it holds nothing. Never follows `path` itself.
    fn look(&self, path: &MachinePath) -> Result<Option<Found>, MachineError>;

    /// The names in the folder `path`, in no order.
    fn list(&self, path: &MachinePath) -> Result<Vec<Vec<u8>>, MachineError>;

    /// The whole content of the file `path`.
    fn read(&self, path: &MachinePath) -> Result<Vec<u8>, MachineError>;

    /// A part of the file `path`: `length` bytes from `offset`, fewer at its end.
    fn read_at(
        &self,
        path: &MachinePath,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, MachineError>;

    /// The hash of the whole content of the file `path`, holes read as zeros.
    fn hash(&self, path: &MachinePath) -> Result<Hash, MachineError>;

    /// Where our own folder is.
    fn state_folder(&self) -> MachinePath {
        MachinePath::new(STATE).unwrap_or_else(|_| MachinePath::root())
    }

    /// The metadata of `wanted` as far as this machine holds it: what a look answers once it is set.
    fn holdable(&self, wanted: RawMeta) -> RawMeta {
        wanted
    }

    /// A setting's state as far as this machine holds it: what a look answers once it is set.
    fn holdable_setting(&self, wanted: SettingState) -> SettingState {
        wanted
    }

    /// What a setting is, or `None` where it is not there. Machines without a registry have none to ask for.
    fn setting(&self, setting: &Setting) -> Result<Option<SettingState>, MachineError> {
        Err(no_settings(Action::Look, setting))
    }

    /// The values and keys right below a registry key, values first, in no other order.
    fn settings_in(&self, key: &RegistryKey) -> Result<Vec<Setting>, MachineError> {
        Err(no_settings(Action::List, &Setting::Key(key.clone())))
    }
}

fn no_settings(action: Action, setting: &Setting) -> MachineError {
    let reason = io::Error::new(io::ErrorKind::Unsupported, "this machine has no registry");
    MachineError { action, path: setting.path(), reason }
}

/// A machine that can also be changed.
///
/// A crash may lose, reorder or tear whatever has not been synced; a rename happens or does not.
pub trait Machine: Observe {
    /// Makes an empty folder.
    fn make_directory(&mut self, path: &MachinePath, meta: &RawMeta) -> Result<(), MachineError>;

    /// Makes a file, which must not exist, with what `fill` writes. Metadata is set last.
    fn make_file(
        &mut self,
        path: &MachinePath,
        meta: &RawMeta,
        fill: &mut dyn FnMut(&mut dyn FileSink) -> io::Result<()>,
    ) -> Result<(), MachineError>;

    /// Makes a link, pipe or device.
    fn make_node(
        &mut self,
        path: &MachinePath,
        node: &Node,
        meta: &RawMeta,
    ) -> Result<(), MachineError>;

    /// Gives the file `existing` a further name.
    fn link(&mut self, existing: &MachinePath, name: &MachinePath) -> Result<(), MachineError>;

    /// Copies one file, link or special file with all its metadata, holes too; `to` must not exist.
    fn copy(&mut self, from: &MachinePath, to: &MachinePath) -> Result<(), MachineError>;

    /// Renames, replacing what `to` holds if it is no folder.
    fn rename(&mut self, from: &MachinePath, to: &MachinePath) -> Result<(), MachineError>;

    /// Removes a file, a link, or an empty folder.
    fn remove(&mut self, path: &MachinePath) -> Result<(), MachineError>;

    /// Sets all metadata of what is there.
    fn set_meta(&mut self, path: &MachinePath, meta: &RawMeta) -> Result<(), MachineError>;

    /// Appends to the file `path`, made (root's, 0600) if missing.
    fn append(&mut self, path: &MachinePath, bytes: &[u8]) -> Result<(), MachineError>;

    /// Returns once the content and name of the file `path`, and the folders above it, would survive a power cut.
    fn sync_file(&mut self, path: &MachinePath) -> Result<(), MachineError>;

    /// Returns once everything done so far would survive a power cut, on every file system that was changed.
    fn sync(&mut self) -> Result<(), MachineError>;

    /// Makes a setting what `state` says, or takes it away. A key goes only when it is empty, with no error if it
    /// is not there; what is above a new key comes to be.
    fn set(&mut self, setting: &Setting, state: Option<&SettingState>) -> Result<(), MachineError> {
        let _ = state;
        Err(no_settings(Action::Write, setting))
    }

    /// Runs a program on the machine, to its end.
    fn run(&mut self, command: &CommandRequest) -> Result<CommandEnd, MachineError>;
}

/// Takes the content of a file, front to back.
pub trait FileSink {
    /// The next bytes.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// A hole of this many bytes comes next.
    fn hole(&mut self, length: u64) -> io::Result<()>;
}

/// A program to run on a machine.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct CommandRequest {
    /// The program and its arguments, as bytes.
    #[n(0)]
    #[cbor(with = "crate::intent::byte_strings")]
    pub command: Vec<Vec<u8>>,
    /// Seconds after which it, and all it started, is stopped.
    #[n(1)]
    pub limit: u32,
    /// Whether to wait for its end.
    #[n(2)]
    pub wait: bool,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// With this exit code; a signal counts as 128 and its number.
    Exited {
        /// The code.
        code: i32,
        /// The last of what it wrote, for messages.
        output: String,
    },
    /// It took longer than its limit and was stopped.
    TimedOut,
    /// It was started and not waited for.
    Started,
    /// The machine has no such program.
    Missing,
    /// The machine is no running system, or not ours to run programs on.
    Refused {
        /// Why.
        reason: String,
    },
}

/// File system number and inode.
pub type Identity = (u64, u64);

/// What we were doing when a machine refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Looking at it.
    Look,
    /// Listing its names.
    List,
    /// Reading it.
    Read,
    /// Making it.
    Make,
    /// Writing it.
    Write,
    /// Setting its metadata.
    SetMeta,
    /// Giving it a further name.
    Link,
    /// Renaming it.
    Rename,
    /// Removing it.
    Remove,
    /// Making it durable.
    Sync,
    /// Running it.
    Run,
}

/// What [`Observe::read_at`] answers: `length` bytes from `offset`, fewer at the end, of what `read` reads by position.
pub fn read_part(
    offset: u64,
    length: usize,
    read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match read(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// A machine refused to be read or changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`", .path.shown())]
pub struct MachineError {
    /// What we were doing.
    pub action: Action,
    /// To what.
    pub path: MachinePath,
    /// Why, in the words of the platform.
    #[source]
    pub reason: io::Error,
}

impl MachineError {
    /// The error of doing this to `path`, once the reason is known.
    pub fn of(action: Action, path: &MachinePath) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.clone();
        move |reason| Self { action, path, reason }
    }

    /// Whether there is no space left, or no quota.
    pub fn is_no_space(&self) -> bool {
        matches!(self.reason.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Whether the file system cannot hold what was to be put there.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.reason.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
    }

    /// Whether two paths lie on file systems, or layers, that cannot rename or link between them.
    pub fn is_across(&self) -> bool {
        self.reason.kind() == io::ErrorKind::CrossesDevices
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Look => "look at",
            Self::List => "list",
            Self::Read => "read",
            Self::Make => "make",
            Self::Write => "write",
            Self::SetMeta => "set the metadata of",
            Self::Link => "link to",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::Sync => "make durable",
            Self::Run => "run",
        })
    }
}
