use std::fmt::Write as _;

use model::{Recovery, RecoveryAction, RegistryStep, SetupStep, Template, ValueEdit, Window};

use super::{
    templates,
    toml::{Body, inline_list, key, quoted, table},
};
use crate::{
    ShortcutStep,
    duration::print_duration,
    read::SERVICE_KINDS,
    vocabulary::{FAILURES, SERVICE_KIND, SERVICE_START, WINDOW},
};

/// Values stand in a table of their own, a line each, so that a change of one is a change of one line.
pub(super) fn write_registry(text: &mut String, step: &RegistryStep) {
    let mut body = Body::new(text);
    body.text("edit-registry", &step.key.to_string());
    if step.remove {
        body.raw("remove-key", "true");
    }
    if step.values.is_empty() {
        return;
    }
    text.push_str("\n[step.values]\n");
    for (name, edit) in &step.values {
        let _ = writeln!(text, "{} = {}", key(&name.to_string()), value(edit));
    }
}

fn value(edit: &ValueEdit) -> String {
    let one = |name: &str, value: String| table([(name.to_owned(), value)]);
    let list = |texts: &[model::Template]| inline_list(&templates(texts).collect::<Vec<_>>());
    match edit {
        ValueEdit::Text(text) => quoted(&text.to_string()),
        ValueEdit::Expand(text) => one("expand", quoted(&text.to_string())),
        ValueEdit::List(texts) => one("list", list(texts)),
        ValueEdit::Dword(number) => one("dword", number.to_string()),
        ValueEdit::Qword(number) => one(
            "qword",
            if i64::try_from(*number).is_ok() {
                number.to_string()
            } else {
                quoted(&number.to_string())
            },
        ),
        ValueEdit::Raw { kind, data } => {
            let hex = data.iter().fold(String::with_capacity(data.len() * 2), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            table([("type".to_owned(), kind.to_string()), ("data".to_owned(), quoted(&hex))])
        }
        ValueEdit::Remove => one("remove", "true".to_owned()),
        ValueEdit::AddToPath(texts) => one("add", list(texts)),
    }
}

pub(super) fn write_shortcut(body: &mut Body<'_>, to: &str, shortcut: &ShortcutStep) {
    body.text("create-shortcut", to);
    body.text("target", &shortcut.target.to_string());
    let mut text = |key: &str, text: &Template| {
        if !text.0.is_empty() {
            body.text(key, &text.to_string());
        }
    };
    text("arguments", &shortcut.arguments);
    text("folder", &shortcut.folder);
    text("icon", &shortcut.icon);
    text("description", &shortcut.description);
    if shortcut.icon_index != 0 {
        body.raw("icon-index", &shortcut.icon_index.to_string());
    }
    if shortcut.window != Window::default() {
        body.text("window", WINDOW[shortcut.window as usize]);
    }
    if shortcut.hotkey != 0 {
        body.raw("hotkey", &shortcut.hotkey.to_string());
    }
    for (key, is) in
        [("to-folder", shortcut.to_folder), ("as-administrator", shortcut.as_administrator)]
    {
        if is {
            body.raw(key, "true");
        }
    }
}

pub(super) fn write_setup(body: &mut Body<'_>, setup: &SetupStep) {
    body.text("create-service", &setup.name);
    body.text("program", &setup.program.to_string());
    let kind = SERVICE_KINDS.iter().position(|kind| *kind == setup.kind).unwrap_or(0);
    if kind != 0 {
        body.text("kind", SERVICE_KIND[kind]);
    }
    body.text("start", SERVICE_START[setup.start as usize]);
    for (name, text) in [
        ("display-name", &setup.display_name),
        ("description", &setup.description),
        ("account", &setup.account),
    ] {
        if !text.is_empty() {
            body.text(name, text);
        }
    }
    if !setup.dependencies.is_empty() {
        body.list("dependencies", setup.dependencies.iter().map(|one| quoted(one)));
    }
    if setup.now {
        body.raw("now", "true");
    }
    if let Some(recovery) = &setup.recovery {
        write_recovery(body, recovery);
    }
    if let Some(command) = &setup.recovery_command {
        body.text("recovery-command", &command.to_string());
    }
}

fn write_recovery(body: &mut Body<'_>, recovery: &Recovery) {
    if !recovery.actions.is_empty() {
        body.list(
            "recovery",
            recovery.actions.iter().map(|action| quoted(&print_recovery(action))),
        );
    }
    if let Some(reset) = recovery.reset {
        body.text("recovery-reset", &print_duration(reset));
    }
    if !recovery.message.is_empty() {
        body.text("recovery-message", &recovery.message);
    }
    if recovery.errors_too {
        body.raw("recovery-from-errors", "true");
    }
}

/// `restart 60s`
pub(crate) fn print_recovery(action: &RecoveryAction) -> String {
    let word = FAILURES[action.failure as usize];
    match action.delay {
        0 => word.to_owned(),
        delay if delay.is_multiple_of(1000) => format!("{word} {}", print_duration(delay / 1000)),
        delay => format!("{word} {delay}ms"),
    }
}
