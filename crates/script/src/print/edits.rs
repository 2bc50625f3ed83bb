use std::{collections::HashSet, fmt::Write as _};

use model::{EditStep, LineEdit, Template};

use super::toml::{Body, WIDTH, inline_list, key, list, quoted, table};

/// Divides edits into runs that one table says in their order.
pub(super) fn groups(edits: &[LineEdit]) -> Vec<&[LineEdit]> {
    let mut groups = Vec::new();
    let mut start = 0;
    let mut said = Said::default();
    for (index, edit) in edits.iter().enumerate() {
        if index > start && !said.may_say(&edits[index - 1], edit) {
            groups.push(&edits[start..index]);
            start = index;
            said = Said::default();
        }
        said.say(edit);
    }
    if start < edits.len() {
        groups.push(&edits[start..]);
    }
    groups
}

/// What a table being written says already.
#[derive(Default)]
struct Said {
    /// Sections and keys that are set.
    keys: HashSet<(String, String)>,
    /// Sections that are there, by whether keys are set in them.
    sections: HashSet<(bool, String)>,
    /// The section written to last, by whether keys are set in it.
    last: [Option<String>; 2],
}

impl Said {
    /// Whether the table can say `next` after `last`: additions before removals, keys once, sections together.
    fn may_say(&self, last: &LineEdit, next: &LineEdit) -> bool {
        match (last, next) {
            (LineEdit::Add { .. } | LineEdit::Remove { .. }, LineEdit::Remove { .. })
            | (LineEdit::Add { .. }, LineEdit::Add { .. }) => true,
            (
                LineEdit::PathList { key, first, .. },
                LineEdit::PathList { key: next_key, first: next_first, .. },
            ) => key == next_key && first == next_first,
            (LineEdit::Assignment { value, .. }, LineEdit::Assignment { key, value: next }) => {
                let again = || self.keys.contains(&(String::new(), key.to_string()));
                next.is_none() || value.is_some() && !again()
            }
            (LineEdit::Ini { value, .. }, LineEdit::Ini { section, key, value: next }) => {
                let set = next.is_some();
                let section = section.to_string();
                let apart = self.last[usize::from(set)].as_ref() != Some(&section)
                    && self.sections.contains(&(set, section.clone()));
                let again = || set && self.keys.contains(&(section.clone(), key.to_string()));
                !(apart || value.is_none() && set || again())
            }
            _ => false,
        }
    }

    fn say(&mut self, edit: &LineEdit) {
        match edit {
            LineEdit::Assignment { key, value: Some(_) } => {
                self.keys.insert((String::new(), key.to_string()));
            }
            LineEdit::Ini { section, key, value } => {
                let (set, section) = (value.is_some(), section.to_string());
                if set {
                    self.keys.insert((section.clone(), key.to_string()));
                }
                self.sections.insert((set, section.clone()));
                self.last[usize::from(set)] = Some(section);
            }
            _ => {}
        }
    }
}

/// Writes a run of edits as the keys of a step; one of [`groups`].
pub(super) fn write_edit(text: &mut String, edit: &EditStep, edits: &[LineEdit]) {
    let (name, write): (_, fn(&mut Body<'_>, &[LineEdit]) -> String) = match edits.first() {
        Some(LineEdit::Ini { .. }) => ("edit-ini", write_ini),
        Some(LineEdit::Assignment { .. }) => ("edit-assignments", write_assignments),
        Some(LineEdit::PathList { .. }) => ("edit-path-list", write_path_list),
        _ => ("edit-lines", write_lines),
    };
    let mut body = Body::new(text);
    body.text(name, &edit.file.to_string());
    let subtables = write(&mut body, edits);
    if edit.create {
        body.raw("create", "true");
    }
    text.push_str(&subtables);
}

fn write_lines(body: &mut Body<'_>, edits: &[LineEdit]) -> String {
    let added: Vec<String> = edits
        .iter()
        .filter_map(|edit| match edit {
            LineEdit::Add { line, after: None } => Some(quoted(&line.to_string())),
            LineEdit::Add { line, after: Some(after) } => Some(table([
                ("line".to_owned(), quoted(&line.to_string())),
                ("after".to_owned(), quoted(&after.to_string())),
            ])),
            _ => None,
        })
        .collect();
    if !added.is_empty() {
        body.list("add", added.into_iter());
    }
    let removed: Vec<String> = edits
        .iter()
        .filter_map(|edit| match edit {
            LineEdit::Remove { line } => Some(quoted(&line.to_string())),
            _ => None,
        })
        .collect();
    if !removed.is_empty() {
        body.list("remove", removed.into_iter());
    }
    String::new()
}

/// Keys by section, sections in the order of their first key.
type Sections<'e> = Vec<(&'e Template, Vec<(&'e Template, Option<&'e Template>)>)>;

fn sections(edits: &[LineEdit], set: bool) -> Sections<'_> {
    let mut sections: Sections<'_> = Vec::new();
    for edit in edits {
        let LineEdit::Ini { section, key, value } = edit else { continue };
        if value.is_some() != set {
            continue;
        }
        match sections.last_mut() {
            Some((last, keys)) if *last == section => keys.push((key, value.as_ref())),
            _ => sections.push((section, vec![(key, value.as_ref())])),
        }
    }
    sections
}

fn write_ini(body: &mut Body<'_>, edits: &[LineEdit]) -> String {
    let set = sections(edits, true);
    let mut subtables = String::new();
    if !set.is_empty() {
        let inline = table(set.iter().map(|(section, keys)| {
            (section.to_string(), table(keys.iter().map(|(key, value)| entry(key, *value))))
        }));
        if fits("set", &inline) {
            body.raw("set", &inline);
        } else {
            for (section, keys) in &set {
                let _ = writeln!(subtables, "\n[step.set.{}]", key(&section.to_string()));
                write_entries(&mut subtables, keys.iter().map(|(key, value)| entry(key, *value)));
            }
        }
    }
    let unset = sections(edits, false);
    if !unset.is_empty() {
        let names = |keys: &[(&Template, Option<&Template>)]| {
            keys.iter().map(|(key, _)| quoted(&key.to_string())).collect::<Vec<_>>()
        };
        let inline = table(
            unset.iter().map(|(section, keys)| (section.to_string(), inline_list(&names(keys)))),
        );
        if fits("unset", &inline) {
            body.raw("unset", &inline);
        } else {
            subtables.push_str("\n[step.unset]\n");
            write_entries(
                &mut subtables,
                unset.iter().map(|(section, keys)| {
                    let section = section.to_string();
                    let before = key(&section).chars().count() + 3;
                    let list = list(names(keys), before);
                    (section, list)
                }),
            );
        }
    }
    subtables
}

fn entry(name: &Template, value: Option<&Template>) -> (String, String) {
    (name.to_string(), quoted(&value.map(ToString::to_string).unwrap_or_default()))
}

fn write_entries(text: &mut String, entries: impl IntoIterator<Item = (String, String)>) {
    for (name, value) in entries {
        let _ = writeln!(text, "{} = {value}", key(&name));
    }
}

fn fits(name: &str, value: &str) -> bool {
    name.len() + 3 + value.chars().count() <= WIDTH
}

fn write_assignments(body: &mut Body<'_>, edits: &[LineEdit]) -> String {
    let mut set = Vec::new();
    let mut unset = Vec::new();
    for edit in edits {
        match edit {
            LineEdit::Assignment { key, value: Some(value) } => set.push(entry(key, Some(value))),
            LineEdit::Assignment { key, value: None } => unset.push(quoted(&key.to_string())),
            _ => {}
        }
    }
    let mut subtables = String::new();
    let inline = table(set.clone());
    if !set.is_empty() && fits("set", &inline) {
        body.raw("set", &inline);
    } else if !set.is_empty() {
        subtables.push_str("\n[step.set]\n");
        write_entries(&mut subtables, set);
    }
    if !unset.is_empty() {
        body.list("unset", unset.into_iter());
    }
    subtables
}

fn write_path_list(body: &mut Body<'_>, edits: &[LineEdit]) -> String {
    let folders = edits.iter().filter_map(|edit| match edit {
        LineEdit::PathList { folder, .. } => Some(quoted(&folder.to_string())),
        _ => None,
    });
    if let Some(LineEdit::PathList { key, first, .. }) = edits.first() {
        body.text("key", &key.to_string());
        body.list("add", folders);
        if *first {
            body.raw("first", "true");
        }
    }
    String::new()
}
