//! Noise rules: data that says which changes are no part of a package, and why.

mod text;

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use model::{Kind, MachinePath};

use crate::{Change, ChangeSet};

pub use text::{RuleProblem, RulesError, parse_rules};

/// The rules shipped for Linux machines, in the form [`parse_rules`] reads.
pub const LINUX_RULES: &str = include_str!("../rules/linux.toml");
/// The rules we ship for Windows machines, Wine prefixes among them, as text.
pub const WINDOWS_RULES: &str = include_str!("../rules/windows.toml");

/// What happens to a change a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// It is left out, and listed.
    Drop,
    /// It is left out, and the trigger of this name makes it on the target.
    Regenerate(Box<str>),
    /// It stays in, and a person is asked to look at it.
    Review,
    /// It stays in, whatever earlier rules say.
    Keep,
}

/// What a path must hold for a rule to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// A regular file, by whatever name.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
}

/// What must have become of a path for a rule to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleChange {
    /// There was nothing before.
    Created,
    /// There was something before, and there is now.
    Changed,
    /// There is nothing any more.
    Deleted,
    /// Only the modification time moved.
    Time,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The layer it comes from: `linux.toml`.
    pub layer: Box<str>,
    /// The line it starts at, from 1.
    pub line: usize,
    /// Globs over target paths. A path matches with all below it.
    pub patterns: Vec<Box<str>>,
    /// Globs that take paths out again.
    pub except: Vec<Box<str>>,
    /// What happens.
    pub class: Class,
    /// Why, for the report.
    pub reason: Box<str>,
    /// What the path must hold.
    pub kind: Option<RuleKind>,
    /// What must have become of it.
    pub change: Option<RuleChange>,
    /// Whether it must be an empty file.
    pub empty: bool,
    /// Whether it must lie outside folders that came with the installer.
    pub outside_new_folders: bool,
    /// The package manager whose database this is: `dpkg`, `rpm`.
    pub hint: Option<Box<str>>,
}

/// Layers of rules, ready to match: those shipped, then the machine's, then the project's.
#[derive(Debug)]
pub struct Rules {
    all: Vec<Rule>,
    patterns: GlobSet,
    /// The rule, and the position in it, of each pattern.
    pattern_of: Vec<(usize, usize)>,
    exceptions: GlobSet,
    /// The rule of each exception.
    exception_of: Vec<usize>,
}

/// What the rules say of a change set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// The rule that decides, by position, for every path one matches.
    pub by_path: BTreeMap<MachinePath, usize>,
    /// For every rule, the patterns that matched nothing, by position; a later rule may still have decided.
    pub idle_patterns: BTreeMap<usize, Vec<usize>>,
}

impl Rule {
    /// How the report names it: `linux.toml:12`.
    pub fn id(&self) -> String {
        format!("{}:{}", self.layer, self.line)
    }
}

impl Rules {
    /// Joins layers; of the rules that match a path the last one decides.
    ///
    /// # Errors
    /// A glob that does not compile, as [`parse_rules`] would have said.
    pub fn new(layers: Vec<Vec<Rule>>) -> Result<Self, RulesError> {
        Self::of(layers, &glob)
    }

    fn of(layers: Vec<Vec<Rule>>, glob: MakeGlob<'_>) -> Result<Self, RulesError> {
        let rules: Vec<Rule> = layers.into_iter().flatten().collect();
        let mut patterns = GlobSetBuilder::new();
        let mut exceptions = GlobSetBuilder::new();
        let (mut pattern_of, mut exception_of) = (Vec::new(), Vec::new());
        for (index, rule) in rules.iter().enumerate() {
            for (position, pattern) in rule.patterns.iter().enumerate() {
                patterns.add(glob(pattern).map_err(|error| RulesError::of_rule(rule, &error))?);
                pattern_of.push((index, position));
            }
            for pattern in &rule.except {
                exceptions.add(glob(pattern).map_err(|error| RulesError::of_rule(rule, &error))?);
                exception_of.push(index);
            }
        }
        let build =
            |set: GlobSetBuilder| set.build().map_err(|error| RulesError::too_large(&error));
        let (patterns, exceptions) = (build(patterns)?, build(exceptions)?);
        Ok(Self { all: rules, patterns, pattern_of, exceptions, exception_of })
    }

    /// The shipped rules for Linux, with further layers after them.
    ///
    /// # Errors
    /// As [`Rules::new`].
    pub fn linux_and(layers: Vec<Vec<Rule>>) -> Result<Self, RulesError> {
        let mut all = vec![parse_rules("linux.toml", LINUX_RULES)?];
        all.extend(layers);
        Self::new(all)
    }

    /// Our Windows rules, then others, the later the stronger. They match names in any case, as Windows does:
    /// `C:\Windows` is `windows` in a Wine prefix.
    ///
    /// # Errors
    /// A rule that makes no sense.
    pub fn windows_and(layers: Vec<Vec<Rule>>) -> Result<Self, RulesError> {
        let mut all = vec![parse_rules("windows.toml", WINDOWS_RULES)?];
        all.extend(layers);
        Self::of(all, &glob_of_any_case)
    }

    /// The rules in order; [`Verdicts`] name them by position.
    pub fn all(&self) -> &[Rule] {
        &self.all
    }

    /// Says which rule decides each change.
    pub fn judge(&self, changes: &ChangeSet) -> Verdicts {
        let mut seen = Seen::default();
        let mut matched = vec![false; self.pattern_of.len()];
        let mut by_path = BTreeMap::new();
        for (path, change) in &changes.changes {
            let covering = seen.covering(self, path);
            let mut deciding: Option<usize> = None;
            for &pattern in &covering.patterns {
                let (index, _) = self.pattern_of[pattern];
                if covering.exceptions.contains(&index)
                    || !self.all[index].applies(path, change, changes, &self.patterns_of(index))
                {
                    continue;
                }
                matched[pattern] = true;
                deciding = deciding.max(Some(index));
            }
            if let Some(index) = deciding {
                by_path.insert(path.clone(), index);
            }
        }
        let mut idle_patterns: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (pattern, _) in matched.iter().enumerate().filter(|(_, matched)| !**matched) {
            let (index, position) = self.pattern_of[pattern];
            idle_patterns.entry(index).or_default().push(position);
        }
        Verdicts { by_path, idle_patterns }
    }

    /// The rule that decides a path which holds a file and did not change: rules about what became of a
    /// path say nothing of it.
    pub(crate) fn of_unchanged_file<'p>(
        &self,
        paths: impl Iterator<Item = &'p MachinePath>,
    ) -> BTreeMap<&'p MachinePath, usize> {
        let mut seen = Seen::default();
        let speaks = |rule: &Rule| {
            rule.change.is_none()
                && !rule.empty
                && rule.kind.is_none_or(|kind| kind == RuleKind::File)
        };
        let mut deciding = BTreeMap::new();
        for path in paths {
            let covering = seen.covering(self, path);
            let rules = covering.patterns.iter().map(|&pattern| self.pattern_of[pattern].0);
            let last = rules
                .filter(|rule| !covering.exceptions.contains(rule) && speaks(&self.all[*rule]))
                .max();
            deciding.extend(last.map(|rule| (path, rule)));
        }
        deciding
    }

    fn patterns_of(&self, rule: usize) -> impl Fn(&MachinePath) -> bool + '_ {
        move |path| {
            self.patterns
                .matches_candidate(&Candidate::from_bytes(path.as_bytes()))
                .into_iter()
                .any(|pattern| self.pattern_of[pattern].0 == rule)
        }
    }
}

impl Class {
    /// Whether what it decides stays out of the script.
    pub fn leaves_out(&self) -> bool {
        matches!(self, Self::Drop | Self::Regenerate(_))
    }
}

impl Rule {
    fn applies(
        &self,
        path: &MachinePath,
        change: &Change,
        changes: &ChangeSet,
        names: &impl Fn(&MachinePath) -> bool,
    ) -> bool {
        self.kind.is_none_or(|kind| kind == kind_of(change))
            && self.change.is_none_or(|wanted| wanted.fits(change))
            && (!self.empty || is_empty_file(change))
            && (!self.outside_new_folders || !inside_new_folder(path, changes, names))
    }
}

impl RuleChange {
    fn fits(self, change: &Change) -> bool {
        match (self, &change.before, &change.after) {
            (Self::Created, None, Some(_))
            | (Self::Changed, Some(_), Some(_))
            | (Self::Deleted, Some(_), None) => true,
            (Self::Time, Some(before), Some(after)) => {
                let mut meta = before.meta.clone();
                meta.modified = after.meta.modified;
                crate::same_content(&before.kind, &after.kind) && meta == after.meta
            }
            _ => false,
        }
    }
}

/// A glob whose `*` stays within one part of a path.
pub(crate) fn glob(pattern: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build()
}

type MakeGlob<'a> = &'a dyn Fn(&str) -> Result<globset::Glob, globset::Error>;

fn glob_of_any_case(pattern: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .case_insensitive(true)
        .build()
}

fn kind_of(change: &Change) -> RuleKind {
    match change.after.as_ref().or(change.before.as_ref()).map(|entry| &entry.kind) {
        Some(Kind::Directory) => RuleKind::Folder,
        Some(Kind::Symlink(_)) => RuleKind::Link,
        _ => RuleKind::File,
    }
}

fn is_empty_file(change: &Change) -> bool {
    matches!(
        change.after.as_ref().or(change.before.as_ref()).map(|entry| &entry.kind),
        Some(Kind::File(content)) if content.length == 0
    )
}

/// Whether a folder above `path` came with the installer, other than the folder the rule itself names.
fn inside_new_folder(
    path: &MachinePath,
    changes: &ChangeSet,
    names: &impl Fn(&MachinePath) -> bool,
) -> bool {
    path.ancestors().any(|folder| {
        changes.changes.get(&folder).is_some_and(|change| change.before.is_none())
            && !names(&folder)
    })
}

/// What matches a path or a folder above it; folders are asked once.
#[derive(Default)]
struct Seen {
    folders: HashMap<MachinePath, Rc<Covering>>,
}

#[derive(Clone, Default)]
struct Covering {
    /// Patterns, by position in the set.
    patterns: Vec<usize>,
    /// Rules one of whose exceptions matches.
    exceptions: Vec<usize>,
}

impl Seen {
    fn covering(&mut self, rules: &Rules, path: &MachinePath) -> Rc<Covering> {
        if let Some(known) = self.folders.get(path) {
            return Rc::clone(known);
        }
        let above = path.parent().map(|parent| self.folder(rules, &parent));
        Rc::new(extend(rules, above.as_deref(), path))
    }

    fn folder(&mut self, rules: &Rules, path: &MachinePath) -> Rc<Covering> {
        // Depth is not bounded by a stack: folders above are asked from the root downwards.
        let mut unknown = vec![path.clone()];
        unknown.extend(path.ancestors().take_while(|folder| !self.folders.contains_key(folder)));
        let mut last = None;
        for folder in unknown.iter().rev() {
            let above = folder.parent().and_then(|parent| self.folders.get(&parent).cloned());
            let known = match self.folders.get(folder) {
                Some(known) => Rc::clone(known),
                None => Rc::new(extend(rules, above.as_deref(), folder)),
            };
            self.folders.insert(folder.clone(), Rc::clone(&known));
            last = Some(known);
        }
        last.unwrap_or_default()
    }
}

fn extend(rules: &Rules, above: Option<&Covering>, path: &MachinePath) -> Covering {
    let candidate = Candidate::from_bytes(path.as_bytes());
    let mut covering = above.cloned().unwrap_or_default();
    for pattern in rules.patterns.matches_candidate(&candidate) {
        if !covering.patterns.contains(&pattern) {
            covering.patterns.push(pattern);
        }
    }
    let excepted = rules.exceptions.matches_candidate(&candidate);
    covering.exceptions.extend(excepted.into_iter().map(|pattern| rules.exception_of[pattern]));
    covering
}

#[cfg(test)]
mod tests;
