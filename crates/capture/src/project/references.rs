//! What is carried may need what is left out.

use model::{Kind, MachinePath};
use script::StepKind;

use super::{DraftError, payload::Files};
use crate::{
    CapturedFiles, ChangeSet, Class, Remark, Report, Rules, Side, Verdicts, captured::read_text,
    recognise::Meaning,
};

/// Keys of units and desktop entries that name a program.
const PROGRAM_KEYS: [&str; 7] =
    ["ExecStart", "ExecStartPre", "ExecStartPost", "ExecReload", "ExecStop", "Exec", "TryExec"];

/// Warns where a link, a unit, a desktop entry or an alternative names a path that a rule leaves out.
pub(super) fn warn(
    files: &Files,
    meaning: &Meaning,
    changes: &ChangeSet,
    verdicts: &Verdicts,
    rules: &Rules,
    contents: &dyn CapturedFiles,
    report: &mut Report,
) -> Result<(), DraftError> {
    let left_out = |target: &[u8]| -> Option<String> {
        let target = MachinePath::new(target).ok()?;
        // What was there before will be there on the target too.
        changes.changes.get(&target).filter(|change| change.is_created())?;
        let rule = &rules.all()[*verdicts.by_path.get(&target)?];
        (rule.class == Class::Drop)
            .then(|| format!("`{target}`, which rule {} leaves out", rule.id()))
    };
    let mut warn = |path: &MachinePath, what: &str, named: String| {
        report.warning.push(Remark::at(path, format!("{what} {named}")));
    };
    for (path, entry) in &files.entries {
        match &entry.kind {
            Kind::Symlink(target) => {
                if let Some(named) = left_out(&resolve(path, target)) {
                    warn(path, "the link points to", named);
                }
            }
            Kind::File(_) if names_programs(path) => {
                let text = read_text(contents, files.source(path), Side::After)
                    .map_err(|source| DraftError::Read { path: path.clone(), source })?
                    .unwrap_or_default();
                for program in programs(&String::from_utf8_lossy(&text)) {
                    if let Some(named) = left_out(program.as_bytes()) {
                        warn(path, "it starts", named);
                    }
                }
            }
            _ => {}
        }
    }
    for step in &meaning.alternatives {
        if let StepKind::Alternative(alternative) = step
            && let Some(target) = alternative.path.as_literal()
            && let Some(named) = left_out(target)
        {
            let text = format!("the alternative `{}` is {named}", alternative.name);
            report.warning.push(Remark::of(text));
        }
    }
    Ok(())
}

/// Where a link leads, by its text alone.
fn resolve(link: &MachinePath, target: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let parent = link.parent().unwrap_or_else(MachinePath::root);
    if !target.starts_with(b"/") {
        parts.extend(parent.parts());
    }
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut path = b"/".to_vec();
    path.extend(parts.join(&b'/'));
    path
}

fn names_programs(path: &MachinePath) -> bool {
    let bytes = path.as_bytes();
    let ends = |ending: &str| bytes.ends_with(ending.as_bytes());
    let unit = [".service", ".socket", ".timer", ".mount", ".path"].iter().any(|one| ends(one));
    ends(".desktop") || (unit && bytes.windows(9).any(|window| window == b"/systemd/"))
}

/// The absolute paths of programs a unit or a desktop entry starts.
fn programs(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| PROGRAM_KEYS.contains(&key.trim()))
        .filter_map(|(_, value)| {
            let value = value.trim().trim_start_matches(['-', '@', '+', '!', ':', '"']);
            value.split([' ', '\t', '"']).next().filter(|program| program.starts_with('/'))
        })
        .collect()
}
