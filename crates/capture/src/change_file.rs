//! A change set as a file: lines of JSON, so that it can be read, searched and compared with plain tools.
//!
//! The first line tells the format, one line follows for each path, and the last line tells how many
//! there were and the hash of all bytes before it. See docs/formats/session.md.

use std::io::{self, BufRead, Write};

use model::{Hash, Hasher, MachinePath};
use serde::{Deserialize, Serialize};

use crate::{Change, ChangeSet, Touch};

/// The format this release writes, and the newest it reads.
pub const CHANGES_FORMAT: u32 = 1;

#[expect(clippy::large_enum_variant, reason = "one at a time, read and gone")]
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Format(u32),
    Changed { path: MachinePath, change: Change },
    Touched { path: MachinePath, touch: Touch },
    End { lines: u64, hash: Hash },
}

/// A file of changes cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadChangesError {
    /// The bytes cannot be had.
    #[error("the changes cannot be read")]
    Read(#[source] io::Error),
    /// A newer release wrote it.
    #[error("the changes have format {found}, and this release reads up to {}", CHANGES_FORMAT)]
    Newer {
        /// The file's format.
        found: u32,
    },
    /// It is not what was written.
    #[error("the changes are damaged at line {line}")]
    Damaged {
        /// Counted from 1.
        line: u64,
    },
}

/// Writes a change set.
///
/// # Errors
/// `out` fails.
pub fn write_changes(changes: &ChangeSet, mut out: impl Write) -> io::Result<()> {
    let mut hasher = Hasher::new();
    let mut lines = 0;
    let mut put = |line: &Line, hasher: &mut Hasher| -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        hasher.update(&text);
        lines += 1;
        out.write_all(&text)
    };
    put(&Line::Format(CHANGES_FORMAT), &mut hasher)?;
    for (path, change) in &changes.changes {
        put(&Line::Changed { path: path.clone(), change: change.clone() }, &mut hasher)?;
    }
    for (path, touch) in &changes.touched {
        put(&Line::Touched { path: path.clone(), touch: *touch }, &mut hasher)?;
    }
    let mut end = serde_json::to_vec(&Line::End { lines, hash: hasher.finish() })?;
    end.push(b'\n');
    out.write_all(&end)
}

/// Reads what [`write_changes`] wrote.
///
/// # Errors
/// A newer format; anything missing, added or altered.
pub fn read_changes(mut input: impl BufRead) -> Result<ChangeSet, ReadChangesError> {
    let mut changes = ChangeSet::default();
    let mut hasher = Hasher::new();
    let mut text = Vec::new();
    let mut line = 0;
    loop {
        text.clear();
        input.read_until(b'\n', &mut text).map_err(ReadChangesError::Read)?;
        let damaged = ReadChangesError::Damaged { line: line + 1 };
        let Ok(parsed) = serde_json::from_slice(&text) else { return Err(damaged) };
        match (line, parsed) {
            (0, Line::Format(found)) if found > CHANGES_FORMAT => {
                return Err(ReadChangesError::Newer { found });
            }
            (0, Line::Format(_)) => {}
            (1.., Line::Changed { path, change }) => {
                changes.changes.insert(path, change);
            }
            (1.., Line::Touched { path, touch }) => {
                changes.touched.insert(path, touch);
            }
            (1.., Line::End { lines, hash }) if lines == line && hash == hasher.finish() => {
                return Ok(changes);
            }
            _ => return Err(damaged),
        }
        hasher.update(&text);
        line += 1;
    }
}

#[cfg(test)]
mod tests {
    use model::{Entry, Kind, MachinePath, Meta, Time};

    use super::{read_changes, write_changes};
    use crate::{Change, ChangeSet, Touch};

    fn sample() -> ChangeSet {
        let entry = Entry { kind: Kind::Directory, meta: Meta::of_root(0o755, Time::default()) };
        let path = |text: &str| text.parse::<MachinePath>().unwrap();
        ChangeSet {
            changes: [(path("/opt"), Change { before: None, after: Some(entry) })].into(),
            touched: [(path("/etc/hosts"), Touch::Opened)].into(),
        }
    }

    fn written() -> Vec<u8> {
        let mut file = Vec::new();
        write_changes(&sample(), &mut file).unwrap();
        file
    }

    #[test]
    fn changes_come_back() {
        assert_eq!(read_changes(&written()[..]).unwrap(), sample());
    }

    #[test]
    fn damage_anywhere_is_found() {
        let file = written();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            // The last newline alone carries nothing.
            assert!(read_changes(&damaged[..]).is_err() || at + 1 == file.len(), "{at}");
            assert!(read_changes(&file[..at]).is_err() || at + 1 == file.len(), "{at}");
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let error = read_changes(&b"{\"format\":9}\n"[..]).unwrap_err();
        insta::assert_snapshot!(error, @"the changes have format 9, and this release reads up to 1");
    }
}
