//! Added and removed lines.

use model::{LineEdit, Template};
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Two texts line by line, and what differs.
pub(super) struct Diff<'a> {
    pub(super) old: Vec<&'a [u8]>,
    pub(super) new: Vec<&'a [u8]>,
    pub(super) hunks: Vec<Hunk>,
}

/// Lines that gave way to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hunk {
    pub(super) old: std::ops::Range<usize>,
    pub(super) new: std::ops::Range<usize>,
}

impl<'a> Diff<'a> {
    pub(super) fn of(old: &'a [u8], new: &'a [u8]) -> Self {
        let (old, new) = (lines(old), lines(new));
        let hunks = capture_diff_slices(Algorithm::Myers, &old, &new)
            .iter()
            .filter(|op| !matches!(op, DiffOp::Equal { .. }))
            .map(|op| Hunk { old: op.old_range(), new: op.new_range() })
            .collect();
        Self { old, new, hunks }
    }

    pub(super) fn changed(&self) -> usize {
        self.hunks.iter().map(|hunk| hunk.old.len().max(hunk.new.len())).sum()
    }

    /// Whether more than half of a text of some length is gone.
    pub(super) fn is_another_text(&self) -> bool {
        let gone: usize = self.hunks.iter().map(|hunk| hunk.old.len()).sum();
        self.old.len() > 10 && gone * 2 > self.old.len()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of several ways, all of one type")]
pub(super) fn edits_at_end(diff: &Diff<'_>) -> Option<Vec<LineEdit>> {
    let added = diff.hunks.iter().flat_map(|hunk| &diff.new[hunk.new.clone()]);
    Some(removed(diff).chain(added.map(|line| add(line, None))).collect())
}

pub(super) fn edits_in_place(diff: &Diff<'_>) -> Option<Vec<LineEdit>> {
    let mut edits: Vec<LineEdit> = removed(diff).collect();
    for hunk in &diff.hunks {
        for index in hunk.new.clone() {
            edits.push(add(diff.new[index], previous(diff, index)?));
        }
    }
    Some(edits)
}

#[expect(clippy::unnecessary_wraps, reason = "one of several ways, all of one type")]
pub(super) fn blocks_at_end(diff: &Diff<'_>) -> Option<Vec<LineEdit>> {
    let blocks = diff.hunks.iter().filter(|hunk| !hunk.new.is_empty());
    let blocks = blocks.map(|hunk| add(&diff.new[hunk.new.clone()].join(&b'\n'), None));
    Some(removed(diff).chain(blocks).collect())
}

pub(super) fn blocks_in_place(diff: &Diff<'_>) -> Option<Vec<LineEdit>> {
    let mut edits: Vec<LineEdit> = removed(diff).collect();
    for hunk in diff.hunks.iter().filter(|hunk| !hunk.new.is_empty()) {
        let block = diff.new[hunk.new.clone()].join(&b'\n');
        edits.push(add(&block, previous(diff, hunk.new.start)?));
    }
    Some(edits)
}

/// The line before a new line: `Some(None)` at the end of the text, where none is needed; `None` at
/// its start, where there is none to name.
#[expect(clippy::option_option, reason = "no place, no line needed, and a line are three things")]
fn previous<'a>(diff: &Diff<'a>, index: usize) -> Option<Option<&'a [u8]>> {
    let last_hunk = diff
        .hunks
        .last()
        .is_some_and(|hunk| hunk.new.contains(&index) && hunk.new.end == diff.new.len());
    if last_hunk { Some(None) } else { index.checked_sub(1).map(|before| Some(diff.new[before])) }
}

fn removed<'d>(diff: &'d Diff<'_>) -> impl Iterator<Item = LineEdit> + 'd {
    let lines = diff.hunks.iter().flat_map(|hunk| &diff.old[hunk.old.clone()]);
    lines.map(|line| LineEdit::Remove { line: Template::literal(*line) })
}

fn add(line: &[u8], after: Option<&[u8]>) -> LineEdit {
    LineEdit::Add { line: Template::literal(line), after: after.map(Template::literal) }
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    text.split_inclusive(|byte| *byte == b'\n')
        .map(|line| {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            line.strip_suffix(b"\r").unwrap_or(line)
        })
        .collect()
}
