//! Problems as people and programs read them.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    sync::Arc,
};

use miette::{Diagnostic, GraphicalReportHandler, LabeledSpan, NamedSource, SourceCode};
use script::{Part, Problem, Severity};
use serde_json::{Value, json};

use super::project::Source;

/// Problems of one project's files, with the texts they are about.
#[derive(Default)]
pub(super) struct Report {
    found: Vec<Located>,
}

struct Located {
    problem: Problem,
    /// The file's name, and its line and column from 1, where the problem has any.
    file: Option<String>,
    at: Option<(usize, usize)>,
    source: Option<NamedSource<Arc<str>>>,
}

impl Report {
    pub(super) fn add_all(&mut self, problems: &[Problem], source: Option<&Source>) {
        for problem in problems {
            self.add(problem, source);
        }
    }

    pub(super) fn add(&mut self, problem: &Problem, source: Option<&Source>) {
        let at = match (&problem.position, &problem.place.part) {
            (Some(position), _) => Some((position.line, position.column)),
            (None, Part::FilesMeta { line }) => Some((*line, 1)),
            (None, _) => None,
        };
        let snippet = source.filter(|_| problem.position.is_some());
        self.found.push(Located {
            problem: problem.clone(),
            file: source.map(|source| source.name.clone()),
            at,
            source: snippet.map(|source| NamedSource::new(&source.name, Arc::clone(&source.text))),
        });
    }

    pub(super) fn count(&self, severity: Severity) -> usize {
        self.found.iter().filter(|found| found.problem.severity == severity).count()
    }

    /// "2 errors, 1 warning", or "nothing is wrong".
    pub(super) fn summary(&self) -> String {
        let counts =
            [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")];
        let said: Vec<String> = counts
            .into_iter()
            .filter_map(|(severity, word)| match self.count(severity) {
                0 => None,
                1 => Some(format!("1 {word}")),
                count => Some(format!("{count} {word}s")),
            })
            .collect();
        if said.is_empty() { "nothing is wrong".to_owned() } else { said.join(", ") }
    }

    pub(super) fn json(&self) -> Value {
        let problems: Vec<Value> = self
            .found
            .iter()
            .map(|found| {
                json!({
                    "severity": found.problem.severity,
                    "file": found.file,
                    "line": found.at.map(|at| at.0),
                    "column": found.at.map(|at| at.1),
                    "bytes": found.problem.position.as_ref().map(|at| [at.span.start, at.span.end]),
                    "place": found.problem.place,
                    "message": found.problem.to_string(),
                    "hint": found.problem.hint,
                })
            })
            .collect();
        json!({
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "notes": self.count(Severity::Note),
            "problems": problems,
        })
    }

    /// Writes all problems to standard error: with snippets on a terminal, a line each elsewhere.
    pub(super) fn write(&self) -> io::Result<()> {
        let mut out = io::stderr().lock();
        let graphical = out.is_terminal().then(GraphicalReportHandler::new);
        for found in &self.found {
            match &graphical {
                Some(handler) => {
                    let mut text = String::new();
                    if handler.render_report(&mut text, found).is_ok() {
                        writeln!(out, "{text}")?;
                    }
                }
                None => writeln!(out, "{}", Plain(found))?,
            }
        }
        Ok(())
    }
}

/// `file:line:column: severity: message`, and the hint on a line of its own.
struct Plain<'f>(&'f Located);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Located { problem, file, at, .. } = self.0;
        if let Some(file) = file {
            write!(f, "{file}:")?;
        }
        if let Some((line, column)) = at {
            write!(f, "{line}:{column}:")?;
        }
        if file.is_some() {
            write!(f, " ")?;
        }
        write!(f, "{}: {problem}", problem.severity)?;
        match &problem.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.problem, f)
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, &self.file, self.at) {
            // The snippet does not say it.
            (None, Some(file), Some((line, _))) => write!(f, "{file}:{line}: {}", self.problem),
            (None, Some(file), None) => write!(f, "{file}: {}", self.problem),
            _ => fmt::Display::fmt(&self.problem, f),
        }
    }
}

impl std::error::Error for Located {}

impl Diagnostic for Located {
    fn severity(&self) -> Option<miette::Severity> {
        self.problem.severity()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.problem.labels()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }
}
