//! A root of its own for an installer: overlays over every file system of the machine, in mount, host
//! name, process and message namespaces that end with it.
//!
//! Three processes, each the program itself started again, so that nothing is done between a fork and
//! an exec: the caller; [`enter`], which leaves the machine's namespaces, mounts and watches; and
//! [`init`], the first process inside, with whose end the kernel ends all others.

mod init;
mod prepare;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use model::MachinePath;
use rustix::{
    process::{PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};
use serde::{Deserialize, Serialize};

use crate::{overlay::Layer, watch::Watch};

pub use ::session::{LeftRunning, Outcome};
pub use init::init;
pub use prepare::mount_layer;

/// Gives the calling thread mounts of its own: what it mounts from now on, nobody else sees, and it is
/// gone with the thread.
///
/// # Errors
/// The kernel refuses: root is needed.
pub fn own_mounts() -> io::Result<()> {
    crate::sys::unshare(UnshareFlags::NEWNS)?;
    Ok(rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
    )?)
}

/// The option sets overlayfs is asked for, best first. What kernels and file systems refuse differs.
const OPTIONS: [&str; 4] = [
    "index=on,metacopy=on,redirect_dir=on,nfs_export=off",
    "index=on,redirect_dir=on,nfs_export=off",
    "index=on,nfs_export=off",
    "",
];

/// Everything [`enter`] needs to know, handed over as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosure {
    /// The overlays, a folder before what is mounted inside it.
    pub layers: Vec<Layer>,
    /// Where they are put together; outside every layer.
    pub merged: PathBuf,
    /// Folders that get an empty file system in memory, because the machine has one there.
    pub private: Vec<MachinePath>,
    /// Folders that are hidden.
    pub hidden: Vec<MachinePath>,
    /// Files and folders brought in from outside, not to be written.
    pub binds: Vec<Bind>,
    /// The host name inside.
    pub host_name: String,
    /// What is run.
    pub command: Vec<OsString>,
    /// Where it starts.
    pub folder: MachinePath,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// Observe the run by two snapshots of the merged view, too.
    pub compare: bool,
    /// Where the outcome is written.
    pub outcome: PathBuf,
}

/// Something of the outside shown inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Where it is.
    pub source: PathBuf,
    /// Where it is shown.
    pub target: MachinePath,
}

/// A command could not be enclosed.
#[derive(Debug, thiserror::Error)]
pub enum EncloseError {
    /// The kernel gives no namespaces.
    #[error("the kernel refuses namespaces of our own (root is needed)")]
    Namespaces(#[source] io::Error),
    /// Overlayfs refuses the folders.
    #[error("the kernel refuses an overlay over `{}` with its changes in `{}`", lower.display(), upper.display())]
    Overlay {
        /// The folder below.
        lower: PathBuf,
        /// The folder for changes.
        upper: PathBuf,
        /// The kernel's answer.
        #[source]
        reason: io::Error,
    },
    /// Something inside cannot be prepared.
    #[error("cannot prepare `{path}` inside")]
    Prepare {
        /// Where, inside.
        path: String,
        /// The kernel's answer.
        #[source]
        reason: io::Error,
    },
    /// The command cannot be started.
    #[error("cannot run `{command}` inside the root (bring a file in with `--bind`)")]
    Command {
        /// What was asked for.
        command: String,
        /// The kernel's answer.
        #[source]
        reason: io::Error,
    },
    /// A file of the session cannot be read or written.
    #[error("cannot use `{}`", file.display())]
    Session {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
}

/// What a program that encloses does at the ends of a run, inside: the hook of the second observer.
pub trait Observer {
    /// The root is put together, and nothing was run.
    ///
    /// # Errors
    /// What stops the run.
    fn before(&mut self, merged: &Path) -> io::Result<()>;
    /// The command has ended.
    ///
    /// # Errors
    /// What fails the run.
    fn after(&mut self, merged: &Path) -> io::Result<()>;
}

/// What became of a command that was to be enclosed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enclosed {
    /// It ran to its end.
    Ended(Box<Outcome>),
    /// The kernel gives no namespaces, or no overlay here, and this is why. Nothing was run.
    Refused(String),
    /// It was not run, or killed; what there was to say, was said on standard error.
    Failed,
}

/// Starts `program __enter FILE` and waits for the end of the run described in `file`.
///
/// # Errors
/// The process cannot be started, or its outcome not be read.
pub fn enclose(program: &Path, file: &Path, outcome: &Path) -> Result<Enclosed, EncloseError> {
    let session = |reason| EncloseError::Session { file: file.to_owned(), reason };
    let status = Command::new(program).arg("__enter").arg(file).status().map_err(session)?;
    if !status.success() {
        return Ok(match fs::read_to_string(refused_file(outcome)) {
            Ok(why) => Enclosed::Refused(why),
            Err(_) => Enclosed::Failed,
        });
    }
    let unreadable = |reason| EncloseError::Session { file: outcome.to_owned(), reason };
    let text = fs::read(outcome).map_err(unreadable)?;
    serde_json::from_slice(&text)
        .map(|outcome| Enclosed::Ended(Box::new(outcome)))
        .map_err(|error| unreadable(error.into()))
}

/// The second process: namespaces, mounts, watch, and the wait for the first process inside.
///
/// # Errors
/// Whatever the kernel refuses; nothing has been run then. What it refuses altogether is written down
/// for the caller as well, who may know another way.
pub fn enter(
    program: &Path,
    file: &Path,
    observer: Option<&mut dyn Observer>,
) -> Result<(), EncloseError> {
    let enclosure = read(file)?;
    let entered = enter_with(program, file, &enclosure, observer);
    if let Err(error @ (EncloseError::Namespaces(reason) | EncloseError::Overlay { reason, .. })) =
        &entered
    {
        let refused = refused_file(&enclosure.outcome);
        fs::write(&refused, format!("{error}: {reason}"))
            .map_err(|reason| EncloseError::Session { file: refused, reason })?;
    }
    entered
}

fn enter_with(
    program: &Path,
    file: &Path,
    enclosure: &Enclosure,
    observer: Option<&mut dyn Observer>,
) -> Result<(), EncloseError> {
    // Whoever started us is gone: so are we, and with the namespace everybody inside.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| EncloseError::Namespaces(error.into()))?;
    crate::sys::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC)
        .map_err(EncloseError::Namespaces)?;
    let mut outcome = Outcome { options: prepare::mount_layers(enclosure)?, ..Outcome::default() };
    outcome.made = prepare::furnish(enclosure)?;
    rustix::system::sethostname(enclosure.host_name.as_bytes())
        .map_err(|error| EncloseError::Namespaces(error.into()))?;
    let session = |reason| EncloseError::Session { file: enclosure.merged.clone(), reason };
    let mut observer = observer.filter(|_| enclosure.compare);
    if let Some(observer) = &mut observer {
        observer.before(&enclosure.merged).map_err(session)?;
    }
    // A process whose children go elsewhere may start no thread, and scans do: so this comes last, and is
    // taken back below.
    let own = File::open("/proc/self/ns/pid").map_err(EncloseError::Namespaces)?;
    crate::sys::unshare(UnshareFlags::NEWPID).map_err(EncloseError::Namespaces)?;
    let status = run_inside(program, file, enclosure, &mut outcome)?;
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))
        .map_err(|error| EncloseError::Namespaces(error.into()))?;
    outcome.exit_code = exit_code(status);
    outcome.left_running = left_running(enclosure)?;
    if let Some(observer) = &mut observer {
        observer.after(&enclosure.merged).map_err(session)?;
    }
    write(&enclosure.outcome, &outcome)
}

fn run_inside(
    program: &Path,
    file: &Path,
    enclosure: &Enclosure,
    outcome: &mut Outcome,
) -> Result<ExitStatus, EncloseError> {
    let failed = |reason| EncloseError::Command { command: program.display().to_string(), reason };
    let mut watch = match watch(enclosure) {
        Ok(watch) => Some(watch),
        Err(error) => {
            outcome.unwatched = Some(error.to_string());
            None
        }
    };
    let mut child = Command::new(program).arg("__init").arg(file).spawn().map_err(failed)?;
    if let Some(watch) = &mut watch
        && let Some(pid) = rustix::process::Pid::from_raw(child.id().cast_signed())
        && let Err(error) = pidfd_open(pid, PidfdFlags::empty())
            .map_err(io::Error::from)
            .and_then(|process| watch.until_end_of(process.as_fd()))
    {
        outcome.unwatched = Some(error.to_string());
    }
    let status = child.wait().map_err(failed)?;
    if let Some(watch) = watch {
        if watch.lost {
            outcome.unwatched = Some("the kernel lost some events".to_owned());
        }
        outcome.opens = watch.opens;
    }
    Ok(status)
}

fn watch(enclosure: &Enclosure) -> io::Result<Watch> {
    let folders = enclosure
        .layers
        .iter()
        .map(|layer| crate::scan::open_root(&inside(&enclosure.merged, &layer.path)))
        .collect::<io::Result<Vec<_>>>()?;
    Watch::over(&folders)
}

/// A path of the machine, as the second process reaches it.
fn inside(merged: &Path, path: &MachinePath) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    merged.join(std::ffi::OsStr::from_bytes(path.relative()))
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Where paths are noted before they are made to mount on, so that a killed run leaves none unknown.
pub(crate) fn made_file(outcome: &Path) -> PathBuf {
    outcome.with_extension("made")
}

fn refused_file(outcome: &Path) -> PathBuf {
    outcome.with_extension("refused")
}

/// Where the first process inside writes what it had to end.
fn left_file(enclosure: &Enclosure) -> PathBuf {
    enclosure.outcome.with_extension("left")
}

fn left_running(enclosure: &Enclosure) -> Result<Vec<LeftRunning>, EncloseError> {
    let file = left_file(enclosure);
    let failed = |reason| EncloseError::Session { file: file.clone(), reason };
    let text = fs::read(&file).map_err(failed)?;
    if text.is_empty() {
        // The first process inside ended before the command did, and said why.
        let command = enclosure.command.first().map(|word| word.to_string_lossy().into_owned());
        let reason = io::Error::other("it was not started, or not waited for");
        return Err(EncloseError::Command { command: command.unwrap_or_default(), reason });
    }
    serde_json::from_slice(&text).map_err(|error| failed(error.into()))
}

fn read(file: &Path) -> Result<Enclosure, EncloseError> {
    let failed = |reason| EncloseError::Session { file: file.to_owned(), reason };
    let text = fs::read(file).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|error| failed(error.into()))
}

fn write(file: &Path, outcome: &Outcome) -> Result<(), EncloseError> {
    let failed = |reason| EncloseError::Session { file: file.to_owned(), reason };
    let text = serde_json::to_vec(outcome).map_err(|error| failed(error.into()))?;
    let mut out = File::create(file).map_err(failed)?;
    out.write_all(&text).and_then(|()| out.sync_all()).map_err(failed)
}
