//! Recognisers: what raw changes mean. Each looks at the changes nobody has understood yet, and says
//! which of them it understands and as what. It takes a change only if its steps make it so again.

mod accounts;
mod alternatives;
mod edits;
mod packages;
mod places;
mod shortcuts;
mod systemd;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};

use model::{Entry, Kind, MachinePath};
use script::StepKind;

pub(crate) use packages::dependencies;

use crate::{CapturedFiles, Change, DraftError, Options, Remark, Side, captured::read_text};

/// What a recogniser looks at.
pub(crate) struct View<'a> {
    /// The changes nobody has understood or left out yet.
    pub(crate) changes: &'a BTreeMap<&'a MachinePath, &'a Change>,
    pub(crate) contents: &'a dyn CapturedFiles,
    pub(crate) options: &'a Options,
}

/// What recognisers found: steps by their place in the script, and the changes they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) accounts: Vec<StepKind>,
    pub(crate) edits: Vec<StepKind>,
    pub(crate) alternatives: Vec<StepKind>,
    pub(crate) services: Vec<StepKind>,
    pub(crate) shortcuts: Vec<StepKind>,
    pub(crate) tasks: Vec<StepKind>,
    pub(crate) triggers: BTreeSet<&'static str>,
    /// Changes that are no file steps any more, and what they became.
    pub(crate) taken: BTreeMap<MachinePath, Box<str>>,
    pub(crate) review: Vec<Remark>,
    pub(crate) warnings: Vec<Remark>,
    pub(crate) notes: Vec<Remark>,
}

type Recogniser = fn(&View<'_>) -> Result<Meaning, DraftError>;

/// In the order they look; one may rely on what those before it took.
const RECOGNISERS: [Recogniser; 7] = [
    accounts::recognise,
    systemd::recognise,
    alternatives::recognise,
    edits::recognise,
    places::recognise,
    shortcuts::recognise,
    tasks::recognise,
];

/// Asks every recogniser.
pub(crate) fn all(view: &View<'_>) -> Result<Meaning, DraftError> {
    let mut left = view.changes.clone();
    let mut meaning = Meaning::default();
    for recognise in RECOGNISERS {
        let found = recognise(&View { changes: &left, ..*view })?;
        left.retain(|path, _| !found.taken.contains_key(*path));
        meaning.merge(found);
    }
    Ok(meaning)
}

impl Meaning {
    fn merge(&mut self, other: Self) {
        self.accounts.extend(other.accounts);
        self.edits.extend(other.edits);
        self.alternatives.extend(other.alternatives);
        self.services.extend(other.services);
        self.shortcuts.extend(other.shortcuts);
        self.tasks.extend(other.tasks);
        self.triggers.extend(other.triggers);
        self.taken.extend(other.taken);
        self.review.extend(other.review);
        self.warnings.extend(other.warnings);
        self.notes.extend(other.notes);
    }

    fn take(&mut self, path: &MachinePath, meaning: &str) {
        self.taken.insert(path.clone(), meaning.into());
    }
}

impl View<'_> {
    /// A text file on one side, if it is one.
    fn text(&self, path: &MachinePath, side: Side) -> Result<Option<Vec<u8>>, DraftError> {
        read_text(self.contents, path, side)
            .map_err(|source| DraftError::Read { path: path.clone(), source })
    }

    /// What is at a path after the installer, changed or not.
    fn after(&self, path: &MachinePath) -> Result<Option<Entry>, DraftError> {
        match self.changes.get(path) {
            Some(change) => Ok(change.after.clone()),
            None => self
                .contents
                .entry(path, Side::After)
                .map_err(|source| DraftError::Read { path: path.clone(), source }),
        }
    }

    /// The changes below a folder, or of the path itself.
    fn below<'v>(
        &'v self,
        folder: &'static str,
    ) -> impl Iterator<Item = (&'v MachinePath, &'v Change)> {
        self.changes
            .iter()
            .map(|(path, change)| (*path, *change))
            .filter(move |(path, _)| is_below(path, folder))
    }
}

/// Whether a path lies below a folder, by whole parts.
fn is_below(path: &MachinePath, folder: &str) -> bool {
    path.as_bytes().strip_prefix(folder.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// What a symbolic link says.
fn link_target(entry: Option<&Entry>) -> Option<&[u8]> {
    match entry.map(|entry| &entry.kind) {
        Some(Kind::Symlink(target)) => Some(target),
        _ => None,
    }
}

/// Whether an entry is a regular file, by whatever name.
fn is_file(entry: Option<&Entry>) -> bool {
    matches!(entry.map(|entry| &entry.kind), Some(Kind::File(_) | Kind::HardLink(_)))
}

/// The path of something every Linux machine has at one place.
fn path(text: &str) -> MachinePath {
    MachinePath::new(text).unwrap_or_else(|_| MachinePath::root())
}

/// The last part of a path as text.
fn name_of(path: &MachinePath) -> Option<&str> {
    std::str::from_utf8(path.name()?).ok()
}

#[cfg(test)]
mod tests;
