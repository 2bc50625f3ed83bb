//! The first process inside.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    process::Command,
};

use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{Signal, WaitOptions, chdir, pivot_root, set_parent_process_death_signal, wait},
    thread::UnshareFlags,
};

use super::{EncloseError, Enclosure, LeftRunning, inside, left_file, read};

/// Makes the merged root the only one, runs the command, and takes in every process that is orphaned
/// meanwhile. Returns the command's exit code; when this process ends with it, so do all others inside.
///
/// # Errors
/// Whatever the kernel refuses; nothing has been run then.
pub fn init(file: &Path) -> Result<i32, EncloseError> {
    let enclosure = read(file)?;
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| EncloseError::Namespaces(error.into()))?;
    let left = left_file(&enclosure);
    let failed = |reason| EncloseError::Session { file: left.clone(), reason };
    let mut left = File::create(&left).map_err(failed)?;
    change_root(&enclosure)
        .map_err(|reason| EncloseError::Prepare { path: "/".to_owned(), reason })?;
    let code = run(&enclosure)?;
    let text = serde_json::to_vec(&still_running()).map_err(|error| failed(error.into()))?;
    left.write_all(&text).map_err(failed)?;
    Ok(code)
}

fn change_root(enclosure: &Enclosure) -> io::Result<()> {
    // A mount namespace of our own: the second process keeps the machine's root.
    crate::sys::unshare(UnshareFlags::NEWNS)?;
    chdir(&enclosure.merged)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, c"")?;
    let folder = inside(Path::new("/"), &enclosure.folder);
    chdir(if folder.is_dir() { &folder } else { Path::new("/") })?;
    Ok(())
}

fn run(enclosure: &Enclosure) -> Result<i32, EncloseError> {
    let (name, arguments) = enclosure.command.split_first().ok_or_else(|| {
        EncloseError::Command { command: String::new(), reason: io::ErrorKind::InvalidInput.into() }
    })?;
    let failed =
        |reason| EncloseError::Command { command: name.to_string_lossy().into_owned(), reason };
    // The program is looked for in the new environment's PATH.
    let child = Command::new(name)
        .args(arguments)
        .env_clear()
        .envs(&enclosure.environment)
        .spawn()
        .map_err(failed)?;
    let pid = child.id();
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended.as_raw_nonzero().get().cast_unsigned() == pid => {
                let signal = status.terminating_signal().map(|signal| 128 + signal);
                return Ok(status.exit_status().or(signal).unwrap_or(-1));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
}

fn still_running() -> Vec<LeftRunning> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|entry| {
            let process: u32 = entry.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            let state = fs::read_to_string(entry.path().join("stat")).ok()?;
            // Dead already, and only not yet taken in.
            let dead = state.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"));
            (process != 1 && !dead)
                .then(|| LeftRunning { process, name: name.trim_end().to_owned() })
        })
        .collect()
}
