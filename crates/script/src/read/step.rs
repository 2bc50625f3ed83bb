use std::ops::Range;

use model::{Acl, Meta, Owner, ReplaceRule, Template, Time, Users, Version, unescape};
use toml_edit::TableLike;

use super::{
    common,
    edit::{
        read_assignment_edits, read_edit, read_ini_edits, read_line_edits, read_path_list_edits,
    },
    fields::{Fields, Reader, key_span, kind_of, listed},
    kind_names,
    machine::{read_account, read_alternative, read_run, read_service, read_trigger},
    windows::{read_library, read_registry, read_setup, read_shortcut, read_task},
};
use crate::{
    Part, Place, Step, StepKind, TextReplacement, TreeSource, TreeStep,
    problem::did_you_mean,
    vocabulary::{REPLACE, REPLACEMENT, STEP, kind},
};

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
    let users = read_users(&mut fields);
    let kind = read_kind(&mut fields, name)?;
    Some(Step { when, users, kind })
}

/// Whose part it changes: each once, in their own order.
fn read_users(fields: &mut Fields<'_, '_, '_>) -> Vec<Users> {
    let mut users: Vec<Users> = fields
        .words("users", &Users::WORDS)
        .into_iter()
        .filter_map(|position| Users::ALL.get(position).copied())
        .collect();
    users.sort_unstable();
    users.dedup();
    users
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
        "create-shortcut" => {
            let to = fields.path(name);
            let meta = read_meta(fields, 0o644);
            let shortcut = read_shortcut(fields, meta);
            read_made(fields, to, shortcut.map(|it| TreeSource::Shortcut(Box::new(it))))
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
        "edit-registry" => Some(StepKind::Registry(read_registry(fields)?)),
        "create-service" => Some(StepKind::Setup(read_setup(fields)?)),
        "create-task" => Some(StepKind::Task(read_task(fields)?)),
        "register-library" => Some(StepKind::Library(read_library(fields)?)),
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
