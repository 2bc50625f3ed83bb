//! Changed keys: sections and keys of INI files, assignments, and lists like `PATH`.

use model::{LineEdit, Template};

use super::lines::{Diff, Hunk};

/// A line `key = value`.
struct Pair<'a> {
    key: &'a [u8],
    value: &'a [u8],
}

/// The edits of keys that a difference stands for, if it is nothing else.
pub(super) fn edits(diff: &Diff<'_>) -> Option<Vec<LineEdit>> {
    let in_sections = diff.new.iter().any(|line| header(line).is_some());
    let only_pairs = diff.new.iter().all(|line| is_comment(line) || pair(line, false).is_some());
    let mut edits = Vec::new();
    for hunk in &diff.hunks {
        if in_sections {
            edits.extend(in_section(diff, hunk)?);
        } else {
            edits.extend(assignments(diff, hunk, only_pairs)?);
        }
    }
    Some(edits)
}

fn in_section(diff: &Diff<'_>, hunk: &Hunk) -> Option<Vec<LineEdit>> {
    let mut edits = Vec::new();
    for index in hunk.new.clone() {
        let line = diff.new[index];
        if line.trim_ascii().is_empty() || header(line).is_some() {
            continue;
        }
        let pair = pair(line, true)?;
        edits.push(ini(section_at(&diff.new, index), pair.key, Some(pair.value)));
    }
    for index in hunk.old.clone() {
        let line = diff.old[index];
        if line.trim_ascii().is_empty() || header(line).is_some() {
            continue;
        }
        let pair = pair(line, true)?;
        let section = section_at(&diff.old, index);
        let kept = hunk.new.clone().any(|new| {
            section_at(&diff.new, new) == section
                && self::pair(diff.new[new], true).is_some_and(|other| other.key == pair.key)
        });
        if !kept {
            edits.push(ini(section, pair.key, None));
        }
    }
    Some(edits)
}

fn assignments(diff: &Diff<'_>, hunk: &Hunk, only_pairs: bool) -> Option<Vec<LineEdit>> {
    let read = |lines: &[&'_ [u8]]| lines.iter().all(|line| pair(line, false).is_some());
    let (old, new) = (&diff.old[hunk.old.clone()], &diff.new[hunk.new.clone()]);
    if !read(old) || !read(new) {
        return None;
    }
    let old: Vec<Pair<'_>> = old.iter().filter_map(|line| pair(line, false)).collect();
    let mut edits = Vec::new();
    let mut kept: Vec<&[u8]> = Vec::new();
    for new in new.iter().filter_map(|line| pair(line, false)) {
        match old.iter().find(|old| old.key == new.key) {
            Some(old) => {
                kept.push(new.key);
                edits.extend(changed(new.key, old.value, new.value));
            }
            // In a program of the shell a line is more than an assignment.
            None if !only_pairs => return None,
            None => edits.push(assignment(new.key, Some(new.value))),
        }
    }
    for old in old.iter().filter(|old| !kept.contains(&old.key)) {
        edits.push(assignment(old.key, None));
    }
    Some(edits)
}

/// A list that grew at one end, or a value that became another.
fn changed(key: &[u8], old: &[u8], new: &[u8]) -> Vec<LineEdit> {
    if let Some((folders, first)) = grown(bare(old), bare(new)) {
        let edit = |folder: &&[u8]| LineEdit::PathList {
            key: Template::literal(key),
            folder: Template::literal(*folder),
            first,
        };
        return if first {
            folders.iter().rev().map(edit).collect()
        } else {
            folders.iter().map(edit).collect()
        };
    }
    vec![assignment(key, Some(new))]
}

/// The folders by which a list of folders grew, and whether they came first.
fn grown<'a>(old: &[u8], new: &'a [u8]) -> Option<(Vec<&'a [u8]>, bool)> {
    let is_list = old.split(|byte| *byte == b':').any(|folder| folder.starts_with(b"/"));
    let (more, first) = if let Some(more) = new.strip_prefix(old) {
        (more.strip_prefix(b":")?, false)
    } else {
        (new.strip_suffix(old)?.strip_suffix(b":")?, true)
    };
    let folders: Vec<&[u8]> = more.split(|byte| *byte == b':').collect();
    let all = folders.iter().all(|folder| folder.starts_with(b"/"));
    (is_list && all).then_some((folders, first))
}

/// A value without its quotes.
fn bare(value: &[u8]) -> &[u8] {
    for quote in [b"\"", b"'"] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

fn ini(section: &[u8], key: &[u8], value: Option<&[u8]>) -> LineEdit {
    LineEdit::Ini {
        section: Template::literal(section),
        key: Template::literal(key),
        value: value.map(Template::literal),
    }
}

fn assignment(key: &[u8], value: Option<&[u8]>) -> LineEdit {
    LineEdit::Assignment { key: Template::literal(key), value: value.map(Template::literal) }
}

fn section_at<'a>(lines: &[&'a [u8]], index: usize) -> &'a [u8] {
    lines[..index].iter().rev().find_map(|line| header(line)).unwrap_or_default()
}

fn header(line: &[u8]) -> Option<&[u8]> {
    line.trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]").map(<[u8]>::trim_ascii)
}

fn is_comment(line: &[u8]) -> bool {
    line.trim_ascii().first().is_none_or(|first| b"#;".contains(first))
}

/// A line `key = value`. Outside sections a key is one word, perhaps after `export`.
fn pair(line: &[u8], in_section: bool) -> Option<Pair<'_>> {
    let line = line.trim_ascii();
    if is_comment(line) || header(line).is_some() {
        return None;
    }
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let (mut key, value) = (line[..equals].trim_ascii(), line[equals + 1..].trim_ascii());
    if !in_section {
        key = key.strip_prefix(b"export ").map_or(key, <[u8]>::trim_ascii);
        let is_word = key.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-/".contains(byte));
        if !is_word {
            return None;
        }
    }
    (!key.is_empty()).then_some(Pair { key, value })
}
