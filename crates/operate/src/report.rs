use std::fmt::Write as _;

use change::Recovered;
use install::{Counts, Difference, Leftover};
use model::{MachinePath, PackageName, Time, Version};
use serde::Serialize;

use crate::{Exit, InUse};

/// What came of an operation: the same for people, for scripts and for the log.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The exit code as a word.
    pub result: Exit,
    /// The exit code.
    pub exit_code: u8,
    /// The sentence that matters most.
    pub message: String,
    /// Causes, from the nearest to the deepest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What people should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How many of what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// What stays.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<Leftover>,
    /// Differences to the receipt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// Programs that run with replaced files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_use: Vec<InUse>,
    /// Installed packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<Vec<Listed>>,
    /// What would be done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listed {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// One line about it.
    pub summary: String,
    /// When it came, by the machine's clock.
    pub installed: Time,
    /// Files that were replaced while programs ran with them, and still do.
    pub restart_pending: Vec<InUse>,
}

impl Report {
    /// A report of nothing but its result.
    pub fn new(result: Exit, message: impl Into<String>) -> Self {
        Self {
            result,
            exit_code: result as u8,
            message: message.into(),
            causes: Vec::new(),
            notes: Vec::new(),
            counts: None,
            leftovers: Vec::new(),
            differences: Vec::new(),
            in_use: Vec::new(),
            packages: None,
            plan: Vec::new(),
        }
    }

    /// The report of an error, its causes one by one.
    pub fn of_error(result: Exit, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut report = Self::new(result, error.to_string());
        let mut cause = error.source();
        while let Some(next) = cause {
            if lacks_rights(next) {
                report.notes.push(
                    "only its administrator may change this machine: run it as root, or as administrator".to_owned(),
                );
            }
            let text = next.to_string();
            // A cause that its error already quotes is said once.
            if !report.message.contains(&text) {
                report.causes.push(text);
            }
            cause = next.source();
        }
        report
    }

    /// What had been interrupted, as notes before all others.
    #[must_use]
    pub fn with_recovered(mut self, recovered: &[Recovered]) -> Self {
        let notes = recovered.iter().filter_map(sentence);
        self.notes.splice(0..0, notes.collect::<Vec<_>>());
        self
    }

    /// The report as lines for people.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for line in &self.plan {
            let _ = writeln!(text, "would {line}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        for left in &self.leftovers {
            let _ = writeln!(text, "left: {} — {}", left.path.shown(), left.reason);
        }
        for one in &self.differences {
            let _ = writeln!(text, "differs: {} — {}", one.path.shown(), one.what);
        }
        for one in &self.in_use {
            let _ = writeln!(
                text,
                "in use: {} by `{}` (process {})",
                one.path, one.program, one.process
            );
        }
        for package in self.packages.iter().flatten() {
            let _ = write!(text, "{} {}", package.name, package.version);
            if !package.summary.is_empty() {
                let _ = write!(text, "  {}", package.summary);
            }
            let _ = writeln!(text);
            let paths: std::collections::BTreeSet<&MachinePath> =
                package.restart_pending.iter().map(|one| &one.path).collect();
            for path in paths {
                let _ = writeln!(text, "  restart pending: {path}");
            }
        }
        let _ = writeln!(text, "{}", self.message);
        for cause in &self.causes {
            let _ = writeln!(text, "  because {cause}");
        }
        text
    }

    /// The report as one JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Whether this is a refusal that root would not have met.
fn lacks_rights(error: &(dyn std::error::Error + 'static)) -> bool {
    let denied = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
    denied && !crate::platform::is_administrator()
}

fn sentence(recovered: &Recovered) -> Option<String> {
    match recovered {
        Recovered::Forgotten => None,
        Recovered::RolledBack(header, notes) => Some(format!(
            "an interrupted {} of {} was taken back{}",
            word(header),
            header.package,
            notes.iter().fold(String::new(), |all, note| format!("{all}; {note}"))
        )),
        Recovered::TakenBack(header, notes) => Some(format!(
            "an interrupted roll-back of {} came to its end{}",
            header.package,
            notes.iter().fold(String::new(), |all, note| format!("{all}; {note}"))
        )),
        Recovered::Finished(header) => {
            Some(format!("an interrupted {} of {} was finished", word(header), header.package))
        }
    }
}

fn word(header: &change::TransactionHeader) -> &'static str {
    match header.operation {
        change::Operation::Install => "installation",
        change::Operation::Update => "update",
        change::Operation::Uninstall => "uninstallation",
    }
}
