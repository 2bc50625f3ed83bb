//! Other installers at work: who, since when, and when they are done. Waiting is the kernel's: it costs nothing, and ends
//! when they do.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify,
};
use serde::Serialize;

use crate::{lock, process};

/// Files that are locked while packages change, below the root, and whose they are. These are POSIX record locks.
const LOCKED: [(&str, &str); 4] = [
    ("var/lib/dpkg/lock-frontend", "dpkg"),
    ("var/lib/dpkg/lock", "dpkg"),
    ("var/lib/rpm/.rpm.lock", "rpm"),
    ("usr/lib/sysimage/rpm/.rpm.lock", "rpm"),
];
/// A file that is there while packages change.
const THERE: (&str, &str) = ("var/lib/pacman/db.lck", "pacman");

/// Another installer at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Busy {
    /// Whose lock it is: `dpkg`.
    pub what: &'static str,
    /// The file.
    pub path: PathBuf,
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
            process,
            name: process.map(process::name).unwrap_or_default(),
            seconds: process.and_then(process::age),
        }
    }

    /// The sentence people read.
    pub fn sentence(&self) -> String {
        match (self.process, self.seconds) {
            (Some(process), Some(seconds)) => format!(
                "{} is locked by `{}` (process {process}, for {seconds} s)",
                self.what, self.name
            ),
            _ => format!("{} is locked", self.what),
        }
    }
}

/// Who is at work on the machine with this root, if anybody.
pub fn busy(root: &Path) -> Option<Busy> {
    for (path, what) in LOCKED {
        let path = root.join(path);
        // What is not there, or what we may not lock, is nothing we could wait for.
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
        match in_the_way(&file) {
            Holder::Nobody => {}
            Holder::Process(process) => return Some(Busy::of(what, path, Some(process))),
            Holder::Unnamed => return Some(Busy::of(what, path, lock::holder(&file))),
        }
    }
    let path = root.join(THERE.0);
    // One that nobody has open was left behind by a crash: it locks nobody out.
    let process = path.exists().then(|| who_has_open(&path)).flatten()?;
    Some(Busy::of(THERE.1, path, Some(process)))
}

/// Waits until that one is done.
pub fn wait(busy: &Busy) -> io::Result<()> {
    if busy.what == THERE.1 {
        return wait_until_gone(busy);
    }
    let file = OpenOptions::new().read(true).write(true).open(&busy.path)?;
    wait_for_lock(&file)
}

/// Waits for an open-file-description lock on the whole file, which meets the record locks of others: fcntl(2).
#[expect(unsafe_code, reason = "rustix has no open-file-description locks")]
fn wait_for_lock(file: &File) -> io::Result<()> {
    let request = whole_file();
    loop {
        // SAFETY: the descriptor is open as long as `file`, and the kernel reads one `flock` structure.
        let answer =
            unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLKW, &raw const request) };
        if answer == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Whose lock on the file ours would have to wait for. Nothing is locked for this: whoever comes at that moment and does not
/// wait is not sent away.
#[expect(unsafe_code, reason = "rustix has no open-file-description locks")]
fn in_the_way(file: &File) -> Holder {
    let mut request = whole_file();
    // SAFETY: the descriptor is open as long as `file`, and the kernel writes one `flock` structure.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut request) };
    let is_held = answer == 0 && i32::from(request.l_type) != libc::F_UNLCK;
    match u32::try_from(request.l_pid) {
        _ if !is_held => Holder::Nobody,
        Ok(process) if process > 0 => Holder::Process(process),
        _ => Holder::Unnamed,
    }
}

/// Whose a lock is that ours would have to wait for.
enum Holder {
    Nobody,
    Process(u32),
    /// Of an open file description, which processes may share.
    Unnamed,
}

#[expect(clippy::cast_possible_truncation, reason = "the constants are small, the fields short")]
fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
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
