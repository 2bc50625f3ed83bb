//! What came of a capture, for people and for scripts.

use std::{error::Error, io::Write as _, path::PathBuf, process::ExitCode};

use operate::Exit;
use serde::Serialize;
use session::Finished;

/// What a finished capture comes to.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Summary {
    /// Paths that differ.
    pub(super) changes: usize,
    /// Paths that were touched and ended as they began.
    pub(super) touched: usize,
    /// How the installer ended.
    pub(super) exit_code: Option<i32>,
    /// What people should know.
    pub(super) notes: Vec<String>,
    /// Paths at which two observers of the same run differ.
    pub(super) disagreements: Option<Vec<String>>,
    /// The project folder.
    pub(super) project: Option<PathBuf>,
    /// The session folder, if it is kept.
    pub(super) session: Option<PathBuf>,
}

/// What is answered.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Answer {
    result: Exit,
    exit_code: u8,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<Summary>,
}

impl Summary {
    pub(super) fn of(finished: &Finished) -> Self {
        let notes = &finished.notes;
        let mut sentences = notes.costs.clone();
        sentences.extend(notes.left_running.iter().map(|left| {
            format!(
                "`{}` (process {}) outlived the installer and was ended",
                left.name, left.process
            )
        }));
        sentences.extend(
            notes
                .skips
                .iter()
                .map(|skip| format!("left out `{}`: {}", skip.path.shown(), skip.reason)),
        );
        let disagreements = notes
            .disagreements
            .as_ref()
            .map(|all| all.iter().map(|one| format!("{one}")).collect());
        Self {
            changes: finished.changes.changes.len(),
            touched: finished.changes.touched.len(),
            exit_code: notes.exit_code,
            notes: sentences,
            disagreements,
            project: None,
            session: None,
        }
    }
}

impl Answer {
    fn new(result: Exit, message: String) -> Self {
        Self { result, exit_code: result as u8, message, lines: Vec::new(), capture: None }
    }

    pub(super) fn done(message: String) -> Self {
        Self::new(Exit::Done, message)
    }

    pub(super) fn lines(mut lines: Vec<String>) -> Self {
        let last = lines.pop().unwrap_or_default();
        Self { lines, ..Self::done(last) }
    }

    /// The answer to a finished capture; `report` says what became of each change.
    pub(super) fn captured(summary: Summary, report: Option<String>) -> Self {
        let disagree = summary.disagreements.as_ref().is_some_and(|all| !all.is_empty());
        let failed = summary.exit_code.is_some_and(|code| code != 0);
        let mut lines: Vec<String> =
            summary.notes.iter().map(|note| format!("note: {note}")).collect();
        lines.extend(report.iter().flat_map(|report| report.lines().map(str::to_owned)));
        lines.extend(
            summary
                .disagreements
                .iter()
                .flatten()
                .map(|one| format!("the observers differ: {one}")),
        );
        let place = match (&summary.project, &summary.session) {
            (Some(project), _) => format!("the project is `{}`", project.display()),
            (None, Some(session)) => format!(
                "the session is `{}`: `packhorse capture finish --session {} -o PROJECT` makes a project of it",
                session.display(),
                session.display()
            ),
            (None, None) => String::new(),
        };
        let ended = match summary.exit_code {
            Some(code) if code != 0 => format!("the installer ended with exit code {code}; "),
            _ => String::new(),
        };
        let message = format!("{ended}{} paths changed; {place}", summary.changes);
        let result = if disagree || failed { Exit::Failed } else { Exit::Done };
        Self { lines, capture: Some(summary), ..Self::new(result, message) }
    }

    /// An error and its causes.
    pub(super) fn of_error(result: Exit, error: &dyn Error) -> Self {
        Self::new(result, model::with_causes(error))
    }

    /// Says it, and ends with its code.
    pub(super) fn tell(&self, json: bool) -> ExitCode {
        // A reader that went away is no reason to fail.
        if json {
            let _ =
                writeln!(std::io::stdout(), "{}", serde_json::to_string(self).unwrap_or_default());
        } else if matches!(self.result, Exit::Done) {
            for line in &self.lines {
                let _ = writeln!(std::io::stdout(), "{line}");
            }
            let _ = writeln!(std::io::stdout(), "{}", self.message);
        } else {
            self.lines.iter().for_each(|line| say(line));
            say(&self.message);
        }
        self.result.into()
    }
}

pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
