//! `key = value`, in sections or not.

use model::escape;

use super::{
    Before, InvalidEdit, Standing,
    lines::{put_back, standing_at},
    text::{Line, Text},
};

/// Where a key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// In one section of an INI file.
    Section(&'a [u8]),
    /// Anywhere, perhaps after `export`.
    Shell,
}

/// A line `key = value`, as ranges of its content.
struct Pair {
    key: std::ops::Range<usize>,
    value: std::ops::Range<usize>,
}

pub(super) fn check_key(key: Vec<u8>) -> Result<Vec<u8>, InvalidEdit> {
    let odd = key.is_empty()
        || key.iter().any(|byte| b"=\n\r".contains(byte))
        || key.trim_ascii().len() != key.len()
        || key.starts_with(b"export ")
        || b"#;[".contains(&key[0]);
    if odd { Err(InvalidEdit::Key { key: escape(&key) }) } else { Ok(key) }
}

pub(super) fn check_value(value: Vec<u8>) -> Result<Vec<u8>, InvalidEdit> {
    let odd =
        value.iter().any(|byte| b"\n\r".contains(byte)) || value.trim_ascii().len() != value.len();
    if odd { Err(InvalidEdit::Value { value: escape(&value) }) } else { Ok(value) }
}

/// Makes `key` have `value`, or takes every such key away. The last of several counts, as it does to
/// those who read such files.
pub(super) fn set(text: &mut Text, scope: Scope<'_>, key: &[u8], value: Option<&[u8]>) {
    let positions = find(text, scope, key);
    match (value, positions.last()) {
        (None, _) => {
            for position in positions.into_iter().rev() {
                text.lines.remove(position);
            }
        }
        (Some(value), Some(&position)) => {
            let line = &mut text.lines[position];
            if let Some(pair) = pair(&line.content, scope)
                && line.content[pair.value.clone()] != *value
            {
                line.content.splice(pair.value, value.iter().copied());
            }
        }
        (Some(value), None) => add(text, scope, key, value),
    }
}

/// The lines [`set`] changes or takes.
pub(super) fn standing(
    text: &Text,
    scope: Scope<'_>,
    key: &[u8],
    takes_all: bool,
) -> Vec<Standing> {
    let mut positions = find(text, scope, key);
    if !takes_all {
        positions = positions.pop().into_iter().collect();
    }
    standing_at(text, |position, _| positions.contains(&position))
}

/// Whether the text has this section; the part before the first is always there.
pub(super) fn has_section(text: &Text, section: &[u8]) -> bool {
    section.is_empty() || text.lines.iter().any(|line| header(line) == Some(section))
}

/// Whether a new section is set off by a blank line.
pub(super) fn wants_blank(text: &Text) -> bool {
    text.lines.last().is_some_and(|line| !line.is_blank())
}

/// The value a key has.
pub(super) fn value(text: &Text, position: usize, scope: Scope<'_>) -> Vec<u8> {
    let content = &text.lines[position].content;
    pair(content, scope).map(|pair| content[pair.value].to_vec()).unwrap_or_default()
}

pub(super) fn take_back(
    text: &mut Text,
    scope: Scope<'_>,
    key: &[u8],
    ours: Option<&[u8]>,
    before: &Before,
) -> Result<(), Option<Vec<u8>>> {
    let position = find(text, scope, key).pop();
    let Some(ours) = ours else {
        if let Some(position) = position {
            return Err(Some(value(text, position, scope)));
        }
        if let Scope::Section(section) = scope
            && !has_section(text, section)
        {
            return Err(None);
        }
        put_back(text, &before.lines);
        return Ok(());
    };
    let Some(position) = position else { return Err(None) };
    let found = value(text, position, scope);
    if found != ours {
        return Err(Some(found));
    }
    if let Some(standing) = before.lines.first() {
        restore(text, position, standing);
        return Ok(());
    }
    text.lines.remove(position);
    if let Scope::Section(section) = scope
        && before.makes_section
    {
        drop_empty_section(text, section, before.makes_blank);
    }
    Ok(())
}

/// Puts the old line in place of ours; only the last line of a text may lack an end.
pub(super) fn restore(text: &mut Text, position: usize, standing: &Standing) {
    let end = text.lines[position].end;
    let old = Line::read(&standing.line);
    text.lines[position] = Line { content: old.content, end };
}

/// Positions of the lines that hold a key.
pub(super) fn find(text: &Text, scope: Scope<'_>, key: &[u8]) -> Vec<usize> {
    let mut section: &[u8] = b"";
    let mut found = Vec::new();
    for (position, line) in text.lines.iter().enumerate() {
        if let (Scope::Section(_), Some(name)) = (scope, header(line)) {
            section = name;
            continue;
        }
        if let Scope::Section(wanted) = scope
            && wanted != section
        {
            continue;
        }
        if pair(&line.content, scope).is_some_and(|pair| line.content[pair.key] == *key) {
            found.push(position);
        }
    }
    found
}

/// The name of the section a line starts.
fn header(line: &Line) -> Option<&[u8]> {
    line.content.trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]").map(<[u8]>::trim_ascii)
}

/// Reads a line `key = value`; a comment is none.
fn pair(content: &[u8], scope: Scope<'_>) -> Option<Pair> {
    let mut start = content.len() - content.trim_ascii_start().len();
    if content.get(start).is_none_or(|first| b"#;[".contains(first)) {
        return None;
    }
    if scope == Scope::Shell
        && let Some(rest) = content[start..].strip_prefix(b"export")
        && rest.first().is_some_and(u8::is_ascii_whitespace)
    {
        start = content.len() - rest.trim_ascii_start().len();
    }
    let equals = start + content[start..].iter().position(|byte| *byte == b'=')?;
    let key = start..start + content[start..equals].trim_ascii_end().len();
    let rest = &content[equals + 1..];
    let value = equals + 1 + (rest.len() - rest.trim_ascii_start().len());
    let length = rest.trim_ascii().len();
    (!key.is_empty()).then_some(Pair { key, value: value..value + length })
}

fn add(text: &mut Text, scope: Scope<'_>, key: &[u8], value: &[u8]) {
    let line = [key, equals(text, scope), value].concat();
    let Scope::Section(section) = scope else {
        text.insert(text.lines.len(), line);
        return;
    };
    if !has_section(text, section) {
        if wants_blank(text) {
            text.insert(text.lines.len(), Vec::new());
        }
        text.insert(text.lines.len(), [b"[", section, b"]"].concat());
        text.insert(text.lines.len(), line);
        return;
    }
    let start = if section.is_empty() {
        0
    } else {
        text.lines.iter().position(|line| header(line) == Some(section)).map_or(0, |at| at + 1)
    };
    let rest = &text.lines[start..];
    let length = rest.iter().position(|line| header(line).is_some()).unwrap_or(rest.len());
    let blank = rest[..length].iter().rev().take_while(|line| line.is_blank()).count();
    text.insert(start + length - blank, line);
}

/// How this text writes its equals signs: as the first pair does.
fn equals(text: &Text, scope: Scope<'_>) -> &'static [u8] {
    let first = text.lines.iter().find_map(|line| {
        let pair = pair(&line.content, scope)?;
        Some(line.content.get(pair.key.end) == Some(&b'='))
    });
    match (first, scope) {
        (Some(true), _) | (None, Scope::Shell) => b"=",
        (Some(false), _) | (None, Scope::Section(_)) => b" = ",
    }
}

/// Takes away the header of a section in which nothing is left, and the blank line before it.
fn drop_empty_section(text: &mut Text, section: &[u8], blank: bool) {
    let Some(start) = text.lines.iter().position(|line| header(line) == Some(section)) else {
        return;
    };
    let rest = &text.lines[start + 1..];
    let length = rest.iter().position(|line| header(line).is_some()).unwrap_or(rest.len());
    if !rest[..length].iter().all(Line::is_blank) {
        return;
    }
    text.lines.remove(start);
    if blank && start > 0 && text.lines[start - 1].is_blank() {
        text.lines.remove(start - 1);
    }
}
