use std::collections::BTreeMap;

use model::{
    AccountStep, Alternative, ExitMeaning, Hook, Meta, Owner, ReplaceRule, RunStep, ServiceStep,
    StartType, Template, Time, Undo, Xattrs, escape,
};

use super::windows::{write_registry, write_setup, write_shortcut};
use super::{
    edits::{groups, write_edit},
    templates,
    toml::{Body, quoted, table},
};
use crate::{
    Step, StepKind, TreeSource, TreeStep,
    duration::print_duration,
    print_condition,
    read::{DEFAULT_HOME, DEFAULT_LIMIT, DEFAULT_SHELL, MEANING},
    vocabulary::{AT, MEANINGS, REPLACE, START},
};

/// Writes a step as `[[step]]`, an edit step as several where one table cannot say it.
/// `above` is a comment with its line ends.
pub(super) fn write(text: &mut String, step: &Step, above: &str) {
    if let StepKind::Edit(edit) = &step.kind {
        for (index, group) in groups(&edit.edits).into_iter().enumerate() {
            open(text, step, if index == 0 { above } else { "" });
            write_edit(text, edit, group);
        }
        return;
    }
    open(text, step, above);
    let mut body = Body::new(text);
    match &step.kind {
        StepKind::Tree(tree) => write_tree(&mut body, tree),
        StepKind::Remove { path } => body.text("remove", &path.to_string()),
        StepKind::SetMetadata { path, meta } => {
            body.text("set-metadata", &path.to_string());
            body.text("mode", &format!("{:04o}", meta.mode));
            write_owner(&mut body, meta);
            body.text("modified", &meta.modified.to_string());
            write_extended(&mut body, meta);
        }
        StepKind::Account(account) => write_account(&mut body, account),
        StepKind::Service(service) => write_service(&mut body, service),
        StepKind::Registry(step) => write_registry(text, step),
        StepKind::Setup(setup) => write_setup(&mut body, setup),
        StepKind::Task(task) => {
            body.text("create-task", &task.name);
            body.lines("definition", &task.definition.to_string());
        }
        StepKind::Library(library) => {
            body.text("register-library", &library.file.to_string());
            if library.optional {
                body.raw("optional", "true");
            }
        }
        StepKind::Alternative(alternative) => write_alternative(&mut body, alternative),
        StepKind::Trigger { name } => body.text("trigger", name),
        StepKind::Run(run) => write_run(&mut body, run),
        StepKind::Edit(_) => {}
    }
}

fn open(text: &mut String, step: &Step, above: &str) {
    text.push('\n');
    text.push_str(above);
    text.push_str("[[step]]\n");
    if let Some(when) = &step.when {
        Body::new(text).text("when", &print_condition(when));
    }
    if !step.users.is_empty() {
        Body::new(text).list("users", step.users.iter().map(|users| quoted(users.word())));
    }
}

fn write_tree(body: &mut Body<'_>, tree: &TreeStep) {
    let to = tree.to.to_string();
    match &tree.source {
        TreeSource::Tree(source) => {
            body.text("install-tree", source);
            body.text("to", &to);
        }
        TreeSource::File(source) => {
            body.text("install-file", source);
            body.text("to", &to);
        }
        TreeSource::Directory(_) => body.text("create-directory", &to),
        TreeSource::Link { target, .. } => {
            body.text("create-link", &to);
            body.text("target", &target.to_string());
        }
        TreeSource::Shortcut(shortcut) => write_shortcut(body, &to, shortcut),
    }
    if tree.replace != ReplaceRule::default() {
        body.text("replace", REPLACE[tree.replace as usize]);
    }
    if let Some(version) = &tree.version {
        body.text("version", version.as_str());
    }
    match &tree.source {
        TreeSource::Directory(meta) => {
            if meta.mode != 0o755 {
                body.text("mode", &format!("{:04o}", meta.mode));
            }
            write_meta(body, meta);
        }
        TreeSource::Link { meta, .. } => write_meta(body, meta),
        TreeSource::Shortcut(shortcut) => write_meta(body, &shortcut.meta),
        TreeSource::Tree(_) | TreeSource::File(_) => {
            let replacements = tree.replacements.iter().map(|replacement| {
                let files =
                    replacement.files.iter().map(|pattern| quoted(pattern)).collect::<Vec<_>>();
                table([
                    ("files".to_owned(), format!("[{}]", files.join(", "))),
                    ("text".to_owned(), quoted(&replacement.text)),
                    ("with".to_owned(), quoted(&replacement.with.to_string())),
                ])
            });
            if !tree.replacements.is_empty() {
                body.list("replace-text", replacements);
            }
            if !tree.except.is_empty() {
                body.list("except", tree.except.iter().map(|pattern| quoted(pattern)));
            }
        }
    }
}

/// Owner, time and extended metadata, where they are not what is meant when unsaid.
fn write_meta(body: &mut Body<'_>, meta: &Meta) {
    write_owner(body, meta);
    if meta.modified != Time::default() {
        body.text("modified", &meta.modified.to_string());
    }
    write_extended(body, meta);
}

fn write_owner(body: &mut Body<'_>, meta: &Meta) {
    for (name, owner) in [("owner", &meta.owner), ("group", &meta.group)] {
        if *owner != Owner::root() {
            body.text(name, &owner.to_string());
        }
    }
}

fn write_extended(body: &mut Body<'_>, meta: &Meta) {
    if !meta.xattrs.is_empty() {
        body.raw("xattrs", &xattrs(&meta.xattrs));
    }
    for (name, acl) in [("acl", &meta.acl), ("default-acl", &meta.default_acl)] {
        if let Some(acl) = acl {
            body.text(name, &acl.to_string());
        }
    }
}

fn xattrs(xattrs: &Xattrs) -> String {
    table(xattrs.iter().map(|(name, value)| (escape(name), quoted(&escape(value)))))
}

fn write_account(body: &mut Body<'_>, account: &AccountStep) {
    let numbered = |body: &mut Body<'_>, system: bool, id: Option<u32>| {
        if system {
            body.raw("system", "true");
        }
        if let Some(id) = id {
            body.raw("id", &id.to_string());
        }
    };
    match account {
        AccountStep::Group { name, system, id } => {
            body.text("create-group", name);
            numbered(body, *system, *id);
        }
        AccountStep::User { name, system, id, group, home, shell, comment } => {
            body.text("create-user", name);
            numbered(body, *system, *id);
            if let Some(group) = group {
                body.text("group", group);
            }
            for (key, value, unsaid) in
                [("home", home, DEFAULT_HOME), ("shell", shell, DEFAULT_SHELL)]
            {
                if *value != Template::literal(unsaid) {
                    body.text(key, &value.to_string());
                }
            }
            if !comment.is_empty() {
                body.text("comment", comment);
            }
        }
        AccountStep::Membership { user, group } => {
            body.text("add-to-group", group);
            body.text("user", user);
        }
    }
}

fn write_service(body: &mut Body<'_>, service: &ServiceStep) {
    body.text("service", &service.unit);
    body.text("start", START[service.start as usize]);
    if service.now != (service.start == StartType::Automatic) {
        body.raw("now", &service.now.to_string());
    }
}

fn write_alternative(body: &mut Body<'_>, alternative: &Alternative) {
    body.text("alternative", &alternative.name);
    body.text("link", &alternative.link.to_string());
    body.text("path", &alternative.path.to_string());
    body.raw("priority", &alternative.priority.to_string());
    if !alternative.followers.is_empty() {
        let followers = alternative.followers.iter().map(|(name, link, path)| {
            table([
                ("name".to_owned(), quoted(name)),
                ("link".to_owned(), quoted(&link.to_string())),
                ("path".to_owned(), quoted(&path.to_string())),
            ])
        });
        body.list("followers", followers);
    }
}

fn write_run(body: &mut Body<'_>, run: &RunStep) {
    body.list("run", templates(&run.command));
    if run.at != Hook::default() {
        body.text("at", AT[run.at as usize]);
    }
    match &run.undo {
        Undo::Outputs => body.text("undo", "outputs"),
        Undo::Irreversible => body.text("undo", "irreversible"),
        Undo::Command(words) => body.list("undo", templates(words)),
    }
    if run.limit != DEFAULT_LIMIT {
        body.text("limit", &print_duration(run.limit));
    }
    if !run.wait {
        body.raw("wait", "false");
    }
    if !run.exit_codes.is_empty() {
        body.raw("exit-codes", &table(exit_codes(&run.exit_codes)));
    }
    if !run.outputs.is_empty() || run.undo == Undo::Outputs {
        body.list("outputs", templates(&run.outputs));
    }
}

/// Exit codes as the entries of a table.
pub(super) fn exit_codes(codes: &BTreeMap<i32, ExitMeaning>) -> Vec<(String, String)> {
    codes
        .iter()
        .map(|(code, meaning)| {
            let word = MEANING.iter().position(|known| known == meaning).unwrap_or(0);
            (code.to_string(), quoted(MEANINGS[word]))
        })
        .collect()
}
