//! What a package does, in sentences.

use std::fmt::Write as _;

use model::{AccountStep, Hook, LineEdit, ServiceStep, StartType, Undo};

use crate::{Action, Header, Step, conditions::Words};

/// What a package does, in sentences, one for each step.
pub fn explain(header: &Header) -> String {
    let mut text = format!("{} {} for {}", header.name, header.version, header.architecture);
    if !header.summary.is_empty() {
        let _ = write!(text, ": {}", header.summary);
    }
    let totals = header.totals;
    let _ = writeln!(text, "\n{} files with {} bytes.\n", totals.files, totals.bytes);
    for (name, variable) in &header.variables {
        let _ = match (&variable.fixed, &variable.default) {
            (Some(why), _) => writeln!(text, "Variable `{name}` is fixed: {why}."),
            (None, Some(default)) => writeln!(text, "Variable `{name}` is `{default}` unless set."),
            (None, None) => writeln!(text, "Variable `{name}` must be set."),
        };
    }
    if header.steps.is_empty() {
        text.push_str("It does nothing.\n");
    }
    for (index, step) in header.steps.iter().enumerate() {
        let _ = writeln!(text, "{:3}. {}.", index + 1, sentence(step, header));
    }
    text
}

fn sentence(step: &Step, header: &Header) -> String {
    let what = action(&step.action, header);
    match &step.when {
        Some(condition) => format!("{what}, if {}", Words(condition)),
        None => what,
    }
}

fn action(action: &Action, header: &Header) -> String {
    match action {
        Action::Tree(number) => match header.trees.get(*number as usize) {
            Some(tree) => format!("Installs files to `{}`", tree.to),
            None => "Installs files".to_owned(),
        },
        Action::Remove { path } => format!("Removes `{path}` with all it holds"),
        Action::SetMetadata { path, meta } => {
            let (mode, owner, group) = (meta.mode, &meta.owner, &meta.group);
            format!("Gives `{path}` to {owner}:{group} with mode {mode:04o}")
        }
        Action::Edit(edit) => {
            let edits: Vec<String> = edit.edits.iter().map(line_edit).collect();
            format!("Edits `{}`: {}", edit.file, edits.join("; "))
        }
        Action::Account(account) => match account {
            AccountStep::Group { name, .. } => format!("Creates the group `{name}`"),
            AccountStep::User { name, .. } => format!("Creates the user `{name}`"),
            AccountStep::Membership { user, group } => {
                format!("Adds the user `{user}` to the group `{group}`")
            }
        },
        Action::Service(service) => service_words(service),
        Action::Alternative(one) => {
            format!("Offers `{}` as alternative for `{}`", one.path, one.name)
        }
        Action::Registry(step) if step.remove => format!("Removes the registry key `{}`", step.key),
        Action::Registry(step) => {
            format!("Sets {} values of the registry key `{}`", step.values.len(), step.key)
        }
        Action::Setup(setup) => {
            format!("Sets up the service `{}`, which runs `{}`", setup.name, setup.program)
        }
        Action::Task(task) => format!("Sets up the scheduled task `{}`", task.name),
        Action::Library(library) => format!("Lets the library `{}` register itself", library.file),
        Action::Trigger(name) => format!("Brings up to date what `{name}` derives"),
        Action::Run(run) => {
            let command: Vec<String> = run.command.iter().map(ToString::to_string).collect();
            let when = match run.at {
                Hook::Install => "Runs",
                Hook::BeforeUninstall => "Before it is uninstalled, runs",
                Hook::AfterUninstall => "After it is uninstalled, runs",
            };
            let undo = match run.undo {
                Undo::Outputs => "what it changes is put back when undone",
                Undo::Command(_) => "another command undoes it",
                Undo::Irreversible => "nothing can undo it",
            };
            format!("{when} `{}`; {undo}", command.join(" "))
        }
    }
}

fn service_words(service: &ServiceStep) -> String {
    let start = match service.start {
        StartType::Automatic => "starts by itself",
        StartType::Manual => "starts when somebody starts it",
        StartType::Disabled => "can be started by nobody",
    };
    let now = if service.now { ", and is started now" } else { "" };
    format!("Sets up the service `{}`, which {start}{now}", service.unit)
}

fn line_edit(edit: &LineEdit) -> String {
    match edit {
        LineEdit::Add { line, .. } => format!("adds the line `{line}`"),
        LineEdit::Remove { line } => format!("removes the line `{line}`"),
        LineEdit::Ini { section, key, value } => match value {
            Some(value) => format!("sets `{key}` in `[{section}]` to `{value}`"),
            None => format!("takes `{key}` out of `[{section}]`"),
        },
        LineEdit::Assignment { key, value } => match value {
            Some(value) => format!("sets `{key}` to `{value}`"),
            None => format!("takes `{key}` out"),
        },
        LineEdit::PathList { key, folder, .. } => format!("adds `{folder}` to `{key}`"),
    }
}
