//! Text files that were there and were changed: what was changed in them, instead of the whole file.
//! An edit is taken only if making it in the old text gives the new text, byte by byte.

mod keys;
mod lines;

use change::edit::{Edit, apply};
use model::{EditStep, LineEdit, MachinePath, Template};
use script::StepKind;

use super::{Meaning, View, is_below, is_file, name_of};
use crate::{Change, DraftError, Remark, Side};

/// Folders of text that people and programs edit.
const FOLDERS: [&str; 7] =
    ["/etc", "/usr/local/etc", "/var/spool/cron", "/boot", "/root", "/home", "/var/www"];
/// What names of such text end in elsewhere.
const ENDINGS: [&str; 9] =
    [".conf", ".cfg", ".cnf", ".ini", ".env", ".properties", ".rc", ".config", ".list"];
/// More changed lines than this are no edit any more but another file.
const MOST_CHANGED_LINES: usize = 200;

/// A way to say a difference; `None` where it cannot be said so.
type Candidate = fn(&lines::Diff<'_>) -> Option<Vec<LineEdit>>;

/// Turns changed text files into edit steps.
pub(super) fn recognise(view: &View<'_>) -> Result<Meaning, DraftError> {
    let mut meaning = Meaning::default();
    for (&path, &change) in view.changes {
        if !is_edited_text(path, change) {
            continue;
        }
        let Some(new) = view.text(path, Side::After)? else { continue };
        let Some(old) = view.text(path, Side::Before)? else {
            let text = "its old content was not kept, so what was changed in it is unknown";
            meaning.warnings.push(Remark::at(path, text));
            continue;
        };
        let Some(groups) = find(&old, &new) else { continue };
        for edits in groups {
            let file = Template::literal(path.as_bytes());
            let create = old.is_empty();
            meaning.edits.push(StepKind::Edit(EditStep { file, edits, create }));
        }
        meaning.edits.extend(new_metadata(path, change));
        meaning.take(path, "edits of its text, as steps");
    }
    Ok(meaning)
}

fn is_edited_text(path: &MachinePath, change: &Change) -> bool {
    let (before, after) = (change.before.as_ref(), change.after.as_ref());
    let name = name_of(path).unwrap_or_default();
    is_file(before)
        && is_file(after)
        && !change.keeps_content()
        && (FOLDERS.iter().any(|folder| is_below(path, folder))
            || ENDINGS.iter().any(|ending| name.ends_with(ending)))
}

/// An edit keeps mode and owner; if they changed too, that is a step of its own.
fn new_metadata(path: &MachinePath, change: &Change) -> Option<StepKind> {
    let (before, after) = (&change.before.as_ref()?.meta, &change.after.as_ref()?.meta);
    let mut timeless = after.clone();
    timeless.modified = before.modified;
    (timeless != *before).then(|| StepKind::SetMetadata {
        path: Template::literal(path.as_bytes()),
        meta: Box::new(after.clone()),
    })
}

/// The most telling edits that make `new` of `old`, in groups of one kind.
pub(super) fn find(old: &[u8], new: &[u8]) -> Option<Vec<Vec<LineEdit>>> {
    let diff = lines::Diff::of(old, new);
    if diff.changed() > MOST_CHANGED_LINES || diff.is_another_text() {
        return None;
    }
    let candidates: [Candidate; 5] = [
        keys::edits,
        lines::edits_at_end,
        lines::edits_in_place,
        lines::blocks_at_end,
        lines::blocks_in_place,
    ];
    let found = candidates
        .into_iter()
        .filter_map(|candidate| candidate(&diff))
        .find(|edits| makes(old, new, edits))?;
    Some(by_kind(found))
}

fn makes(old: &[u8], new: &[u8], edits: &[LineEdit]) -> bool {
    let mut text = old.to_vec();
    for edit in edits {
        let Ok(edit) = Edit::expand(edit, |_| None) else { return false };
        text = apply(&text, &edit);
    }
    !edits.is_empty() && text == new
}

/// A step holds edits of one kind; their order stays.
fn by_kind(edits: Vec<LineEdit>) -> Vec<Vec<LineEdit>> {
    let kind = |edit: &LineEdit| match edit {
        LineEdit::Add { .. } | LineEdit::Remove { .. } => 0,
        LineEdit::Ini { .. } => 1,
        LineEdit::Assignment { .. } => 2,
        LineEdit::PathList { .. } => 3,
    };
    let mut groups: Vec<Vec<LineEdit>> = Vec::new();
    for edit in edits {
        match groups.last_mut() {
            Some(group) if kind(&group[0]) == kind(&edit) => group.push(edit),
            _ => groups.push(vec![edit]),
        }
    }
    groups
}
