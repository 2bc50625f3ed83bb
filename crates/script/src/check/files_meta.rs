use std::collections::BTreeSet;

use model::{AccountStep, Kind, Owner, escape};

use super::payload::{PayloadKind, ProjectView};
use crate::{
    FileMeta, Part, Place, Problem, Script, Severity, StepKind, TreeSource, files_meta::path_order,
};

/// Looks at `files.meta` against what is on disk: `disk` is the project folder before
/// [`Payload::describe`](crate::Payload::describe).
pub fn check_files_meta(
    script: &Script,
    entries: &[FileMeta],
    disk: &dyn ProjectView,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for entry in entries {
        let (path, found) = (escape(&entry.path), disk.kind(&entry.path));
        let wrong = match (&entry.entry.kind, found) {
            (Kind::File(_), None) => Some("is not in the project".to_owned()),
            (Kind::File(_), Some(PayloadKind::Folder)) => Some("is a folder on disk".to_owned()),
            (Kind::Directory, Some(PayloadKind::File | PayloadKind::Other)) => {
                Some("is no folder on disk".to_owned())
            }
            (Kind::HardLink(first), _)
                if path_order(first.relative(), &entry.path) != std::cmp::Ordering::Less =>
            {
                Some(format!(
                    "is a hard link to `{}`, which comes after it",
                    escape(first.relative())
                ))
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            problems.push(
                Problem::error(Place::of(Part::Script), format!("files.meta: `{path}` {wrong}"))
                    .hint("correct the line, take it out, or bring the file back"),
            );
        }
    }
    check_owners(script, entries, &mut problems);
    problems
}

/// Notes owners that the script does not create: they must be on the machine already.
fn check_owners(script: &Script, entries: &[FileMeta], problems: &mut Vec<Problem>) {
    let (mut users, mut groups) = (BTreeSet::from(["root"]), BTreeSet::from(["root"]));
    for step in &script.steps {
        match &step.kind {
            StepKind::Account(AccountStep::Group { name, .. }) => drop(groups.insert(name)),
            StepKind::Account(AccountStep::User { name, group, .. }) => {
                users.insert(name);
                groups.insert(group.as_ref().unwrap_or(name));
            }
            _ => {}
        }
    }
    let made = script.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Tree(tree) => match &tree.source {
            TreeSource::Directory(meta) | TreeSource::Link { meta, .. } => Some(&**meta),
            TreeSource::Shortcut(shortcut) => Some(&shortcut.meta),
            TreeSource::Tree(_) | TreeSource::File(_) => None,
        },
        StepKind::SetMetadata { meta, .. } => Some(&**meta),
        _ => None,
    });
    let mut missing = BTreeSet::new();
    for meta in entries.iter().map(|entry| &entry.entry.meta).chain(made) {
        for (word, owner, known) in [("user", &meta.owner, &users), ("group", &meta.group, &groups)]
        {
            if let Owner::Name(name) = owner
                && !known.contains(&**name)
            {
                missing.insert((word, &**name));
            }
        }
    }
    for (word, name) in missing {
        let message = format!("files belong to the {word} `{name}`, which no step creates");
        problems.push(Problem::new(Severity::Note, Place::of(Part::Script), message).hint(
            format!("it must be on the machine already; else add `create-{word} = \"{name}\"`"),
        ));
    }
}
