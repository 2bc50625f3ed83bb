use std::{fmt, ops::Range};

use serde::Serialize;

/// Something wrong, doubtful or worth knowing about a script, and where.
///
/// `Display` is the whole sentence with its place; [`miette::Diagnostic`] adds the snippet where the
/// caller attaches the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Which part of the project it is about.
    pub place: Place,
    /// What is wrong, and why.
    pub message: String,
    /// What to type instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where in the text, if a text was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Box<Position>>,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It will surprise somebody.
    Warning,
    /// It cannot be compiled.
    Error,
}

/// The part of a project a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Place {
    /// The table.
    pub part: Part,
    /// The key in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<str>>,
}

/// A part of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// `package.toml` as a whole.
    Script,
    /// `[package]`
    Package,
    /// `[variables]`, one of them.
    Variable(Box<str>),
    /// `[[step]]`
    Step {
        /// Counted from 1.
        number: usize,
        /// The key that names it, where one was found.
        kind: Option<Box<str>>,
    },
    /// `[program.NAME]`
    Program(Box<str>),
    /// A line of `files.meta`, counted from 1.
    FilesMeta {
        /// The line.
        line: usize,
    },
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Position {
    /// The bytes of the text it is about.
    pub span: Range<usize>,
    /// The line of its start, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
}

impl Place {
    /// A whole part.
    pub fn of(part: Part) -> Self {
        Self { part, key: None }
    }

    /// A key of a part.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self { part: self.part.clone(), key: Some(key.into()) }
    }
}

impl Problem {
    /// A problem of this severity.
    pub fn new(severity: Severity, place: Place, message: impl Into<String>) -> Self {
        Self { severity, place, message: message.into(), hint: None, position: None }
    }

    /// An error.
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, place, message)
    }

    /// The same problem with something to type.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place.part, &self.place.key) {
            (Part::Script, None) => f.write_str(&self.message),
            _ => write!(f, "{}: {}", self.place, self.message),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Part::Script => f.write_str("the script")?,
            Part::Package => f.write_str("`[package]`")?,
            Part::Variable(name) => write!(f, "variable `{name}`")?,
            Part::Step { number, kind: Some(kind) } => write!(f, "step {number} (`{kind}`)")?,
            Part::Step { number, kind: None } => write!(f, "step {number}")?,
            Part::Program(name) => write!(f, "program `{name}`")?,
            Part::FilesMeta { line } => write!(f, "files.meta, line {line}")?,
        }
        match (&self.part, &self.key) {
            (Part::Step { kind: Some(kind), .. }, Some(key)) if kind == key => Ok(()),
            (_, Some(key)) => write!(f, ", `{key}`"),
            (_, None) => Ok(()),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl std::error::Error for Problem {}

impl miette::Diagnostic for Problem {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Note => miette::Severity::Advice,
            Severity::Warning => miette::Severity::Warning,
            Severity::Error => miette::Severity::Error,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        let position = self.position.as_ref()?;
        let span = (position.span.start, position.span.len());
        Some(Box::new(std::iter::once(miette::LabeledSpan::new_with_span(None, span))))
    }
}

/// Where the lines of a text start, to say positions of many problems cheaply.
#[derive(Debug)]
pub(crate) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { text, starts: std::iter::once(0).chain(ends.map(|(end, _)| end + 1)).collect() }
    }

    /// The position of `span`, which may reach beyond the text.
    pub(crate) fn position(&self, span: Range<usize>) -> Position {
        let floor = |at: usize| self.text.floor_char_boundary(at.min(self.text.len()));
        let (start, end) = (floor(span.start), floor(span.end.max(span.start)));
        let line = self.starts.partition_point(|&line| line <= start);
        let column = self.text[self.starts[line - 1]..start].chars().count() + 1;
        Position { span: start..end, line, column }
    }
}

/// What of `known` somebody who wrote `word` may have meant.
pub(crate) fn did_you_mean<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::{Lines, did_you_mean};

    #[test]
    fn positions_count_characters_from_one() {
        let lines = Lines::of("a\näöx\n");
        let at = |span| {
            let position = lines.position(span);
            (position.line, position.column)
        };
        assert_eq!(at(0..1), (1, 1));
        assert_eq!(at(6..7), (2, 3));
        assert_eq!(at(8..8), (3, 1));
        assert_eq!(at(100..200), (3, 1));
    }

    #[test]
    fn near_misses_are_recognised() {
        assert_eq!(did_you_mean("instal-tree", ["install-tree", "remove"]), Some("install-tree"));
        assert_eq!(did_you_mean("zzz", ["install-tree", "remove"]), None);
    }
}
