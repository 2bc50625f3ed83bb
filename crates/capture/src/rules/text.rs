use std::fmt;

use script::vocabulary::{TRIGGERS, trigger};
use serde::Deserialize;

use super::{Class, Rule, RuleChange, RuleKind, glob};

/// A layer of rules that cannot be used, with all that is wrong in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Lines(.problems))]
pub struct RulesError {
    /// What is wrong, in the order of the text.
    pub problems: Vec<RuleProblem>,
}

/// One thing wrong in a layer of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleProblem {
    /// The layer: `rules.toml`.
    pub layer: Box<str>,
    /// The line the rule starts at, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub text: String,
}

struct Lines<'a>(&'a [RuleProblem]);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerText {
    format: u32,
    #[serde(default)]
    rule: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RuleText {
    pattern: OneOrMany,
    class: ClassText,
    reason: String,
    #[serde(default)]
    except: OneOrMany,
    trigger: Option<String>,
    kind: Option<KindText>,
    change: Option<ChangeText>,
    #[serde(default)]
    empty: bool,
    #[serde(default)]
    outside_new_folders: bool,
    hint: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ClassText {
    Drop,
    Regenerate,
    Review,
    Keep,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KindText {
    File,
    Folder,
    Link,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ChangeText {
    Created,
    Changed,
    Deleted,
    Time,
}

/// Reads one layer of rules; `layer` is its name in reports.
///
/// # Errors
/// Text that is no rules file, and every rule that could never match or says too little.
pub fn parse_rules(layer: &str, text: &str) -> Result<Vec<Rule>, RulesError> {
    let problem = |line, text| RuleProblem { layer: layer.into(), line, text };
    let refuse = |span: Option<std::ops::Range<usize>>, message: &str| RulesError {
        problems: vec![problem(line_at(text, span.map_or(0, |span| span.start)), message.into())],
    };
    let document = toml_edit::Document::parse(text)
        .map_err(|error| refuse(error.span(), error.message().trim()))?;
    if let Some(format) = document.get("format").and_then(toml_edit::Item::as_integer)
        && format > 1
    {
        let message = format!("format {format} is newer than this program reads (1): update it");
        return Err(refuse(None, &message));
    }
    let starts: Vec<usize> = document
        .get("rule")
        .and_then(toml_edit::Item::as_array_of_tables)
        .into_iter()
        .flat_map(toml_edit::ArrayOfTables::iter)
        .map(|table| line_at(text, table.span().map_or(0, |span| span.start)))
        .collect();
    let read: LayerText = toml_edit::de::from_str(text)
        .map_err(|error| refuse(error.span(), error.message().trim()))?;
    if read.format != 1 {
        return Err(refuse(None, "write `format = 1` in the first line"));
    }
    let mut problems = Vec::new();
    let mut rules = Vec::new();
    for (index, rule) in read.rule.into_iter().enumerate() {
        let line = starts.get(index).copied().unwrap_or(1);
        match rule.into_rule(layer, line) {
            Ok(rule) => rules.push(rule),
            Err(texts) => problems.extend(texts.into_iter().map(|text| problem(line, text))),
        }
    }
    if problems.is_empty() { Ok(rules) } else { Err(RulesError { problems }) }
}

impl RuleText {
    fn into_rule(self, layer: &str, line: usize) -> Result<Rule, Vec<String>> {
        let patterns = self.pattern.into_vec();
        let except = self.except.into_vec();
        let mut wrong = Vec::new();
        if patterns.is_empty() {
            wrong.push("the rule has no `pattern`: say which paths it is about".to_owned());
        }
        for pattern in patterns.iter().chain(&except) {
            wrong.extend(why_never(pattern));
        }
        for exception in &except {
            if !patterns.iter().any(|pattern| may_meet(pattern, exception)) {
                wrong.push(format!(
                    "the exception `{exception}` lies outside every pattern of its rule: it can never match"
                ));
            }
        }
        if self.reason.trim().is_empty() {
            wrong.push("the rule has no `reason`: the report needs one".to_owned());
        }
        let class = match (self.class, self.trigger) {
            (ClassText::Regenerate, Some(name)) if trigger(&name).is_some() => {
                Class::Regenerate(name.into())
            }
            (ClassText::Regenerate, Some(name)) => {
                wrong.push(format!(
                    "`{name}` is no trigger: use one of {}",
                    TRIGGERS
                        .iter()
                        .map(|known| format!("`{}`", known.name))
                        .collect::<Vec<_>>()
                        .join(", ")
                ));
                Class::Drop
            }
            (ClassText::Regenerate, None) => {
                wrong.push("`class = \"regenerate\"` needs a `trigger`".to_owned());
                Class::Drop
            }
            (_, Some(name)) => {
                wrong.push(format!("`trigger = \"{name}\"` needs `class = \"regenerate\"`"));
                Class::Drop
            }
            (ClassText::Drop, None) => Class::Drop,
            (ClassText::Review, None) => Class::Review,
            (ClassText::Keep, None) => Class::Keep,
        };
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Rule {
            layer: layer.into(),
            line,
            patterns: patterns.into_iter().map(Into::into).collect(),
            except: except.into_iter().map(Into::into).collect(),
            class,
            reason: self.reason.into(),
            kind: self.kind.map(|kind| match kind {
                KindText::File => RuleKind::File,
                KindText::Folder => RuleKind::Folder,
                KindText::Link => RuleKind::Link,
            }),
            change: self.change.map(|change| match change {
                ChangeText::Created => RuleChange::Created,
                ChangeText::Changed => RuleChange::Changed,
                ChangeText::Deleted => RuleChange::Deleted,
                ChangeText::Time => RuleChange::Time,
            }),
            empty: self.empty,
            outside_new_folders: self.outside_new_folders,
            hint: self.hint.map(Into::into),
        })
    }
}

/// Why a pattern could never match a path, if so.
fn why_never(pattern: &str) -> Option<String> {
    let never = |why: &str| Some(format!("the pattern `{pattern}` can never match: {why}"));
    if !pattern.starts_with('/') {
        return never("target paths start with `/` (for a name anywhere write `/**/name`)");
    }
    if pattern.trim() != pattern {
        return never("it ends in a blank");
    }
    if pattern.split('/').any(|part| part.trim() != part) {
        return never("a part of it starts or ends in a blank; if it is meant, write it as `[ ]`");
    }
    if pattern.len() > 1 && pattern.ends_with('/') {
        return never("target paths do not end in `/`; a folder's name covers all below it");
    }
    if pattern.contains("//") || pattern.split('/').any(|part| part == "." || part == "..") {
        return never("target paths have no empty parts, no `.` and no `..`");
    }
    if let Err(error) = glob(pattern) {
        return Some(format!("`{pattern}` is no pattern: {}", error.kind()));
    }
    None
}

/// Whether something could match both, judged by the parts before the first wildcard.
fn may_meet(pattern: &str, exception: &str) -> bool {
    let literal = |text: &str| -> Vec<String> {
        text.split('/')
            .filter(|part| !part.is_empty())
            .take_while(|part| !part.contains(['*', '?', '[', '{', '\\']))
            .map(str::to_owned)
            .collect()
    };
    let (pattern, exception) = (literal(pattern), literal(exception));
    pattern.iter().zip(&exception).all(|(left, right)| left == right)
}

fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl RulesError {
    pub(super) fn of_rule(rule: &Rule, error: &globset::Error) -> Self {
        let text = error.to_string();
        Self { problems: vec![RuleProblem { layer: rule.layer.clone(), line: rule.line, text }] }
    }

    pub(super) fn too_large(error: &globset::Error) -> Self {
        let text = error.to_string();
        Self { problems: vec![RuleProblem { layer: "all layers".into(), line: 1, text }] }
    }
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.layer, self.line, self.text)
    }
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
