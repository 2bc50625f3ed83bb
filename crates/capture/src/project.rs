//! The draft: a change set as a project folder, not yet written.

mod grouping;
mod payload;
mod references;

use std::{collections::BTreeMap, io};

use model::{Architecture, Export, Kind, MachinePath, PackageName, Template, Version};
use script::{
    Comments, FileMeta, Script, Step, StepKind,
    vocabulary::{TRIGGERS, trigger},
};

use crate::{
    CapturedFiles, Change, ChangeSet, Class, Facts, Remark, Report, Rules, Touch, Touched,
    Understood, Verdicts,
    generalise::{self, General},
    recognise::{self, Meaning, View},
};
pub(crate) use payload::Files;

/// What a change set becomes: all that is written into a project folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The script: `package.toml`.
    pub script: Script,
    /// What stands above its steps.
    pub comments: Comments,
    /// What a version control system does not keep of the payload: `files.meta`, sorted by path.
    /// Folders that existed before are not in it: they are carriers, and keep their own metadata.
    pub files_meta: Vec<FileMeta>,
    /// What to put below the project folder, folders before what they hold.
    pub payload: Vec<Payload>,
    /// What was left out and understood: `capture/report.toml`.
    pub report: Report,
}

/// One thing to put below the project folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Where to, below the project folder: `files/opt/redis/bin/redis`.
    pub path: Vec<u8>,
    /// Where it is on the captured machine.
    pub source: MachinePath,
    /// What it is there. A hard link's content is that of the path it names.
    pub kind: Kind,
}

/// What only a person can say about a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The package's name.
    pub name: PackageName,
    /// The package's version.
    pub version: Version,
    /// The machines it is for; where unsaid, what its programs are built for.
    pub architecture: Option<Architecture>,
    /// Whether another install folder may be chosen.
    pub prefix: Prefix,
    /// What becomes of files that were touched and left as they were.
    pub touched: TouchedFiles,
    /// Whether devices and named pipes are carried.
    pub devices: bool,
    /// Whether users and groups insist on the numbers they had.
    pub keep_ids: bool,
    /// Whether services start as soon as they are installed.
    pub start_services: bool,
}

/// Whether another install folder may be chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Prefix {
    /// If nearly everything lies in one new folder of `/opt`, that is it.
    #[default]
    Detect,
    /// Everything stays where it was captured.
    Never,
    /// This folder.
    At(MachinePath),
}

/// What becomes of existing files that were touched and left as they were (Q168776).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TouchedFiles {
    /// They are listed.
    #[default]
    List,
    /// Those written again are carried.
    CarryRewritten,
    /// Those only opened are carried too.
    CarryAll,
}

/// Why there is no draft.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// Content that was observed cannot be read any more.
    #[error("read the captured content of `{path}`")]
    Read {
        /// Whose content.
        path: MachinePath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The folder named as prefix holds nothing of the package.
    #[error("nothing the installer made lies in `{prefix}`: name another prefix, or none")]
    EmptyPrefix {
        /// The folder.
        prefix: MachinePath,
    },
}

impl Options {
    /// A package of this name and version; all else as it is best for most.
    pub fn new(name: PackageName, version: Version) -> Self {
        Self {
            name,
            version,
            architecture: None,
            prefix: Prefix::Detect,
            touched: TouchedFiles::List,
            devices: false,
            keep_ids: false,
            start_services: true,
        }
    }
}

/// Turns a change set into a script and its payload.
///
/// Every change is carried as a file, understood by a recogniser, or left out by a rule; the report
/// says which, and `report.counts` adds up.
pub fn draft(
    changes: &ChangeSet,
    contents: &dyn CapturedFiles,
    facts: &Facts,
    rules: &Rules,
    options: &Options,
) -> Result<Draft, DraftError> {
    let verdicts = rules.judge(changes);
    let mut report = Report::of_rules(rules, &verdicts);
    let touched = worth_listing(changes, rules);
    let mut live = live(changes, rules, &verdicts);
    let view = View { changes: &live, contents, options };
    let mut meaning = recognise::all(&view)?;
    recognise::dependencies(changes, contents, rules, &verdicts, &mut report)?;
    live.retain(|path, _| !meaning.taken.contains_key(*path));

    let mut files = payload::collect(&live, changes, &touched, contents, options, &mut report)?;
    let general = generalise::generalise(&mut files, &mut meaning, contents, facts, options)?;
    references::warn(&files, &meaning, changes, &verdicts, rules, contents, &mut report)?;
    collect_triggers(rules, &verdicts, &mut meaning);

    let grouped = grouping::group(&files, &general);
    count(&mut report, changes, &files, &meaning);
    list(&mut report, &touched, &files, &meaning, &general, options);
    let (script, comments) = assemble(&files, meaning, general, grouped.steps, options);
    Ok(Draft { script, comments, files_meta: grouped.files_meta, payload: grouped.payload, report })
}

/// The changes no rule leaves out.
fn live<'a>(
    changes: &'a ChangeSet,
    rules: &Rules,
    verdicts: &Verdicts,
) -> BTreeMap<&'a MachinePath, &'a Change> {
    let out = |path: &MachinePath| {
        verdicts.by_path.get(path).is_some_and(|&rule| rules.all()[rule].class.leaves_out())
    };
    changes.changes.iter().filter(|(path, _)| !out(path)).collect()
}

/// The touched files no rule leaves out.
fn worth_listing<'a>(changes: &'a ChangeSet, rules: &Rules) -> BTreeMap<&'a MachinePath, Touch> {
    let deciding = rules.of_unchanged_file(changes.touched.keys());
    let out = |path: &MachinePath| {
        deciding.get(path).is_some_and(|&rule| rules.all()[rule].class.leaves_out())
    };
    let touched = changes.touched.iter().filter(|(path, _)| !out(path));
    touched.map(|(path, how)| (path, *how)).collect()
}

fn collect_triggers(rules: &Rules, verdicts: &Verdicts, meaning: &mut Meaning) {
    for &rule in verdicts.by_path.values() {
        if let Class::Regenerate(name) = &rules.all()[rule].class
            && let Some(known) = trigger(name)
        {
            meaning.triggers.insert(known.name);
        }
    }
}

fn count(report: &mut Report, changes: &ChangeSet, files: &Files, meaning: &Meaning) {
    let counts = &mut report.counts;
    counts.changes = changes.changes.len();
    counts.excluded = report.excluded.iter().map(|excluded| excluded.paths.len()).sum();
    counts.understood = meaning.taken.len();
    counts.carried = counts.changes - counts.excluded - counts.understood;
    counts.folders = files.entries.values().filter(|entry| entry.kind == Kind::Directory).count();
}

fn list(
    report: &mut Report,
    touched: &BTreeMap<&MachinePath, Touch>,
    files: &Files,
    meaning: &Meaning,
    general: &General,
    options: &Options,
) {
    report.understood.extend(
        meaning
            .taken
            .iter()
            .map(|(path, meant)| Understood { path: path.clone(), r#as: meant.to_string() }),
    );
    report.review.extend(meaning.review.iter().cloned());
    report.warning.extend(meaning.warnings.iter().cloned());
    report.note.extend(meaning.notes.iter().cloned());
    report.note.extend(general.notes.iter().cloned());
    report.leak.extend(general.leaks.iter().cloned());
    for path in &files.replaced {
        let text = "this file was there before; the package replaces it whole";
        report.review.push(Remark::at(path, text));
    }
    for path in &files.removed {
        let text =
            "the installer removed this; keep the `remove` step only if no other program needs it";
        report.review.push(Remark::at(path, text));
    }
    report.counts.touched = touched.len();
    report.touched.extend(touched.iter().map(|(&path, &how)| Touched {
        path: path.clone(),
        how,
        carried: options.touched.carries(how) && files.entries.contains_key(path),
    }));
    report.review.sort();
    report.warning.sort();
    report.note.sort();
}

/// The steps in their order, under a heading for each kind.
fn assemble(
    files: &Files,
    meaning: Meaning,
    general: General,
    trees: Vec<StepKind>,
    options: &Options,
) -> (Script, Comments) {
    let triggers = TRIGGERS.iter().filter(|trigger| meaning.triggers.contains(trigger.name));
    let triggers = triggers.map(|trigger| StepKind::Trigger { name: trigger.name.into() });
    let sections: [(&str, Vec<StepKind>); 12] = [
        ("Accounts", meaning.accounts),
        ("In the way of what follows", remove_steps(&files.cleared)),
        ("Files", trees),
        ("Links that follow a variable", general.links),
        ("Shortcuts", meaning.shortcuts),
        ("Scheduled tasks", meaning.tasks),
        ("What was there already and has another owner, mode or attribute", files.metadata.clone()),
        ("Edits of files that others edit too", meaning.edits),
        (
            "Removed by the installer: keep what no other program needs",
            remove_steps(&files.removed),
        ),
        ("Alternatives", meaning.alternatives),
        ("Made anew from what is installed", triggers.collect()),
        ("Services", meaning.services),
    ];
    let mut comments = Comments {
        head: "Captured. capture/report.toml says what was left out and why, and what to decide."
            .to_owned(),
        ..Comments::default()
    };
    let mut steps = Vec::new();
    for (heading, kinds) in sections {
        if !kinds.is_empty() {
            comments.steps.insert(steps.len(), heading.to_owned());
        }
        steps.extend(kinds.into_iter().map(|kind| Step { when: None, users: Vec::new(), kind }));
    }
    let script = Script {
        name: options.name.clone(),
        version: options.version.clone(),
        architecture: options.architecture.clone().unwrap_or(general.architecture),
        summary: String::new(),
        configuration: grouping::configuration(files),
        generated: general.generated,
        variables: general.variables,
        steps,
        programs: BTreeMap::new(),
        export: Export::default(),
        icon: None,
    };
    (script, comments)
}

fn remove_steps(paths: &[MachinePath]) -> Vec<StepKind> {
    let step = |path: &MachinePath| StepKind::Remove { path: Template::literal(path.as_bytes()) };
    paths.iter().map(step).collect()
}

#[cfg(test)]
mod tests;
