use std::ops::Range;

use model::{
    AccountStep, Acl, Alternative, EditStep, Hook, LineEdit, Meta, Owner, ReplaceRule, RunStep,
    ServiceStep, StartType, Template, Time, Undo, Version, unescape,
};
use toml_edit::{Item, TableLike};

use super::{
    common,
    fields::{Fields, Reader, entries_of, key_span, kind_of, listed},
    kind_names,
};
use crate::{
    Part, Place, Step, StepKind, TextReplacement, TreeSource, TreeStep,
    problem::did_you_mean,
    vocabulary::{
        AT, FOLLOWER, LINE, REPLACE, REPLACEMENT, START, STEP, TRIGGERS, UNDO, kind, trigger,
    },
};

/// How long a `run` step may take when it does not say: ten minutes, in seconds.
pub(crate) const DEFAULT_LIMIT: u32 = 600;
/// A user's home and shell when the step does not say: neither lets anybody in.
pub(crate) const DEFAULT_HOME: &str = "/nonexistent";
pub(crate) const DEFAULT_SHELL: &str = "/usr/sbin/nologin";

/// Reads one `[[step]]`: its first key but for the common ones names its kind.
pub(super) fn read(
    reader: &mut Reader<'_>,
    number: usize,
    table: &dyn TableLike,
    span: Range<usize>,
) -> Option<Step> {
    let Some(name) = table.iter().map(|(key, _)| key).find(|key| !common(key)) else {
        let problem = reader
            .located(
                Place::of(Part::Step { number, kind: None }),
                span,
                "it does nothing".to_owned(),
            )
            .hint("its first key names what it does: `install-tree = \"files/opt/redis\"`");
        reader.problems.push(problem);
        return None;
    };
    let Some(spec) = kind(name) else {
        refuse_kind(reader, number, table, name);
        return None;
    };
    let place = Place::of(Part::Step { number, kind: Some(name.into()) });
    let specs = [spec, &STEP];
    let mut fields = Fields::open(reader, place, table, span, &specs);
    let when = fields.condition("when");
    let kind = read_kind(&mut fields, name)?;
    Some(Step { when, kind })
}

fn refuse_kind(reader: &mut Reader<'_>, number: usize, table: &dyn TableLike, name: &str) {
    let later = table.iter().map(|(key, _)| key).find(|key| kind(key).is_some());
    let hint = match (did_you_mean(name, kind_names()), later) {
        (_, Some(later)) => {
            format!("the first key names what a step does: write `{later} = …` before `{name}`")
        }
        (Some(meant), None) => format!("did you mean `{meant}`?"),
        (None, None) => format!("a step may be {}", listed(kind_names())),
    };
    let place = Place::of(Part::Step { number, kind: None });
    let problem =
        reader.located(place, key_span(table, name), format!("`{name}` is no step")).hint(hint);
    reader.problems.push(problem);
}

fn read_kind(fields: &mut Fields<'_, '_, '_>, name: &str) -> Option<StepKind> {
    match name {
        "install-tree" | "install-file" => read_tree(fields, name),
        "create-directory" => {
            let to = fields.path(name);
            let meta = read_meta(fields, 0o755);
            read_made(fields, to, Some(TreeSource::Directory(Box::new(meta))))
        }
        "create-link" => {
            let to = fields.path(name);
            let target = fields.template("target");
            let meta = read_meta(fields, 0o777);
            let source = target.map(|target| TreeSource::Link { target, meta: Box::new(meta) });
            read_made(fields, to, source)
        }
        "remove" => Some(StepKind::Remove { path: fields.path(name)? }),
        "set-metadata" => {
            let path = fields.path(name);
            let meta = read_meta(fields, 0o644);
            Some(StepKind::SetMetadata { path: path?, meta: Box::new(meta) })
        }
        "edit-lines" => read_edit(fields, name, read_line_edits),
        "edit-ini" => read_edit(fields, name, read_ini_edits),
        "edit-assignments" => read_edit(fields, name, read_assignment_edits),
        "edit-path-list" => read_edit(fields, name, read_path_list_edits),
        "create-group" | "create-user" | "add-to-group" => {
            Some(StepKind::Account(read_account(fields, name)?))
        }
        "service" => Some(StepKind::Service(read_service(fields)?)),
        "alternative" => Some(StepKind::Alternative(read_alternative(fields)?)),
        "trigger" => read_trigger(fields),
        _ => Some(StepKind::Run(read_run(fields)?)),
    }
}

fn read_tree(fields: &mut Fields<'_, '_, '_>, name: &str) -> Option<StepKind> {
    let source = fields.source(name);
    let to = fields.path("to");
    let replace = read_replace(fields);
    let version = fields.name("version").map(Version::new);
    let replacements = read_replacements(fields);
    let is_tree = name == "install-tree";
    let except = if is_tree { fields.patterns("except") } else { Vec::new() };
    let source = source.map(if is_tree { TreeSource::Tree } else { TreeSource::File })?;
    Some(StepKind::Tree(TreeStep { source, to: to?, replace, version, replacements, except }))
}

/// A tree step that needs no file of the project.
fn read_made(
    fields: &mut Fields<'_, '_, '_>,
    to: Option<Template>,
    source: Option<TreeSource>,
) -> Option<StepKind> {
    let replace = read_replace(fields);
    let version = fields.name("version").map(Version::new);
    Some(StepKind::Tree(TreeStep {
        source: source?,
        to: to?,
        replace,
        version,
        replacements: Vec::new(),
        except: Vec::new(),
    }))
}

fn read_replace(fields: &mut Fields<'_, '_, '_>) -> ReplaceRule {
    [ReplaceRule::Newer, ReplaceRule::Always, ReplaceRule::Never][fields.word("replace", REPLACE)]
}

fn read_replacements(fields: &mut Fields<'_, '_, '_>) -> Vec<TextReplacement> {
    let tables = fields.tables("replace-text");
    let place = fields.place.key("replace-text");
    tables
        .into_iter()
        .filter_map(|(table, span)| {
            let mut inner =
                Fields::open(fields.reader, place.clone(), table, span, &[&REPLACEMENT]);
            let files = inner.patterns("files");
            let text = inner.name("text");
            let with = inner.template("with");
            inner.item("files")?;
            Some(TextReplacement { files, text: text?.into(), with: with? })
        })
        .collect()
}

/// Metadata; `usual` is the mode when unsaid, and the only one where the step has no such key.
fn read_meta(fields: &mut Fields<'_, '_, '_>, usual: u16) -> Meta {
    Meta {
        mode: fields.mode("mode").unwrap_or(usual),
        owner: fields.parsed("owner", read_owner).unwrap_or_else(Owner::root),
        group: fields.parsed("group", read_owner).unwrap_or_else(Owner::root),
        modified: fields.parsed("modified", str::parse::<Time>).unwrap_or_default(),
        xattrs: read_xattrs(fields),
        acl: fields.parsed("acl", str::parse::<Acl>),
        default_acl: fields.parsed("default-acl", str::parse::<Acl>),
    }
}

/// Reads an owner: a name, or a number in digits.
pub(crate) fn read_owner(text: &str) -> Result<Owner, String> {
    if text.is_empty() || text.contains(['\0', '\n', ':']) {
        return Err(format!("`{}` is no account", text.escape_debug()));
    }
    Ok(text.parse().unwrap_or_else(|never| match never {}))
}

fn read_xattrs(fields: &mut Fields<'_, '_, '_>) -> model::Xattrs {
    let mut xattrs = model::Xattrs::new();
    for (name, item, span) in fields.entries("xattrs") {
        let Some(value) = item.as_str() else {
            fields.wrong_kind("xattrs", span, kind_of(item));
            continue;
        };
        match (unescape(name), unescape(value)) {
            (Ok(name), Ok(value)) if !name.is_empty() => {
                xattrs.insert(name.into(), value.into());
            }
            (Ok(_), Ok(_)) => {
                fields.wrong("xattrs", span, "an attribute has a name", "`user.name`");
            }
            (Err(error), _) | (_, Err(error)) => {
                fields.wrong("xattrs", span, error, "in TOML, `'single quotes'` keep backslashes");
            }
        }
    }
    xattrs
}

fn read_edit(
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

fn read_line_edits(fields: &mut Fields<'_, '_, '_>) -> Vec<LineEdit> {
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
        let (LineEdit::Add { line, .. } | LineEdit::Remove { line }) = edit else { continue };
        let whole = line.0.iter().all(
            |part| !matches!(part, model::Part::Literal(bytes) if bytes.contains(&b'\n') || bytes.contains(&0)),
        );
        if !whole {
            let key = if matches!(edit, LineEdit::Add { .. }) { "add" } else { "remove" };
            let span = fields.span(key);
            fields.wrong(
                key,
                span,
                "a line holds no line end and no zero byte",
                "give each line its own text",
            );
        }
    }
    edits
}

fn read_ini_edits(fields: &mut Fields<'_, '_, '_>) -> Vec<LineEdit> {
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

fn read_assignment_edits(fields: &mut Fields<'_, '_, '_>) -> Vec<LineEdit> {
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

fn read_path_list_edits(fields: &mut Fields<'_, '_, '_>) -> Vec<LineEdit> {
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

fn read_account(fields: &mut Fields<'_, '_, '_>, kind: &str) -> Option<AccountStep> {
    let name = fields.parsed(kind, account_name);
    if kind == "add-to-group" {
        let user = fields.parsed("user", account_name);
        return Some(AccountStep::Membership { user: user?, group: name? });
    }
    let system = fields.truth("system", false);
    let id = fields.number("id");
    if kind == "create-group" {
        return Some(AccountStep::Group { name: name?, system, id });
    }
    let group = if fields.has("group") { fields.parsed("group", account_name) } else { None };
    let home = fields.path("home").unwrap_or_else(|| Template::literal(DEFAULT_HOME));
    let shell = fields.path("shell").unwrap_or_else(|| Template::literal(DEFAULT_SHELL));
    let comment = fields.parsed("comment", |text| {
        if text.contains([':', '\n', '\0']) {
            return Err("the account database keeps no `:` and no line end".to_owned());
        }
        Ok(text.to_owned())
    });
    let comment = comment.unwrap_or_default();
    Some(AccountStep::User { name: name?, system, id, group, home, shell, comment })
}

/// A name every account database takes.
fn account_name(text: &str) -> Result<Box<str>, String> {
    let allowed =
        |letter: char| !letter.is_control() && !letter.is_whitespace() && !":/,\"".contains(letter);
    if text.is_empty() || text.starts_with('-') || !text.chars().all(allowed) {
        return Err(format!("`{text}` is no account name"));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` is a number, not an account name"));
    }
    Ok(text.into())
}

fn read_service(fields: &mut Fields<'_, '_, '_>) -> Option<ServiceStep> {
    let unit = fields.parsed("service", |text| {
        let types = [
            ".service",
            ".socket",
            ".timer",
            ".path",
            ".target",
            ".mount",
            ".automount",
            ".swap",
            ".slice",
        ];
        match types.iter().any(|end| text.len() > end.len() && text.ends_with(end)) {
            true if !text.contains(['/', '\n', '\0']) => Ok(Box::<str>::from(text)),
            true => Err(format!("`{text}` is a path, not a unit's name")),
            false => Err(format!("`{text}` is no unit's full name: {}", listed(types.into_iter()))),
        }
    });
    let start =
        [StartType::Automatic, StartType::Manual, StartType::Disabled][fields.word("start", START)];
    let now = fields.truth("now", start == StartType::Automatic);
    if now && start == StartType::Disabled {
        let span = fields.span("now");
        fields.wrong(
            "now",
            span,
            "a disabled unit cannot be started",
            "leave `now` out, or write `start = \"manual\"`",
        );
    }
    Some(ServiceStep { unit: unit?, start, now })
}

fn read_alternative(fields: &mut Fields<'_, '_, '_>) -> Option<Alternative> {
    let plain = |text: &str| {
        if text.is_empty() || text.contains(['/', ' ', '\n', '\0']) {
            return Err(format!("`{text}` is no alternative's name"));
        }
        Ok(Box::<str>::from(text))
    };
    let name = fields.parsed("alternative", plain);
    let link = fields.path("link");
    let path = fields.path("path");
    let priority = fields.number("priority");
    let tables = fields.tables("followers");
    let place = fields.place.key("followers");
    let mut followers = Vec::new();
    for (table, span) in tables {
        let mut inner = Fields::open(fields.reader, place.clone(), table, span, &[&FOLLOWER]);
        let (name, link, path) =
            (inner.parsed("name", plain), inner.path("link"), inner.path("path"));
        followers.extend(name.zip(link).zip(path).map(|((name, link), path)| (name, link, path)));
    }
    Some(Alternative { name: name?, link: link?, path: path?, priority: priority?, followers })
}

fn read_trigger(fields: &mut Fields<'_, '_, '_>) -> Option<StepKind> {
    let name = fields.name("trigger")?;
    if trigger(name).is_none() {
        let names = || TRIGGERS.iter().map(|trigger| trigger.name);
        let hint = match did_you_mean(name, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("it may be {}; anything else is a `run` step", listed(names())),
        };
        let span = fields.span("trigger");
        fields.wrong("trigger", span, format_args!("`{name}` is no trigger"), hint);
        return None;
    }
    Some(StepKind::Trigger { name: name.into() })
}

fn read_run(fields: &mut Fields<'_, '_, '_>) -> Option<RunStep> {
    let command = fields.command("run");
    let at = [Hook::Install, Hook::BeforeUninstall, Hook::AfterUninstall][fields.word("at", AT)];
    let undo = read_undo(fields);
    let limit = fields.duration("limit").unwrap_or(DEFAULT_LIMIT);
    let wait = fields.truth("wait", true);
    let exit_codes = fields.exit_codes("exit-codes");
    let outputs = fields.paths("outputs");
    if undo == Some(Undo::Outputs) && !fields.has("outputs") {
        let span = fields.span("undo");
        fields.wrong(
            "undo",
            span,
            "it does not say which outputs are put back",
            "add `outputs = [\"/var/lib/redis\"]`, or `outputs = []` where the command changes nothing",
        );
    }
    Some(RunStep { command: command?, at, undo: undo?, limit, wait, exit_codes, outputs })
}

fn read_undo(fields: &mut Fields<'_, '_, '_>) -> Option<Undo> {
    let value = fields.value("undo")?;
    match value.as_str() {
        Some("outputs") => Some(Undo::Outputs),
        Some("irreversible") => Some(Undo::Irreversible),
        Some(word) if !word.contains([' ', '/']) => {
            let hint = match did_you_mean(word, UNDO.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "it may be `outputs`, `irreversible` or a command in a list".to_owned(),
            };
            let span = value.span().unwrap_or_default();
            fields.wrong("undo", span, format_args!("`{word}` undoes nothing"), hint);
            None
        }
        _ => Some(Undo::Command(fields.command_of("undo", value)?)),
    }
}
