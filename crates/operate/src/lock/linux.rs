//! Our lock on a root folder, and those of the system's package managers.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
    path::Path,
};

use rustix::fs::FlockOperation;

use super::{LockError, Waiting};
use crate::interrupt;

/// The files other installers lock, below the root. They use POSIX record locks, which flock(2) neither
/// sees nor blocks; an open-file-description lock of the same kind does both.
const OTHERS: [(&str, &str); 2] =
    [("var/lib/dpkg/lock-frontend", "dpkg"), ("var/lib/rpm/.rpm.lock", "rpm")];

/// Locks that are held until this is dropped.
#[derive(Debug)]
pub struct Held {
    _files: Vec<File>,
}

/// Takes our own lock on `root`, then those of the package managers there. Waits in the kernel, telling
/// `tell` whom for, unless `wait` is off.
pub(crate) fn lock_all(
    root: &Path,
    wait: bool,
    tell: &mut dyn FnMut(&Waiting),
) -> Result<Held, LockError> {
    let mut files = vec![lock_root(root, wait, tell)?];
    for (path, name) in OTHERS {
        let path = root.join(path);
        if !path.exists() {
            continue;
        }
        let refused = |reason| LockError::Lock { path: path.clone(), reason };
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(refused)?;
        if !record_lock(&file, false).map_err(refused)? {
            let waiting = Waiting { what: name.to_owned(), holder: holder(&file) };
            if !wait {
                return Err(LockError::Taken(waiting));
            }
            tell(&waiting);
            if !record_lock(&file, true).map_err(refused)? {
                return Err(LockError::Taken(waiting));
            }
        }
        files.push(file);
    }
    Ok(Held { _files: files })
}

/// One of us at a time for one root: a lock on the root folder itself, which needs no file.
fn lock_root(root: &Path, wait: bool, tell: &mut dyn FnMut(&Waiting)) -> Result<File, LockError> {
    let refused = |reason| LockError::Lock { path: root.to_owned(), reason };
    let file = File::open(root).map_err(refused)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => return Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {}
        Err(error) => return Err(refused(error.into())),
    }
    let waiting = Waiting { what: format!("`{}`", root.display()), holder: flock_holder(&file) };
    if !wait {
        return Err(LockError::Taken(waiting));
    }
    tell(&waiting);
    loop {
        match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::INTR) if interrupt::is_asked() => {
                return Err(LockError::Taken(waiting));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(refused(error.into())),
        }
    }
}

/// An open-file-description lock on the whole file, fcntl(2): answers whether it was had. Waiting ends when we
/// are asked to end.
#[expect(unsafe_code, reason = "rustix has no open-file-description locks")]
fn record_lock(file: &File, wait: bool) -> io::Result<bool> {
    let request = whole_file();
    let command = if wait { libc::F_OFD_SETLKW } else { libc::F_OFD_SETLK };
    loop {
        // SAFETY: the descriptor is open as long as `file`, and the kernel reads one `flock` structure.
        let answer = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw const request) };
        if answer == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) if !wait => return Ok(false),
            Some(libc::EINTR) if interrupt::is_asked() => return Ok(false),
            Some(libc::EINTR) => {}
            _ => return Err(error),
        }
    }
}

/// Who holds a record lock on the file, if it is a process.
#[expect(unsafe_code, reason = "rustix has no open-file-description locks")]
fn holder(file: &File) -> Option<(i32, String)> {
    let mut request = whole_file();
    // SAFETY: the descriptor is open as long as `file`, and the kernel writes one `flock` structure.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut request) };
    (answer == 0 && request.l_pid > 0).then(|| (request.l_pid, name_of(request.l_pid)))
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

/// Who holds an flock on the file: `proc_locks(5)` names the process that took it.
fn flock_holder(file: &File) -> Option<(i32, String)> {
    use std::os::unix::fs::MetadataExt as _;
    let inode = file.metadata().ok()?.ino().to_string();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let line = locks.lines().find(|line| {
        line.contains("FLOCK")
            && line.split_whitespace().any(|field| field.rsplit(':').next() == Some(&inode))
    })?;
    let process = line.split_whitespace().nth(4)?.parse().ok()?;
    Some((process, name_of(process)))
}

pub(crate) fn name_of(process: i32) -> String {
    std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        process::{Command, Stdio},
    };

    use super::{super::LockError, lock_all};

    /// Holds a POSIX record lock as dpkg does, until told to end.
    const HOLDER: &str = "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f,fcntl.LOCK_EX); print('held',flush=True); sys.stdin.readline()";

    #[test]
    fn a_lock_of_dpkg_is_seen_and_waited_for() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("var/lib/dpkg")).unwrap();
        let lock = root.path().join("var/lib/dpkg/lock-frontend");
        std::fs::write(&lock, "").unwrap();
        let mut holder = Command::new("python3")
            .args(["-c", HOLDER, lock.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let process = i32::try_from(holder.id()).unwrap();
        match lock_all(root.path(), false, &mut |_| {}) {
            Err(LockError::Taken(waiting)) => {
                assert_eq!(waiting.holder.map(|(process, _)| process), Some(process));
            }
            other => panic!("{other:?}"),
        }
        let mut input = holder.stdin.take().unwrap();
        let mut told = Vec::new();
        let held = lock_all(root.path(), true, &mut |waiting| {
            told.push(waiting.sentence());
            input.write_all(b"end\n").unwrap();
        });
        assert!(held.is_ok());
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("dpkg is locked by `python3"), "{told:?}");
        holder.wait().unwrap();
    }

    #[test]
    fn two_of_us_never_work_on_one_root() {
        let root = tempfile::tempdir().unwrap();
        let held = lock_all(root.path(), false, &mut |_| {}).unwrap();
        assert!(matches!(lock_all(root.path(), false, &mut |_| {}), Err(LockError::Taken(_))));
        drop(held);
        assert!(lock_all(root.path(), false, &mut |_| {}).is_ok());
    }
}
