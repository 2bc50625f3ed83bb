use std::{collections::BTreeMap, ops::Range};

use model::{ExitMeaning, ParseTemplateError, Part, Template};
use toml_edit::Value;

use super::fields::{Fields, Reader, kind_of, kind_of_value, listed};
use crate::{duration::parse_duration, problem::did_you_mean, vocabulary::MEANINGS};

impl<'d> Fields<'_, '_, 'd> {
    pub(super) fn text_of(&mut self, key: &str, value: &'d Value) -> Option<&'d str> {
        if value.as_str().is_none() {
            self.wrong_kind(key, value.span().unwrap_or_default(), kind_of_value(value));
        }
        value.as_str()
    }

    pub(super) fn name_of(&mut self, key: &str, value: &'d Value) -> Option<&'d str> {
        let text = self.text_of(key, value)?;
        if text.trim().is_empty() {
            self.wrong_kind(key, value.span().unwrap_or_default(), "an empty one");
            return None;
        }
        if text.contains('\0') {
            self.wrong_kind(key, value.span().unwrap_or_default(), "one with a zero byte");
            return None;
        }
        Some(text)
    }

    pub(super) fn template_of(&mut self, key: &str, value: &'d Value) -> Option<Template> {
        let text = self.text_of(key, value)?;
        let span = value.span().unwrap_or_default();
        self.template_from(key, text, |reader, at| match at {
            Some(at) => reader.inside(value, at),
            None => span.clone(),
        })
    }

    /// Reads a template from a key of a table, whose text has no better place than `span`.
    pub(super) fn template_key(
        &mut self,
        key: &str,
        text: &str,
        span: Range<usize>,
    ) -> Option<Template> {
        self.template_from(key, text, |_, _| span.clone())
    }

    fn template_from(
        &mut self,
        key: &str,
        text: &str,
        place: impl FnOnce(&Reader<'_>, Option<Range<usize>>) -> Range<usize>,
    ) -> Option<Template> {
        let error = match text.parse() {
            Ok(template) => return Some(template),
            Err(error) => error,
        };
        let (ParseTemplateError::LoneDollar { at }
        | ParseTemplateError::Unclosed { at }
        | ParseTemplateError::Name { at, .. }) = error;
        let start = text.char_indices().nth(at).map(|(start, _)| start);
        let span = place(self.reader, start.map(|start| start..text.len().min(start + 2)));
        self.wrong(key, span, error, "`$$` is a dollar sign, `${name}` a variable");
        None
    }

    pub(super) fn path_of(&mut self, key: &str, value: &'d Value) -> Option<Template> {
        let template = self.template_of(key, value)?;
        if let Err(message) = check_path(&template) {
            let span = value.span().unwrap_or_default();
            self.wrong(
                key,
                span,
                message,
                "a path on the machine, `/opt/redis` or `${prefix}/bin`",
            );
            return None;
        }
        Some(template)
    }

    /// A path below the project folder.
    pub(super) fn source(&mut self, key: &str) -> Option<Box<str>> {
        let value = self.value(key)?;
        let text = self.name_of(key, value)?;
        let wrong = if text.starts_with('/') || text.contains('\\') {
            Some("it is no path below the project folder")
        } else if text.contains('\0') {
            Some("it holds a zero byte")
        } else if text.split('/').any(|part| part == ".." || part == "." || part.is_empty()) {
            Some("it has a part that is empty, `.` or `..`")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            let span = value.span().unwrap_or_default();
            self.wrong(key, span, wrong, format_args!("write `{key} = \"files/…\"`"));
            return None;
        }
        Some(text.into())
    }

    /// Templates in a list.
    pub(super) fn templates(&mut self, key: &str) -> Vec<Template> {
        let values = self.list(key);
        values.into_iter().filter_map(|value| self.template_of(key, value)).collect()
    }

    /// Templates of paths in a list.
    pub(super) fn paths(&mut self, key: &str) -> Vec<Template> {
        let values = self.list(key);
        values.into_iter().filter_map(|value| self.path_of(key, value)).collect()
    }

    /// Templates in a list that must not be empty.
    pub(super) fn command(&mut self, key: &str) -> Option<Vec<Template>> {
        let value = self.value(key)?;
        self.command_of(key, value)
    }

    pub(super) fn command_of(&mut self, key: &str, value: &'d Value) -> Option<Vec<Template>> {
        let span = value.span().unwrap_or_default();
        let Some(array) = value.as_array() else {
            let words: Vec<String> = value
                .as_str()
                .unwrap_or("program argument")
                .split_whitespace()
                .map(crate::print::quoted)
                .collect();
            let hint = format!(
                "no shell reads it: write `{key} = [{}]`, or `[\"/bin/sh\", \"-c\", …]` if a shell is meant",
                words.join(", ")
            );
            self.wrong(
                key,
                span,
                format_args!("a command is a list, not {}", kind_of_value(value)),
                hint,
            );
            return None;
        };
        let command: Vec<Template> =
            array.iter().filter_map(|value| self.template_of(key, value)).collect();
        if command.len() != array.len() {
            return None;
        }
        if command.first().is_none_or(|program| program.0.is_empty()) {
            self.wrong(
                key,
                span,
                "a command names a program",
                format_args!("write `{key} = [\"/usr/bin/program\", …]`"),
            );
            return None;
        }
        Some(command)
    }

    /// Texts that are not empty, in a list.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        let values = self.list(key);
        values.iter().filter_map(|value| self.name_of(key, value).map(str::to_owned)).collect()
    }

    /// Patterns in a list.
    pub(super) fn patterns(&mut self, key: &str) -> Vec<String> {
        let values = self.list(key);
        let mut patterns = Vec::with_capacity(values.len());
        for value in values {
            let Some(pattern) = self.name_of(key, value) else { continue };
            match globset::Glob::new(pattern) {
                Ok(_) => patterns.push(pattern.to_owned()),
                Err(error) => {
                    let span = value.span().unwrap_or_default();
                    let message = format!("`{pattern}` is no pattern: {}", error.kind());
                    self.wrong(
                        key,
                        span,
                        message,
                        "`*` is any text, `**` any folders; a bracket itself is `[[]`",
                    );
                }
            }
        }
        patterns
    }

    /// A length of time in seconds.
    pub(super) fn duration(&mut self, key: &str) -> Option<u32> {
        self.parsed(key, parse_duration)
    }

    /// Permissions in octal.
    pub(super) fn mode(&mut self, key: &str) -> Option<u16> {
        let value = self.value(key)?;
        if let Some(number) = value.as_integer() {
            let span = value.span().unwrap_or_default();
            self.wrong(
                key,
                span,
                "a mode is a text",
                format_args!("write `{key} = \"{number:04}\"`"),
            );
            return None;
        }
        self.parsed(key, parse_mode)
    }

    /// Meanings by exit code.
    pub(super) fn exit_codes(&mut self, key: &str) -> BTreeMap<i32, ExitMeaning> {
        let mut codes = BTreeMap::new();
        for (code, item, span) in self.entries(key) {
            let Some(number) = code.parse::<i32>().ok().filter(|number| number.to_string() == code)
            else {
                self.wrong(key, span, format_args!("`{code}` is no exit code"), "a whole number");
                continue;
            };
            let Some(word) = item.as_str() else {
                self.wrong(
                    key,
                    span,
                    format_args!("a word, not {}", kind_of(item)),
                    "`3010 = \"restart\"`",
                );
                continue;
            };
            if let Some(index) = MEANINGS.iter().position(|meaning| *meaning == word) {
                codes.insert(number, MEANING[index]);
            } else {
                let hint = match did_you_mean(word, MEANINGS.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("it may be {}", listed(MEANINGS.iter().copied())),
                };
                self.wrong(key, span, format_args!("`{word}` is no meaning"), hint);
            }
        }
        codes
    }
}

/// What the words of [`MEANINGS`] mean.
pub(crate) const MEANING: [ExitMeaning; 4] =
    [ExitMeaning::Done, ExitMeaning::Restart, ExitMeaning::Retry, ExitMeaning::Failed];

/// Whether a template can be a path on a machine, as far as one can say before it is expanded.
fn check_path(path: &Template) -> Result<(), String> {
    match path.0.first() {
        None => return Err("an empty path".to_owned()),
        Some(Part::Literal(bytes)) if bytes.first() != Some(&b'/') => {
            return Err(format!("`{path}` starts with neither `/` nor a variable"));
        }
        Some(_) => {}
    }
    // What stands between variables may be part of a name: only whole parts can climb.
    let mut skeleton = Vec::new();
    for part in &path.0 {
        match part {
            Part::Literal(bytes) => skeleton.extend_from_slice(bytes),
            Part::Variable(_) => skeleton.push(b'x'),
        }
    }
    if skeleton.contains(&0) {
        return Err(format!("`{}` holds a zero byte", path.to_string().escape_debug()));
    }
    if skeleton.split(|byte| *byte == b'/').any(|part| part == b"..") {
        return Err(format!("`{path}` climbs with `..`"));
    }
    Ok(())
}

/// Reads a mode in octal, at most `7777`.
pub(crate) fn parse_mode(text: &str) -> Result<u16, String> {
    let octal =
        (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    match u16::from_str_radix(text, 8) {
        Ok(mode) if octal => Ok(mode),
        _ => Err(format!("`{text}` is no mode: three or four octal digits")),
    }
}

impl Reader<'_> {
    /// Where a range of a text value stands in the source, escapes considered.
    pub(super) fn inside(&self, value: &Value, range: Range<usize>) -> Range<usize> {
        let whole = value.span().unwrap_or_default();
        let Some(raw) = self.text.get(whole.clone()) else { return whole };
        let Some(map) = offsets(raw) else { return whole };
        match (map.get(range.start), map.get(range.end.saturating_sub(1).max(range.start))) {
            (Some(start), Some(last)) => whole.start + start..whole.start + last + 1,
            _ => whole.end.saturating_sub(1)..whole.end,
        }
    }
}

/// For every byte of what a TOML string says, where it stands in what was written.
fn offsets(raw: &str) -> Option<Vec<usize>> {
    let quote = raw.get(..1).filter(|quote| matches!(*quote, "\"" | "'"))?;
    let triple = raw.len() >= 6 && raw.starts_with(&quote.repeat(3));
    let width = if triple { 3 } else { 1 };
    let mut at = width;
    let end = raw.len().checked_sub(width)?;
    if triple {
        at += if raw[at..].starts_with("\r\n") {
            2
        } else {
            usize::from(raw[at..].starts_with('\n'))
        };
    }
    let mut map = Vec::with_capacity(raw.len());
    while at < end {
        let rest = raw.get(at..end)?;
        let first = rest.chars().next()?;
        let (said, written) = if quote == "'" || first != '\\' {
            (first.len_utf8(), first.len_utf8())
        } else {
            escape_lengths(rest)?
        };
        map.extend((0..said).map(|byte| at + if said == written { byte } else { 0 }));
        at += written;
    }
    Some(map)
}

/// How many bytes an escape means, and how many it takes to write.
fn escape_lengths(rest: &str) -> Option<(usize, usize)> {
    let digits = match rest.as_bytes().get(1)? {
        b'x' => 2,
        b'u' => 4,
        b'U' => 8,
        b'\n' | b'\r' | b' ' | b'\t' => {
            let skipped = rest[1..].len() - rest[1..].trim_start().len();
            return Some((0, 1 + skipped));
        }
        _ => return Some((1, 2)),
    };
    let code = u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?;
    Some((char::from_u32(code)?.len_utf8(), 2 + digits))
}
