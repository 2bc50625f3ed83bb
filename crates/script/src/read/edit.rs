use model::{EditStep, LineEdit, Template};
use toml_edit::{Item, TableLike};

use super::fields::{Fields, entries_of, kind_of};
use crate::{StepKind, vocabulary::LINE};

/// Reads the edits of a text file, with the reader of its kind.
pub(super) fn read_edit(
    fields: &mut Fields<'_, '_, '_>,
    name: &str,
    edits: fn(&mut Fields<'_, '_, '_>) -> Vec<LineEdit>,
) -> Option<StepKind> {
    let file = fields.path(name);
    let problems = fields.reader.problems.len();
    let edits = edits(fields);
    let create = fields.truth("create", false);
    if edits.is_empty() && fields.reader.problems.len() == problems {
        let place = fields.place.clone();
        let span = fields.span(name);
        let hint = match name {
            "edit-lines" => "say what: `add = [\"…\"]` or `remove = [\"…\"]`",
            "edit-path-list" => "say what: `add = [\"/opt/redis/bin\"]`",
            _ => "say what: `set = { … }` or `unset = …`",
        };
        let problem =
            fields.reader.located(place, span, "it changes nothing".to_owned()).hint(hint);
        fields.reader.problems.push(problem);
    }
    Some(StepKind::Edit(EditStep { file: file?, edits, create }))
}

pub(super) fn read_line_edits(fields: &mut Fields<'_, '_, '_>) -> Vec<LineEdit> {
    let mut edits = Vec::new();
    for value in fields.list("add") {
        let Some(table) = value.as_inline_table() else {
            edits.extend(
                fields.template_of("add", value).map(|line| LineEdit::Add { line, after: None }),
            );
            continue;
        };
        let span = value.span().unwrap_or_default();
        let place = fields.place.key("add");
        let mut inner = Fields::open(fields.reader, place, table, span, &[&LINE]);
        let (line, after) = (inner.template("line"), inner.template("after"));
        edits.extend(line.map(|line| LineEdit::Add { line, after }));
    }
    edits.extend(fields.templates("remove").into_iter().map(|line| LineEdit::Remove { line }));
    for edit in &edits {
        // Several lines added at once stay together; what is removed is one line.
        let (line, key, odd): (_, _, &[u8]) = match edit {
            LineEdit::Add { line, .. } => (line, "add", b"\0"),
            LineEdit::Remove { line } => (line, "remove", b"\n\0"),
            _ => continue,
        };
        let whole = line.0.iter().all(|part| {
            !matches!(part, model::Part::Literal(bytes) if bytes.iter().any(|byte| odd.contains(byte)))
        });
        if !whole {
            let span = fields.span(key);
            fields.wrong(
                key,
                span,
                "a line holds no zero byte, and a line to remove no line end",
                "give each line its own text",
            );
        }
    }
    edits
}

pub(super) fn read_ini_edits(fields: &mut Fields<'_, '_, '_>) -> Vec<LineEdit> {
    let mut edits = Vec::new();
    for (section, item, span) in fields.entries("set") {
        let Some(table) = item.as_table_like() else {
            fields.wrong_kind("set", span, kind_of(item));
            continue;
        };
        let Some(section) = fields.template_key("set", section, span) else { continue };
        for (key, value) in read_assignments(fields, "set", table) {
            edits.push(LineEdit::Ini { section: section.clone(), key, value: Some(value) });
        }
    }
    for (section, item, span) in fields.entries("unset") {
        let Some(keys) = item.as_array() else {
            fields.wrong_kind("unset", span, kind_of(item));
            continue;
        };
        let Some(section) = fields.template_key("unset", section, span) else { continue };
        for value in keys {
            let Some(key) = read_key(fields, "unset", value) else { continue };
            edits.push(LineEdit::Ini { section: section.clone(), key, value: None });
        }
    }
    edits
}

pub(super) fn read_assignment_edits(fields: &mut Fields<'_, '_, '_>) -> Vec<LineEdit> {
    let table = fields.item("set").and_then(Item::as_table_like);
    let mut edits = Vec::new();
    match table {
        Some(table) => edits.extend(
            read_assignments(fields, "set", table)
                .into_iter()
                .map(|(key, value)| LineEdit::Assignment { key, value: Some(value) }),
        ),
        None => drop(fields.entries("set")),
    }
    for value in fields.list("unset") {
        let key = read_key(fields, "unset", value);
        edits.extend(key.map(|key| LineEdit::Assignment { key, value: None }));
    }
    edits
}

/// Templates by key, keys not empty.
fn read_assignments(
    fields: &mut Fields<'_, '_, '_>,
    place: &str,
    table: &dyn TableLike,
) -> Vec<(Template, Template)> {
    let mut found = Vec::new();
    for (key, item, span) in entries_of(table) {
        if key.is_empty() {
            fields.wrong(place, span, "an empty key", "give it a name");
            continue;
        }
        let Some(text) = item.as_str() else {
            let hint = format!("write `{key} = \"…\"`");
            fields.wrong(
                place,
                span,
                format_args!("`{key}` must be a text, not {}", kind_of(item)),
                hint,
            );
            continue;
        };
        let key = fields.template_key(place, key, span.clone());
        found.extend(key.zip(fields.template_key(place, text, span)));
    }
    found
}

fn read_key<'d>(
    fields: &mut Fields<'_, '_, 'd>,
    place: &str,
    value: &'d toml_edit::Value,
) -> Option<Template> {
    fields.name_of(place, value)?;
    fields.template_of(place, value)
}

pub(super) fn read_path_list_edits(fields: &mut Fields<'_, '_, '_>) -> Vec<LineEdit> {
    let key = fields.value("key").and_then(|value| read_key(fields, "key", value));
    let first = fields.truth("first", false);
    let folders: Vec<Template> =
        fields.list("add").into_iter().filter_map(|value| read_key(fields, "add", value)).collect();
    let Some(key) = key else { return Vec::new() };
    folders
        .into_iter()
        .map(|folder| LineEdit::PathList { key: key.clone(), folder, first })
        .collect()
}
