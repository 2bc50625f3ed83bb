//! The generaliser: what holds for the reference machine alone becomes a variable, and what cannot is
//! named as a leak.

mod templates;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use model::{Architecture, Entry, Kind, MachinePath, ReplaceRule, Template, Variable};
use script::{Script, StepKind, TextReplacement, TreeSource, TreeStep};

use crate::{
    CapturedFiles, DraftError, Facts, Leak, LeakScanner, Options, Prefix, Remark, Side,
    project::Files,
    recognise::Meaning,
    search::{Boundary, Needle, Scan, Scanner, path_occurrences},
};
use templates::Templates;

/// The variable every machine has a value for: its own name.
pub(crate) const HOST_NAME: &str = "machine.hostname";
/// The variable a captured install folder becomes.
const PREFIX: &str = "prefix";
/// From how many files on replacements are told by ending instead of by name.
const MANY: usize = 12;

/// Programs that run leave logs and caches in their folders here.
const TRACES: [&[u8]; 2] = [b"/var/log", b"/var/cache"];

/// What generalising a payload gives.
#[derive(Debug)]
pub(crate) struct General {
    pub(crate) prefix: Option<MachinePath>,
    pub(crate) variables: BTreeMap<Box<str>, Variable>,
    pub(crate) generated: Vec<Template>,
    pub(crate) architecture: Architecture,
    /// Links whose target holds a variable.
    pub(crate) links: Vec<StepKind>,
    pub(crate) leaks: Vec<Leak>,
    pub(crate) notes: Vec<Remark>,
    replaced: Vec<Replaced>,
    templates: Templates,
}

/// A text that becomes a variable in some files.
#[derive(Debug)]
struct Replaced {
    text: String,
    with: Template,
    files: BTreeSet<MachinePath>,
    /// Files that hold the text and must keep it.
    keep: BTreeSet<MachinePath>,
}

/// What one pass over the payload found.
#[derive(Default)]
struct Found {
    scans: BTreeMap<MachinePath, Scan>,
}

/// Positions of the needles: the leaks' own come last.
const AT_PREFIX: usize = 0;
const AT_HOST: usize = 1;
const AT_LEAKS: usize = 2;

/// Finds what to generalise in the payload and in the steps, and does it.
pub(crate) fn generalise(
    files: &mut Files,
    meaning: &mut Meaning,
    contents: &dyn CapturedFiles,
    facts: &Facts,
    options: &Options,
) -> Result<General, DraftError> {
    let prefix = find_prefix(files, &options.prefix)?;
    let leak_scanner = LeakScanner::new(facts);
    let found = scan(files, contents, prefix.as_ref(), facts, &leak_scanner)?;
    let mut general = General {
        templates: Templates::new(prefix.as_ref(), facts.capture_host_name()),
        prefix,
        variables: BTreeMap::new(),
        generated: Vec::new(),
        architecture: architecture(&found),
        links: Vec::new(),
        leaks: Vec::new(),
        notes: Vec::new(),
        replaced: Vec::new(),
    };
    general.add_prefix(&found);
    general.add_host_name(&found, facts);
    general.add_links(files);
    general.add_generated(files);
    let steps = (meaning.accounts.iter_mut())
        .chain(&mut meaning.edits)
        .chain(&mut meaning.alternatives)
        .chain(&mut files.metadata);
    for step in steps {
        general.templates.rewrite(step);
        let text = templates::literals(step);
        general.leaks.extend(leak_scanner.step(templates::word(step), &text));
    }
    general.add_leaks(files, &found, &leak_scanner);
    Ok(general)
}

impl General {
    /// Where a step's root goes.
    pub(crate) fn place(&self, root: &MachinePath) -> Template {
        self.generalised(root.as_bytes())
    }

    /// A text with what must not be literal made variable.
    pub(crate) fn generalised(&self, bytes: &[u8]) -> Template {
        self.templates.of(bytes)
    }

    /// The replacements of a step that installs one file.
    pub(crate) fn replacements_of_file(&self, path: &MachinePath) -> Vec<TextReplacement> {
        let hit = self.replaced.iter().filter(|replaced| replaced.files.contains(path));
        hit.map(|replaced| TextReplacement {
            files: vec!["**".to_owned()],
            text: replaced.text.as_str().into(),
            with: replaced.with.clone(),
        })
        .collect()
    }

    /// The replacements of a step that installs a tree.
    pub(crate) fn replacements_below(
        &self,
        root: &MachinePath,
        entries: &BTreeSet<MachinePath>,
    ) -> Vec<TextReplacement> {
        self.replaced
            .iter()
            .filter_map(|replaced| {
                let inside = |all: &BTreeSet<MachinePath>| -> Vec<MachinePath> {
                    all.intersection(entries).cloned().collect()
                };
                let files = patterns(root, &inside(&replaced.files), &inside(&replaced.keep));
                (!files.is_empty()).then(|| TextReplacement {
                    files,
                    text: replaced.text.as_str().into(),
                    with: replaced.with.clone(),
                })
            })
            .collect()
    }

    fn add_prefix(&mut self, found: &Found) {
        let Some(prefix) = self.prefix.clone() else { return };
        let (mut texts, mut binaries) = (BTreeSet::new(), BTreeSet::new());
        let mut unsure = BTreeSet::new();
        for (path, scan) in &found.scans {
            let (hits, within) = (scan.hits[AT_PREFIX], scan.within[AT_PREFIX]);
            if hits > 0 && scan.binary {
                binaries.insert(path.clone());
            } else if within > 0 {
                unsure.insert(path.clone());
            } else if hits > 0 {
                texts.insert(path.clone());
            }
        }
        let text = String::from_utf8_lossy(prefix.as_bytes()).into_owned();
        let fixed = binaries.first().map(|first| match binaries.len() {
            1 => format!("one binary file holds this path: {first}"),
            count => format!("{count} binary files hold this path, {first} among them"),
        });
        for path in &unsure {
            let why = format!(
                "holds `{text}` as part of a longer path; nothing in this file follows another `prefix`"
            );
            self.notes.push(Remark::at(path, why));
        }
        if fixed.is_none() && !texts.is_empty() {
            let keep = unsure.union(&binaries).cloned().collect();
            let with = Template(vec![model::Part::Variable(PREFIX.into())]);
            self.replaced.push(Replaced { text, with, files: texts, keep });
        }
        let variable = Variable {
            default: Some(Template::literal(prefix.as_bytes())),
            prompt: fixed.is_none().then(|| "Install to".to_owned()),
            fixed,
        };
        self.variables.insert(PREFIX.into(), variable);
    }

    fn add_host_name(&mut self, found: &Found, facts: &Facts) {
        let Some(name) = facts.capture_host_name() else { return };
        let (mut texts, mut keep) = (BTreeSet::new(), BTreeSet::new());
        for (path, scan) in &found.scans {
            if scan.hits[AT_HOST] + scan.within[AT_HOST] == 0 {
                continue;
            }
            if scan.binary { &mut keep } else { &mut texts }.insert(path.clone());
        }
        if !texts.is_empty() {
            let with = Template(vec![model::Part::Variable(HOST_NAME.into())]);
            self.replaced.push(Replaced { text: name.to_owned(), with, files: texts, keep });
        }
    }

    /// Links that say a variable leave the trees, whose links are literal, and become steps.
    fn add_links(&mut self, files: &mut Files) {
        let varying: Vec<(MachinePath, Template)> = files
            .entries
            .iter()
            .filter_map(|(path, entry)| match &entry.kind {
                Kind::Symlink(target) => {
                    let template = self.templates.of(target);
                    template.as_literal().is_none().then(|| (path.clone(), template))
                }
                _ => None,
            })
            .collect();
        for (path, target) in varying {
            let Some(Entry { meta, .. }) = files.entries.remove(&path) else { continue };
            self.links.push(StepKind::Tree(TreeStep {
                source: TreeSource::Link { target, meta: Box::new(meta) },
                to: self.templates.of(path.as_bytes()),
                replace: ReplaceRule::default(),
                version: None,
                replacements: Vec::new(),
                except: Vec::new(),
            }));
        }
    }

    /// Compiled Python modules appear beside any that are installed, whenever root runs them; logs and caches in
    /// folders made for them, whenever the program runs.
    fn add_generated(&mut self, files: &Files) {
        let mut folders: BTreeSet<MachinePath> = BTreeSet::new();
        for (path, entry) in &files.entries {
            let above = path.parent();
            let for_traces = above.is_some_and(|above| TRACES.contains(&above.as_bytes()));
            if for_traces && entry.kind == Kind::Directory {
                let mut pattern = self.templates.of(path.as_bytes());
                pattern.0.push(model::Part::Literal(b"/**".to_vec()));
                self.generated.push(templates::joined(pattern));
            }
            let is_module =
                matches!(entry.kind, Kind::File(_)) && path.as_bytes().ends_with(b".py");
            if !is_module {
                continue;
            }
            let topmost = path.ancestors().find(|folder| files.is_root(folder));
            let prefix = self.prefix.clone().filter(|prefix| path.is_within(prefix));
            if let Some(folder) = prefix.or(topmost).filter(|folder| folder.parts().count() > 1) {
                folders.insert(folder);
            }
        }
        for folder in folders {
            let mut pattern = self.templates.of(folder.as_bytes());
            pattern.0.push(model::Part::Literal(b"/**/__pycache__".to_vec()));
            self.generated.push(templates::joined(pattern));
        }
    }

    fn add_leaks(&mut self, files: &Files, found: &Found, scanner: &LeakScanner) {
        for (path, entry) in &files.entries {
            self.leaks.extend(scanner.name(path.as_bytes()));
            if let Kind::Symlink(target) = &entry.kind {
                self.leaks.extend(scanner.target(path.as_bytes(), target));
            }
            let Some(scan) = found.scans.get(path) else { continue };
            let reached = |text: &[u8]| {
                let is_replaced = |replaced: &Replaced| {
                    replaced.text.as_bytes() == text && replaced.files.contains(path)
                };
                let any = self.replaced.iter().any(is_replaced);
                if any { scan.hits[AT_HOST] + scan.within[AT_HOST] } else { 0 }
            };
            let leaks = scanner.leaks(path.as_bytes(), "content", scan, AT_LEAKS, &reached);
            self.leaks.extend(leaks);
        }
        self.leaks.sort();
    }
}

impl LeakScanner {
    /// Looks at what the steps of a script say.
    pub fn script(&self, script: &Script) -> Vec<Leak> {
        let steps = script.steps.iter().enumerate();
        steps
            .flat_map(|(index, step)| {
                let name = format!("step {} ({})", index + 1, templates::word(&step.kind));
                self.step(&name, &templates::literals(&step.kind))
            })
            .collect()
    }
}

/// The folder that becomes `prefix`, if any.
fn find_prefix(files: &Files, wanted: &Prefix) -> Result<Option<MachinePath>, DraftError> {
    match wanted {
        Prefix::Never => Ok(None),
        Prefix::At(prefix) => {
            let any = files.entries.keys().any(|path| path.is_within(prefix));
            if any {
                Ok(Some(prefix.clone()))
            } else {
                Err(DraftError::EmptyPrefix { prefix: prefix.clone() })
            }
        }
        Prefix::Detect => Ok(detect_prefix(files)),
    }
}

/// A new folder of `/opt` with most of the files in it, if there is just one.
fn detect_prefix(files: &Files) -> Option<MachinePath> {
    let mut homes: BTreeMap<MachinePath, usize> = BTreeMap::new();
    let mut elsewhere = 0;
    for (path, entry) in &files.entries {
        if !matches!(entry.kind, Kind::File(_)) {
            continue;
        }
        let mut parts = path.parts();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(b"opt"), Some(name), Some(_)) => {
                let home = MachinePath::root().join(b"opt").and_then(|opt| opt.join(name)).ok()?;
                *homes.entry(home).or_default() += 1;
            }
            _ => elsewhere += 1,
        }
    }
    let (home, count) = homes.pop_first()?;
    let is_new = files.entries.get(&home).is_some_and(|entry| entry.kind == Kind::Directory);
    (homes.is_empty() && is_new && count >= elsewhere).then_some(home)
}

fn scan(
    files: &Files,
    contents: &dyn CapturedFiles,
    prefix: Option<&MachinePath>,
    facts: &Facts,
    leaks: &LeakScanner,
) -> Result<Found, DraftError> {
    // A needle that is not looked for is one no file holds.
    let never = vec![0xFF; 64];
    let path = |text: Option<&[u8]>| Needle {
        text: text.map_or_else(|| never.clone(), <[u8]>::to_vec),
        boundary: Boundary::Path,
    };
    let mut needles = vec![
        path(prefix.map(MachinePath::as_bytes)),
        path(facts.capture_host_name().map(str::as_bytes)),
    ];
    needles.extend(leaks.needles().iter().cloned());
    let scanner = Scanner::new(needles);
    let mut found = Found::default();
    for (path, entry) in &files.entries {
        if !matches!(&entry.kind, Kind::File(content) if content.length > 0) {
            continue;
        }
        let failed = |source| DraftError::Read { path: path.clone(), source };
        let Some(reader) = contents.open(files.source(path), Side::After).map_err(failed)? else {
            let missing = std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "the observer kept no content of it",
            );
            return Err(failed(missing));
        };
        let scan = scanner.stream(reader as Box<dyn Read + '_>).map_err(failed)?;
        let of_interest = scan.head.starts_with(b"\x7fELF")
            || scan.hits.iter().chain(&scan.within).any(|&count| count > 0);
        if of_interest {
            found.scans.insert(path.clone(), scan);
        }
    }
    Ok(found)
}

/// The processor the payload's programs are for.
fn architecture(found: &Found) -> Architecture {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for scan in found.scans.values() {
        let head = &scan.head;
        if !head.starts_with(b"\x7fELF") || head.len() < 20 {
            continue;
        }
        let number = [head[18], head[19]];
        let number =
            if head[5] == 2 { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) };
        let name = match number {
            3 => "x86",
            21 => "powerpc64",
            22 => "s390x",
            40 => "arm",
            62 => "x86_64",
            183 => "aarch64",
            243 => "riscv64",
            _ => continue,
        };
        *counts.entry(name).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map_or(Architecture::Any, |(name, _)| Architecture::Only(name.into()))
}

/// Patterns below `root` for `files` that match none of `keep`: by name while they are few, by ending
/// where they are many.
fn patterns(root: &MachinePath, files: &[MachinePath], keep: &[MachinePath]) -> Vec<String> {
    let text = |path: &MachinePath| {
        let below = path.below(root)?;
        std::str::from_utf8(below).ok().map(globset::escape)
    };
    let ending = |path: &MachinePath| -> Option<String> {
        let name = std::str::from_utf8(path.name()?).ok()?;
        let (stem, ending) = name.rsplit_once('.')?;
        (!stem.is_empty() && ending.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            .then(|| ending.to_owned())
    };
    if files.len() <= MANY {
        return files.iter().filter_map(text).collect();
    }
    let kept: BTreeSet<String> = keep.iter().filter_map(ending).collect();
    let mut found = BTreeSet::new();
    for path in files {
        match ending(path).filter(|ending| !kept.contains(ending)) {
            Some(ending) => found.insert(format!("**/*.{ending}")),
            None => text(path).is_some_and(|text| found.insert(text)),
        };
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests;
