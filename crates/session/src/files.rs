//! The files of a session's folder.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use capture::{Event, JournalLine, State};
use model::Time;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Beginning, OpenSessionError, platform};

/// The format of session folders this release writes, and the newest it reads.
pub const SESSION_FORMAT: u32 = 1;

pub(crate) const SESSION: &str = "session.json";
pub(crate) const FACTS: &str = "facts.json";
pub(crate) const JOURNAL: &str = "journal.jsonl";
pub(crate) const LOCK: &str = "lock";
pub(crate) const CHANGES: &str = "changes.jsonl";
/// The change set of a second observer.
pub const OBSERVED: &str = "observed.jsonl";
/// The machine before.
pub const BASELINE: &str = "baseline.snapshot";
pub(crate) const KEPT: &str = "kept.pack";
pub(crate) const SKIPS: &str = "skips.json";
/// How a run ended.
pub const OUTCOME: &str = "outcome.json";
/// How a run is enclosed.
pub const ENCLOSURE: &str = "enclosure.json";
/// Where an installer sees the whole.
pub const MERGED: &str = "merged";
/// What an installer wrote.
pub const LAYERS: &str = "layers";

/// Writes a value as JSON so that, whenever we are stopped, the file is whole or not there.
///
/// # Errors
/// The folder cannot be written.
pub fn write_whole(folder: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    write_with(folder, name, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        file.write_all(b"\n")
    })
}

/// Writes a file so that, whenever we are stopped, it is whole or not there.
///
/// # Errors
/// The folder cannot be written, or `write` fails.
pub fn write_with(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let unfinished = format!("{name}.new");
    let mut file = io::BufWriter::new(File::create(folder.join(&unfinished))?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    platform::put(folder, &unfinished, name)
}

/// Reads a value from a JSON file of a session.
///
/// # Errors
/// It cannot be read, or is damaged.
pub fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T, OpenSessionError> {
    let text = fs::read(file)
        .map_err(|reason| OpenSessionError::Read { file: file.to_owned(), reason })?;
    serde_json::from_slice(&text).map_err(|error| OpenSessionError::Damaged {
        file: file.to_owned(),
        reason: error.to_string(),
    })
}

pub(crate) fn read_beginning(folder: &Path) -> Result<Beginning, OpenSessionError> {
    #[derive(serde::Deserialize)]
    struct OnlyFormat {
        format: u32,
    }
    let file = folder.join(SESSION);
    // The format first: what else a newer one holds, we cannot know.
    let OnlyFormat { format } = read_json(&file)?;
    if format > SESSION_FORMAT {
        return Err(OpenSessionError::Newer { folder: folder.to_owned(), found: format });
    }
    read_json(&file)
}

/// Folds the journal. A last line that was cut off never happened.
pub(crate) fn read_journal(folder: &Path, begun: Time) -> Result<(State, Time), OpenSessionError> {
    let file = folder.join(JOURNAL);
    let text =
        fs::read(&file).map_err(|reason| OpenSessionError::Read { file: file.clone(), reason })?;
    let damaged = |reason: String| OpenSessionError::Damaged { file: file.clone(), reason };
    let mut state = (State::Begun, begun);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let JournalLine { event, at } =
            serde_json::from_slice(line).map_err(|error| damaged(error.to_string()))?;
        state = (state.0.next(event).map_err(|error| damaged(error.to_string()))?, at);
    }
    Ok(state)
}

pub(crate) fn append_journal(folder: &Path, event: Event, at: Time) -> io::Result<()> {
    let path = folder.join(JOURNAL);
    let whole = fs::read(&path)?;
    let kept = whole.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let mut file = OpenOptions::new().write(true).open(&path)?;
    file.set_len(kept as u64)?;
    io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
    let mut line = serde_json::to_vec(&JournalLine { event, at })?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_all()
}

/// Takes a session's folder away: what makes it a session last, so that it can be taken up again.
pub(crate) fn remove(folder: &Path, lock: File) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if [SESSION, JOURNAL, LOCK].iter().any(|kept| name == *kept) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    for name in [SESSION, JOURNAL] {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match platform::remove_locked(folder, LOCK, lock) {
        // A folder that is a mount point, or somebody's own.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(()),
        other => other,
    }
}
