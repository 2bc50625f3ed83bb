use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use globset::{GlobSet, GlobSetBuilder};
use model::{MachinePath, escape};

use super::{
    names,
    payload::{PayloadKind, ProjectView},
    step_place,
    variables::usual_path,
};
use crate::{Part, Place, Problem, Script, Severity, StepKind, TreeSource, TreeStep};

/// The longest name a Linux file system holds, in bytes.
const LONGEST_NAME: usize = 255;
/// The longest path the kernel takes, in bytes, without its end.
const LONGEST_PATH: usize = 4095;

/// What comes to be where, as far as variables have defaults.
pub(super) struct Targets {
    /// By path: the step, from 0, and whether it is a folder.
    pub(super) paths: BTreeMap<MachinePath, (usize, bool)>,
    /// What is on a drive, by what Windows takes for the same.
    folded: BTreeMap<String, MachinePath>,
}

/// Checks the sources of all tree steps, and where they go.
pub(super) fn check(
    script: &Script,
    project: &dyn ProjectView,
    problems: &mut Vec<Problem>,
) -> Targets {
    let mut targets = Targets { paths: BTreeMap::new(), folded: BTreeMap::new() };
    let mut installed = BTreeSet::new();
    for (index, step) in script.steps.iter().enumerate() {
        let StepKind::Tree(tree) = &step.kind else { continue };
        let mut walk = Walk {
            script,
            index,
            to: usual_path(script, &tree.to),
            targets: &mut targets,
            problems,
        };
        walk.step(tree, project, &mut installed);
    }
    check_payload(project, &installed, problems);
    targets
}

/// Everything in `files/` is installed, and every hard link leads to something in it.
fn check_payload(
    project: &dyn ProjectView,
    installed: &BTreeSet<Vec<u8>>,
    problems: &mut Vec<Problem>,
) {
    let mut left_out: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for (below, kind) in project.below(b"files") {
        let path = [b"files/", below.as_slice()].concat();
        if let PayloadKind::HardLink(first) = &kind
            && !matches!(project.kind(first), Some(PayloadKind::File | PayloadKind::Other))
        {
            let (path, first) = (escape(&path), escape(first));
            problems.push(
                Problem::error(
                    Place::of(Part::Script),
                    format!(
                        "`{path}` is a hard link to `{first}`, which is no file of the project"
                    ),
                )
                .hint("correct `hardlink=` in files.meta, or bring the file back"),
            );
        }
        if kind != PayloadKind::Folder && !installed.contains(&path) {
            let parent = path.iter().rposition(|byte| *byte == b'/').unwrap_or(path.len());
            *left_out.entry(path[..parent].to_vec()).or_default() += 1;
        }
    }
    for (folder, count) in left_out {
        let what = if count == 1 { "a file".to_owned() } else { format!("{count} files") };
        let message = format!("{what} in `{}` no step installs", escape(&folder));
        problems.push(
            Problem::new(Severity::Warning, Place::of(Part::Script), message)
                .hint("install them, name them in `except`, or delete them"),
        );
    }
}

/// One tree step being walked.
struct Walk<'s, 'w> {
    script: &'s Script,
    index: usize,
    to: Option<MachinePath>,
    targets: &'w mut Targets,
    problems: &'w mut Vec<Problem>,
}

impl Walk<'_, '_> {
    fn step(
        &mut self,
        tree: &TreeStep,
        project: &dyn ProjectView,
        installed: &mut BTreeSet<Vec<u8>>,
    ) {
        match &tree.source {
            TreeSource::Directory(_) => self.target(b"", true),
            TreeSource::Link { .. } | TreeSource::Shortcut(_) => self.target(b"", false),
            TreeSource::File(source) => match project.kind(source.as_bytes()) {
                None => self.missing("install-file", source, "no such file in the project"),
                Some(PayloadKind::Folder) => {
                    self.wrong_source("install-file", source, "it is a folder", "install-tree");
                }
                Some(_) => {
                    installed.insert(source.as_bytes().to_vec());
                    self.target(b"", false);
                    let name = source.rsplit('/').next().unwrap_or_default();
                    self.unused_patterns(tree, &[name.as_bytes().to_vec()]);
                }
            },
            TreeSource::Tree(source) => match project.kind(source.as_bytes()) {
                None => self.missing("install-tree", source, "no such folder in the project"),
                Some(PayloadKind::Folder) => self.tree(tree, source, project, installed),
                Some(_) => {
                    self.wrong_source("install-tree", source, "it is no folder", "install-file");
                }
            },
        }
    }

    fn tree(
        &mut self,
        tree: &TreeStep,
        source: &str,
        project: &dyn ProjectView,
        installed: &mut BTreeSet<Vec<u8>>,
    ) {
        let except = globs(&tree.except);
        let below = project.below(source.as_bytes());
        self.target(b"", true);
        for (path, kind) in &below {
            installed.insert([source.as_bytes(), b"/", path].concat());
            if !except.as_ref().is_some_and(|except| except.is_match(&*text_of(path))) {
                self.target(path, *kind == PayloadKind::Folder);
            }
        }
        let paths: Vec<Vec<u8>> = below.into_iter().map(|(path, _)| path).collect();
        self.unused_patterns(tree, &paths);
    }

    /// Notes what comes to be, and refuses what is there twice or cannot be.
    fn target(&mut self, below: &[u8], is_folder: bool) {
        let Some(path) = self.to.as_ref().and_then(|to| to.join(below).ok()) else { return };
        if let Some(name) = path.parts().find(|part| part.len() > LONGEST_NAME) {
            let message = format!(
                "`{}` has {} bytes, and a file system holds names of {LONGEST_NAME}",
                escape(name),
                name.len()
            );
            self.problem(Severity::Error, "to", message, "shorten the name");
        }
        if path.as_bytes().len() > LONGEST_PATH {
            let message = format!(
                "`{path}` has {} bytes, and the kernel takes paths of {LONGEST_PATH}",
                path.as_bytes().len()
            );
            self.problem(Severity::Error, "to", message, "install it higher up");
        }
        if path.on_drive().is_some() {
            self.windows_name(&path, below.is_empty());
        }
        let Some((earlier, was_folder)) =
            self.targets.paths.insert(path.clone(), (self.index, is_folder))
        else {
            return;
        };
        let (first, second) =
            (&self.script.steps[earlier].when, &self.script.steps[self.index].when);
        if is_folder && was_folder || first != second {
            return;
        }
        let message = format!("`{path}` is installed by step {} already", earlier + 1);
        self.problem(
            Severity::Error,
            "to",
            message,
            "leave it out of one with `except = […]`, or give the steps different conditions",
        );
    }

    /// Refuses what is to be on a drive and Windows does not hold, or takes for another.
    fn windows_name(&mut self, path: &MachinePath, is_top: bool) {
        // The drive has a colon. What is above the step's own place was looked at with that.
        let own = path.parts().skip(1).collect::<Vec<_>>();
        let looked_at = if is_top { &own[..] } else { &own[own.len().saturating_sub(1)..] };
        if let Some(why) = looked_at.iter().find_map(|name| names::refusal(name)) {
            let message = format!("Windows holds no `{path}`: {why}");
            self.problem(Severity::Error, "to", message, "give it another name");
        }
        let other = self.targets.folded.insert(names::folded(path), path.clone());
        if let Some(other) = other.filter(|other| other != path) {
            let message = format!("`{path}` and `{other}` are one to Windows");
            self.problem(Severity::Error, "to", message, "give one of them another name");
        }
    }

    /// Warns of patterns that match nothing below the source.
    fn unused_patterns(&mut self, tree: &TreeStep, paths: &[Vec<u8>]) {
        let except = tree.except.iter().map(|pattern| ("except", pattern));
        let files = tree.replacements.iter().flat_map(|replacement| &replacement.files);
        let patterns: Vec<(&str, &String)> =
            except.chain(files.map(|pattern| ("replace-text", pattern))).collect();
        let Some(set) = globs(patterns.iter().map(|(_, pattern)| *pattern)) else { return };
        let used: BTreeSet<usize> =
            paths.iter().flat_map(|path| set.matches(&*text_of(path))).collect();
        for (index, (key, pattern)) in patterns.into_iter().enumerate() {
            if !used.contains(&index) {
                let message = format!("`{pattern}` matches nothing below the source");
                let hint = "patterns are over paths below the source: `etc/*.conf`";
                self.problem(Severity::Warning, key, message, hint);
            }
        }
    }

    fn missing(&mut self, key: &str, source: &str, message: &str) {
        self.problem(
            Severity::Error,
            key,
            format!("`{source}`: {message}"),
            "put it there, or correct the path",
        );
    }

    fn wrong_source(&mut self, key: &str, source: &str, message: &str, meant: &str) {
        self.problem(
            Severity::Error,
            key,
            format!("`{source}`: {message}"),
            &format!("did you mean `{meant}`?"),
        );
    }

    fn problem(&mut self, severity: Severity, key: &str, message: String, hint: &str) {
        let place = step_place(self.script, self.index).key(key);
        self.problems.push(Problem::new(severity, place, message).hint(hint));
    }
}

/// One matcher for all patterns, which were read before; `None` for none.
fn globs<'p>(patterns: impl IntoIterator<Item = &'p String>) -> Option<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(globset::GlobBuilder::new(pattern).literal_separator(true).build().ok()?);
    }
    set.build().ok().filter(|set| !set.is_empty())
}

/// A path as patterns see it: bytes that are no text are escaped.
fn text_of(path: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(path).map_or_else(|_| escape(path).into(), Cow::Borrowed)
}
