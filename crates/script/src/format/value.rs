use toml_parser::parser::EventKind;

use super::tokens::Tokens;
use crate::print::WIDTH;

/// A value as it is written, with its comments.
pub(super) enum Written<'t> {
    Scalar(&'t str),
    List(Entries<'t>),
    Table(Entries<'t>),
}

/// What stands in a list or table.
#[derive(Default)]
pub(super) struct Entries<'t> {
    entries: Vec<Entry<'t>>,
    /// Comments after the last entry.
    rest: Vec<&'t str>,
}

struct Entry<'t> {
    /// Comments on lines before it.
    before: Vec<&'t str>,
    /// Its key, in a table.
    key: Option<String>,
    value: Written<'t>,
    /// A comment on its line.
    beside: Option<&'t str>,
}

/// Reads a value; the tokens stand before it.
pub(super) fn read<'t>(tokens: &mut Tokens<'t>) -> Written<'t> {
    match tokens.peek() {
        Some(EventKind::ArrayOpen) => Written::List(read_entries(tokens, EventKind::ArrayClose)),
        Some(EventKind::InlineTableOpen) => {
            Written::Table(read_entries(tokens, EventKind::InlineTableClose))
        }
        _ => Written::Scalar(tokens.take()),
    }
}

fn read_entries<'t>(tokens: &mut Tokens<'t>, close: EventKind) -> Entries<'t> {
    tokens.next();
    let mut found = Entries::default();
    // Whether the last entry, or the comma after it, is on this line.
    let mut beside = false;
    while let Some(kind) = tokens.peek() {
        if kind == close {
            tokens.next();
            break;
        }
        match kind {
            EventKind::Newline => {
                tokens.next();
                beside = false;
            }
            EventKind::ValueSep => {
                tokens.next();
                beside = true;
            }
            EventKind::Comment => {
                let text = tokens.take().trim_end();
                match found.entries.last_mut() {
                    Some(last) if beside && last.beside.is_none() && found.rest.is_empty() => {
                        last.beside = Some(text);
                    }
                    _ => found.rest.push(text),
                }
            }
            _ => {
                let before = std::mem::take(&mut found.rest);
                let key = (kind == EventKind::SimpleKey).then(|| {
                    let key = tokens.key_path();
                    skip_comments(tokens, EventKind::KeyValSep, &mut found.rest);
                    tokens.next();
                    key
                });
                let value = read(tokens);
                found.entries.push(Entry { before, key, value, beside: None });
                beside = true;
            }
        }
    }
    found
}

/// Between a key and its `=` nothing but space can stand; whatever does is not lost.
fn skip_comments<'t>(tokens: &mut Tokens<'t>, until: EventKind, kept: &mut Vec<&'t str>) {
    while tokens.peek().is_some_and(|kind| kind != until) {
        kept.push(tokens.take());
    }
}

impl Written<'_> {
    /// The value as text: on one line after `before` characters where that fits, else broken, with
    /// `indent` spaces before its end.
    pub(super) fn write(&self, before: usize, indent: usize) -> String {
        match self {
            Self::Scalar(text) => (*text).to_owned(),
            Self::List(entries) => {
                if !entries.has_comments() {
                    let line = self.line();
                    let fits = before + line.chars().count() <= WIDTH && !line.contains('\n');
                    if fits || entries.entries.is_empty() {
                        return line;
                    }
                }
                entries.lines('[', ']', indent)
            }
            Self::Table(entries) if entries.has_comments() => entries.lines('{', '}', indent),
            Self::Table(_) => self.line(),
        }
    }

    /// The value on one line; it has no comments.
    fn line(&self) -> String {
        match self {
            Self::Scalar(text) => (*text).to_owned(),
            Self::List(entries) => format!("[{}]", entries.joined()),
            Self::Table(entries) if entries.entries.is_empty() => "{}".to_owned(),
            Self::Table(entries) => format!("{{ {} }}", entries.joined()),
        }
    }

    fn has_comments(&self) -> bool {
        match self {
            Self::Scalar(_) => false,
            Self::List(entries) | Self::Table(entries) => entries.has_comments(),
        }
    }
}

impl Entries<'_> {
    fn has_comments(&self) -> bool {
        !self.rest.is_empty()
            || self.entries.iter().any(|entry| {
                !entry.before.is_empty() || entry.beside.is_some() || entry.value.has_comments()
            })
    }

    fn joined(&self) -> String {
        let entries: Vec<String> = self
            .entries
            .iter()
            .map(|entry| format!("{}{}", entry.name(), entry.value.line()))
            .collect();
        entries.join(", ")
    }

    fn lines(&self, open: char, close: char, indent: usize) -> String {
        let inner = indent + 4;
        let margin = " ".repeat(inner);
        let mut text = format!("{open}\n");
        let mut line = |parts: &[&str]| {
            text.push_str(&margin);
            text.push_str(&parts.concat());
            text.push('\n');
        };
        for entry in &self.entries {
            entry.before.iter().for_each(|comment| line(&[comment]));
            let name = entry.name();
            let value = entry.value.write(inner + name.chars().count(), inner);
            match entry.beside {
                Some(comment) => line(&[&name, &value, ", ", comment]),
                None => line(&[&name, &value, ","]),
            }
        }
        self.rest.iter().for_each(|comment| line(&[comment]));
        text.push_str(&" ".repeat(indent));
        text.push(close);
        text
    }
}

impl Entry<'_> {
    fn name(&self) -> String {
        self.key.as_ref().map(|key| format!("{key} = ")).unwrap_or_default()
    }
}
