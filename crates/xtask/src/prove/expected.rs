//! Which differences between the machine an installer ran on and one its package went to are announced:
//! all of them stand in the project's `capture/report.toml`.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::tree::{Difference, Tree};

/// What keeps its own account on the machine.
pub(crate) const STATE: &str = "/var/lib/packhorse";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    #[serde(default)]
    excluded: Vec<Excluded>,
    #[serde(default)]
    understood: Vec<Understood>,
}

#[derive(Deserialize)]
struct Notes {
    skips: Vec<Skip>,
}

#[derive(Deserialize)]
struct Skip {
    path: String,
}

#[derive(Deserialize)]
struct Excluded {
    paths: Vec<String>,
}

#[derive(Deserialize)]
struct Understood {
    path: String,
}

/// The paths a report names.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    /// Left out: the target has what it had, or makes its own.
    excluded: BTreeSet<OsString>,
    /// The folders around those: what the machine makes itself moves their times.
    around: BTreeSet<OsString>,
    /// Done by a step of another kind: an edit, an account. The outcome is the same, its time is not.
    understood: BTreeSet<OsString>,
}

impl Announced {
    pub(crate) fn of(project: &Path) -> Result<Self> {
        let file = project.join("capture/report.toml");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let report: Report = toml_edit::de::from_str(&text).context("capture/report.toml")?;
        let excluded: BTreeSet<OsString> =
            report.excluded.iter().flat_map(|one| &one.paths).map(|path| unescape(path)).collect();
        let around = excluded.iter().flat_map(|path| Path::new(path).ancestors().skip(1));
        Ok(Self {
            around: around.map(|path| path.as_os_str().to_owned()).collect(),
            excluded,
            understood: report.understood.iter().map(|one| unescape(&one.path)).collect(),
        })
    }

    pub(crate) fn excluded(&self) -> usize {
        self.excluded.len()
    }

    /// Of the differences between the reference and the target, those no report announced.
    pub(crate) fn unannounced(&self, reference: &Tree, target: &Tree) -> Vec<Difference> {
        let mut all = reference.differences(target);
        all.retain_mut(|difference| self.is_unannounced(difference, reference, target));
        all
    }

    /// Of some differences, those that are not in what the machine makes itself.
    pub(crate) fn of_packages(&self, mut differences: Vec<Difference>) -> Vec<Difference> {
        differences.retain(|one| !self.excluded.contains(&one.path));
        differences
    }

    fn is_unannounced(&self, one: &mut Difference, reference: &Tree, target: &Tree) -> bool {
        if is_state(&one.path) {
            return false;
        }
        let is_folder =
            |tree: &Tree| tree.0.get(&one.path).is_some_and(super::tree::Seen::is_folder);
        if self.excluded.contains(&one.path) {
            // A folder that is left out for its time is a folder all the same.
            let both = is_folder(reference) && is_folder(target);
            one.what.retain(|what| both && *what != "time");
        }
        if self.understood.contains(&one.path) {
            // A link may be spelt another way, and what follows from a step need not be there.
            let is_link =
                |tree: &Tree| tree.0.get(&one.path).is_some_and(super::tree::Seen::is_link);
            let both_links = is_link(reference) && is_link(target);
            one.what.retain(|what| match *what {
                "time" | "missing" => false,
                "target" | "size" => !both_links,
                _ => true,
            });
        }
        if self.around.contains(&one.path) && is_folder(target) {
            one.what.retain(|what| *what != "time");
        }
        // Our own account is kept in this folder, and makes its time ours.
        if Path::new(STATE).parent().is_some_and(|parent| parent.as_os_str() == one.path) {
            one.what.retain(|what| *what != "time");
        }
        !one.what.is_empty()
    }
}

/// Takes what the capture itself put into the reference to mount on out of it.
pub(crate) fn without_mount_points(reference: &mut Tree, session: &Path) -> Result<()> {
    let file = session.join("skips.json");
    let text = fs::read(&file).with_context(|| file.display().to_string())?;
    let notes: Notes = serde_json::from_slice(&text).context("skips.json")?;
    for skip in notes.skips {
        reference.0.remove(&unescape(&skip.path));
    }
    Ok(())
}

/// Differences of two trees but for our own account.
pub(crate) fn outside_of_state(before: &Tree, after: &Tree) -> Vec<Difference> {
    let mut all = before.differences(after);
    all.retain(|one| !is_state(&one.path));
    all
}

fn is_state(path: &OsStr) -> bool {
    Path::new(path).starts_with(STATE)
}

/// Paths stand in reports with every byte that is no printable text as `\xNN`.
fn unescape(text: &str) -> OsString {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at..].starts_with(b"\\x"))
            .then(|| text.get(at + 2..at + 4))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex {
            Some(byte) => {
                plain.push(byte);
                at += 4;
            }
            None if bytes[at..].starts_with(b"\\\\") => {
                plain.push(b'\\');
                at += 2;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    OsString::from_vec(plain)
}

/// How many entries of `tree` are not in `before`, or not as they were.
pub(crate) fn changed(before: &Tree, tree: &Tree) -> usize {
    let is_new =
        |path: &OsString| !path.as_bytes().is_empty() && before.0.get(path) != tree.0.get(path);
    tree.0.keys().filter(|path| is_new(path)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_bytes_come_back() {
        assert_eq!(unescape(r"/a\xff\\x41 b"), OsStr::from_bytes(b"/a\xff\\x41 b"));
        assert_eq!(unescape("/plain"), "/plain");
    }
}
