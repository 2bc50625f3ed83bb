//! Other installers at work: who, since when, and when they are done. Waiting is the kernel's: it costs nothing, and ends
//! when they do.

use std::{
    fs::{self, OpenOptions},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use machine_linux::locks::{self, Holder};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify,
};
use serde::Serialize;

use super::{package_kit, process};

/// Files that are locked while packages change, below the root, and whose they are. These are POSIX record locks.
const LOCKED: [(&str, &str); 4] = [
    ("var/lib/dpkg/lock-frontend", "dpkg"),
    ("var/lib/dpkg/lock", "dpkg"),
    ("var/lib/rpm/.rpm.lock", "rpm"),
    ("usr/lib/sysimage/rpm/.rpm.lock", "rpm"),
];
/// A file that is there while packages change.
const THERE: (&str, &str) = ("var/lib/pacman/db.lck", "pacman");

/// Whose transactions are asked for.
const PACKAGE_KIT: &str = "PackageKit";

/// Another installer at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Busy {
    /// Whose lock it is: `dpkg`.
    pub what: &'static str,
    /// The file, or what it is called by whose it is.
    pub path: PathBuf,
    /// What it does, where that is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doing: Option<&'static str>,
    /// Who holds it, if the kernel says.
    pub process: Option<u32>,
    /// Its command name.
    pub name: String,
    /// For how many seconds it has been there.
    pub seconds: Option<u64>,
}

impl Busy {
    fn of(what: &'static str, path: PathBuf, process: Option<u32>) -> Self {
        Self {
            what,
            path,
            doing: None,
            process,
            name: process.map(locks::process_name).unwrap_or_default(),
            seconds: process.and_then(process::age),
        }
    }

    /// The sentence people read.
    pub fn sentence(&self) -> String {
        let who = match (self.process, self.seconds) {
            (Some(process), Some(seconds)) => {
                Some(format!("`{}` (process {process}, for {seconds} s)", self.name))
            }
            _ => None,
        };
        match (self.doing, who) {
            (Some(doing), Some(who)) => format!("{} {doing} for {who}", self.what),
            (Some(doing), None) => format!("{} {doing}", self.what),
            (None, Some(who)) => format!("{} is locked by {who}", self.what),
            (None, None) => format!("{} is locked", self.what),
        }
    }
}

/// Who is at work on the machine with this root, if anybody.
pub fn busy(root: &Path) -> Option<Busy> {
    // First, for it locks what others do too: it knows more of what it does.
    if let Some(found) = package_kit::under_way(root) {
        let busy = Busy::of(PACKAGE_KIT, found.path.into(), found.process);
        return Some(Busy { doing: Some(found.doing), ..busy });
    }
    for (path, what) in LOCKED {
        let path = root.join(path);
        // What is not there, or what we may not lock, is nothing we could wait for.
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
        match locks::record_lock_holder(&file) {
            Holder::Nobody => {}
            Holder::Process(process) => return Some(Busy::of(what, path, Some(process))),
            Holder::Unnamed => return Some(Busy::of(what, path, locks::lock_holder(&file))),
        }
    }
    let path = root.join(THERE.0);
    // One that nobody has open was left behind by a crash: it locks nobody out.
    let process = path.exists().then(|| who_has_open(&path)).flatten()?;
    Some(Busy::of(THERE.1, path, Some(process)))
}

/// Waits until that one is done.
pub fn wait(busy: &Busy) -> io::Result<()> {
    if busy.what == PACKAGE_KIT {
        return package_kit::wait().map_err(io::Error::other);
    }
    if busy.what == THERE.1 {
        return wait_until_gone(busy);
    }
    let file = OpenOptions::new().read(true).write(true).open(&busy.path)?;
    locks::take_record_lock(&file, true, || false).map(drop)
}

/// A process that has the file open.
fn who_has_open(path: &Path) -> Option<u32> {
    let wanted = path.canonicalize().ok()?;
    let entries = fs::read_dir("/proc").ok()?.flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|one| fs::read_link(one.path()).ok()).any(|target| target == wanted)
    })
}

/// Until the file is removed, or who has it open is no more.
fn wait_until_gone(busy: &Busy) -> io::Result<()> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let folder = busy.path.parent().unwrap_or(Path::new("/"));
    inotify::add_watch(
        &watch,
        folder,
        inotify::WatchFlags::DELETE | inotify::WatchFlags::MOVED_FROM,
    )?;
    let holder: Option<OwnedFd> = busy.process.and_then(|pid| {
        let began = process::began(pid)?;
        process::open(running::Process { pid, began })
    });
    while busy.path.exists() {
        let mut watched = vec![PollFd::new(&watch, PollFlags::IN)];
        match &holder {
            Some(holder) => watched.push(PollFd::new(holder, PollFlags::IN)),
            // Whoever it was has gone in between.
            None => return Ok(()),
        }
        match poll(&mut watched, None) {
            Ok(_) if watched.get(1).is_some_and(|holder| !holder.revents().is_empty()) => {
                return Ok(());
            }
            Ok(_) => {
                let mut block = [0; 4096];
                let _ = rustix::io::read(&watch, &mut block);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
