//! Our lock on a root folder, and those of the system's package managers.

use std::{
    fs::{File, OpenOptions},
    path::Path,
};

use machine_linux::locks::{self, Holder};
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
        if !locks::take_record_lock(&file, false, interrupt::is_asked).map_err(refused)? {
            let waiting = Waiting { what: name.to_owned(), holder: holder(&file) };
            if !wait {
                return Err(LockError::Taken(waiting));
            }
            tell(&waiting);
            if !locks::take_record_lock(&file, true, interrupt::is_asked).map_err(refused)? {
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
    let waiting = Waiting {
        what: format!("`{}`", root.display()),
        holder: locks::lock_holder(&file).and_then(named),
    };
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

/// A process with its command name.
fn named(process: u32) -> Option<(i32, String)> {
    Some((i32::try_from(process).ok()?, locks::process_name(process)))
}

/// Who holds a record lock on the file, if it is a process.
fn holder(file: &File) -> Option<(i32, String)> {
    match locks::record_lock_holder(file) {
        Holder::Process(process) => named(process),
        Holder::Nobody | Holder::Unnamed => None,
    }
}

pub(crate) fn name_of(process: i32) -> String {
    u32::try_from(process).map(locks::process_name).unwrap_or_default()
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
