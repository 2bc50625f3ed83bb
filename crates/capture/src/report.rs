//! The report: every change that is no step of the script, and why; and what a person should look at.

mod summary;

use model::MachinePath;
use serde::{Deserialize, Serialize};

use crate::{Class, Leak, Rules, Touch, Verdicts};

/// What a draft left out, understood, or wants looked at. Written as `capture/report.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Report {
    /// The format of this text.
    pub format: u32,
    /// How much there was.
    pub counts: Counts,
    /// What a person should decide.
    pub review: Vec<Remark>,
    /// What will probably not work on the target.
    pub warning: Vec<Remark>,
    /// What is worth knowing.
    pub note: Vec<Remark>,
    /// What the machine's package manager installed besides: the package may need it.
    pub dependency: Vec<Dependency>,
    /// Facts of the reference machine found in the payload.
    pub leak: Vec<Leak>,
    /// What was left out, by rule.
    pub excluded: Vec<Excluded>,
    /// What became steps of another kind, or follows from them.
    pub understood: Vec<Understood>,
    /// Existing files the installer touched and left as they were.
    pub touched: Vec<Touched>,
    /// Patterns that matched nothing.
    pub unmatched: Vec<Unmatched>,
}

/// How much there was. Every change is counted once: `changes` is the sum of the other three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Counts {
    /// Paths that differ.
    pub changes: usize,
    /// Those that became file steps.
    pub carried: usize,
    /// Those that became steps of another kind, or follow from them.
    pub understood: usize,
    /// Those left out.
    pub excluded: usize,
    /// New folders among those carried.
    pub folders: usize,
    /// Existing files touched and left as they were; no changes.
    pub touched: usize,
}

/// A sentence about a path, or about the whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Remark {
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<MachinePath>,
    /// What there is to say.
    pub text: String,
}

/// A package of the machine's package manager that came with the installer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Dependency {
    /// Whose word it is: `dpkg`.
    pub manager: String,
    /// Its name.
    pub name: String,
    /// The version installed.
    pub version: String,
    /// What was there before; empty if nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub before: String,
}

/// Changes left out by one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Excluded {
    /// Where the rule stands: `linux.toml:12`.
    pub rule: String,
    /// `drop`, or `regenerate`.
    pub class: String,
    /// The trigger that makes it on the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// The rule's reason.
    pub reason: String,
    /// What was left out.
    pub paths: Vec<MachinePath>,
}

/// A change a recogniser consumed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Understood {
    /// Where it was.
    pub path: MachinePath,
    /// What it became.
    pub r#as: String,
}

/// A file the installer touched and left as it was (Q168776).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Touched {
    /// The file.
    pub path: MachinePath,
    /// How it was touched.
    pub how: Touch,
    /// Whether the package carries it all the same.
    pub carried: bool,
}

/// A pattern that matched nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Unmatched {
    /// Where its rule stands.
    pub rule: String,
    /// The pattern.
    pub pattern: String,
}

/// A report that cannot be read back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the report is damaged: {reason}")]
pub struct ReadReportError {
    reason: String,
}

impl Remark {
    pub(crate) fn at(path: &MachinePath, text: impl Into<String>) -> Self {
        Self { path: Some(path.clone()), text: text.into() }
    }

    pub(crate) fn of(text: impl Into<String>) -> Self {
        Self { path: None, text: text.into() }
    }
}

impl Report {
    /// A report of what the rules left out, and which of their patterns had nothing to do.
    pub(crate) fn of_rules(rules: &Rules, verdicts: &Verdicts) -> Self {
        let mut report = Self { format: 1, ..Self::default() };
        for (index, rule) in rules.all().iter().enumerate() {
            let paths: Vec<MachinePath> = verdicts
                .by_path
                .iter()
                .filter(|(_, decider)| **decider == index)
                .map(|(path, _)| path.clone())
                .collect();
            let reason = rule.reason.to_string();
            match &rule.class {
                Class::Keep => {}
                Class::Review => report
                    .review
                    .extend(paths.into_iter().map(|path| Remark::at(&path, reason.as_str()))),
                Class::Drop | Class::Regenerate(_) if paths.is_empty() => {}
                Class::Drop => {
                    let class = "drop".to_owned();
                    let excluded =
                        Excluded { rule: rule.id(), class, trigger: None, reason, paths };
                    report.excluded.push(excluded);
                }
                Class::Regenerate(trigger) => {
                    let (class, trigger) = ("regenerate".to_owned(), Some(trigger.to_string()));
                    report.excluded.push(Excluded {
                        rule: rule.id(),
                        class,
                        trigger,
                        reason,
                        paths,
                    });
                }
            }
        }
        for (&index, positions) in &verdicts.idle_patterns {
            let rule = &rules.all()[index];
            report.unmatched.extend(positions.iter().map(|&position| Unmatched {
                rule: rule.id(),
                pattern: rule.patterns[position].to_string(),
            }));
        }
        report
    }

    /// The text of `capture/report.toml`.
    pub fn to_toml(&self) -> String {
        toml_edit::ser::to_string_pretty(self).unwrap_or_default()
    }

    /// Reads what [`Report::to_toml`] wrote.
    pub fn from_toml(text: &str) -> Result<Self, ReadReportError> {
        toml_edit::de::from_str(text)
            .map_err(|error| ReadReportError { reason: error.message().to_owned() })
    }
}
