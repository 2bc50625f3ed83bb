//! Locks on files of ours, which the machine takes back whatever happens to who holds them.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use super::{files, process};

/// Who holds a lock.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) process: u32,
    pub(crate) name: String,
    pub(crate) seconds: Option<u64>,
}

/// Takes the lock of a folder, a file in it; nothing, where somebody else has it, and then who.
pub(crate) fn take_folder(folder: &Path) -> io::Result<Result<File, Option<Holder>>> {
    use io::Write as _;
    let path = folder.join("lock");
    let mut file = files::private().create(true).truncate(false).write(true).open(&path)?;
    if !machine_windows::lock(&file, true)? {
        let said = fs::read_to_string(&path).unwrap_or_default();
        let process = said.trim().parse().ok();
        // It is said and not proved: one that is there no more does not hold it.
        return Ok(Err(process.and_then(|process| {
            Some(Holder {
                process,
                name: machine_windows::name(process)?,
                seconds: process::age(process),
            })
        })));
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Ok(file))
}

/// Takes the lock on a file, if nobody has it.
pub(crate) fn take(file: &File) -> bool {
    machine_windows::lock(file, true).unwrap_or(false)
}

/// Whether somebody else has the lock on a file.
pub(crate) fn is_taken(file: &File) -> bool {
    !machine_windows::lock(file, false).unwrap_or(false)
}
