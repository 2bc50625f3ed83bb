//! Locks of others: who holds one, and waiting for it in the kernel.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
};

/// Whose a record lock is that ours would have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody's: it is free.
    Nobody,
    /// This process's.
    Process(u32),
    /// An open file description's, which processes may share.
    Unnamed,
}

/// An open-file-description lock on the whole file, which meets the record locks of others, fcntl(2): answers whether it
/// was had. Waiting ends when a signal comes and `is_ended` says so.
#[expect(unsafe_code, reason = "rustix has no open-file-description locks")]
pub fn take_record_lock(file: &File, wait: bool, is_ended: impl Fn() -> bool) -> io::Result<bool> {
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
            Some(libc::EINTR) if is_ended() => return Ok(false),
            Some(libc::EINTR) => {}
            _ => return Err(error),
        }
    }
}

/// Whose record lock on the file ours would have to wait for. Nothing is locked for this: whoever comes at that moment and
/// does not wait is not sent away.
#[expect(unsafe_code, reason = "rustix has no open-file-description locks")]
pub fn record_lock_holder(file: &File) -> Holder {
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

/// How often the kernel's list is read before nobody is said to be in it.
const READS: usize = 16;

/// The process that took any lock on the file, as `proc_locks(5)` has it. The list comes a page at a time: while others lock and
/// unlock, a line may be passed over, so it is read again.
pub fn lock_holder(file: &File) -> Option<u32> {
    (0..READS).find_map(|_| listed_holder(file))
}

fn listed_holder(file: &File) -> Option<u32> {
    let metadata = file.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let inode = format!(":{}", metadata.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    // `->` marks one that waits. Some file systems show another device than stat does.
    let held: Vec<Vec<&str>> = locks
        .lines()
        .map(|line| line.split_whitespace().collect())
        .filter(|line: &Vec<&str>| !line.contains(&"->"))
        .collect();
    let exact = held.iter().find(|line| line.contains(&place.as_str()));
    let line = exact
        .or_else(|| held.iter().find(|line| line.iter().any(|word| word.ends_with(&inode))))?;
    line.get(4)?.parse().ok()
}

/// A process's command name.
pub fn process_name(process: u32) -> String {
    std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim().to_owned()
}
