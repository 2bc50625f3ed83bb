//! Who is logged on: what systemd-logind keeps in files, so that nobody has to be asked who might not answer (Q240921).

use std::{fs, path::Path};

use deployment::Session;
use jiff::Timestamp;

/// Where sessions are, below the root: a file each, replaced when something changes.
pub(crate) const FOLDER: &str = "run/systemd/sessions";

/// Who is logged on; `None` where it cannot be found out.
pub(crate) fn sessions(root: &Path) -> Option<Vec<Session>> {
    let entries = fs::read_dir(root.join(FOLDER)).ok()?;
    let mut all = Vec::new();
    for entry in entries.flatten() {
        // Sockets and fifos of sessions stand beside their files.
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        let word = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .map(str::to_owned)
        };
        let is_user = word("CLASS").is_some_and(|class| class.starts_with("user"));
        let is_there = word("STATE").is_none_or(|state| state != "closing");
        let (Some(user), true, true) = (word("USER"), is_user, is_there) else { continue };
        let since = word("REALTIME").and_then(|text| text.parse().ok());
        let since = since.and_then(|since| Timestamp::from_microsecond(since).ok());
        all.push(Session {
            user: word("NAME").unwrap_or(user).into(),
            since: since.unwrap_or(Timestamp::UNIX_EPOCH),
            seen: false,
        });
    }
    Some(all)
}
