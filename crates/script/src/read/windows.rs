//! Steps for what Windows keeps apart from files.

use model::{
    Failure, LibraryStep, Meta, Recovery, RecoveryAction, RegistryKey, RegistryStep, ServiceStart,
    SetupStep, TaskStep, Template, ValueEdit, Window, task_name,
};
use toml_edit::{Item, TableLike};

use super::fields::{Fields, kind_of};
use crate::{
    ShortcutStep,
    duration::parse_duration,
    vocabulary::{FAILURES, SERVICE_KIND, SERVICE_START, WINDOW},
};

/// The service control manager's numbers for the words of `kind`.
pub(crate) const KINDS: [u32; 4] = [16, 32, 1, 2];
const STARTS: [ServiceStart; 6] = [
    ServiceStart::Boot,
    ServiceStart::System,
    ServiceStart::Automatic,
    ServiceStart::Manual,
    ServiceStart::Disabled,
    ServiceStart::Delayed,
];
const FORMS: &str = "write a text, or one of `{ expand = \"…\" }`, `{ list = [\"…\"] }`, `{ dword = 3 }`, \
                     `{ qword = 3 }`, `{ type = 3, data = \"00ff\" }`, `{ add = [\"…\"] }`, `{ remove = true }`";

pub(super) fn read_registry(fields: &mut Fields<'_, '_, '_>) -> Option<RegistryStep> {
    let key = fields.template("edit-registry");
    if let Some(text) = key.as_ref().and_then(Template::as_literal) {
        let text = String::from_utf8_lossy(text).into_owned();
        if let Err(error) = RegistryKey::new(&text) {
            let span = fields.span("edit-registry");
            fields.wrong(
                "edit-registry",
                span,
                error,
                "in TOML, `'single quotes'` keep backslashes",
            );
        }
    }
    let remove = fields.truth("remove-key", false);
    let mut values = Vec::new();
    for (name, item, span) in fields.entries("values") {
        let name = fields.template_key("values", name, span.clone());
        let edit = match (item.as_str(), item.as_table_like()) {
            (Some(text), _) => fields.template_key("values", text, span).map(ValueEdit::Text),
            (None, Some(table)) => {
                let edit = edit(fields, table, &span);
                if edit.is_none() {
                    fields.wrong("values", span, "it says no value", FORMS);
                }
                edit
            }
            (None, None) => {
                fields.wrong("values", span, format_args!("{} is no value", kind_of(item)), FORMS);
                None
            }
        };
        values.extend(name.zip(edit));
    }
    Some(RegistryStep { key: key?, values, remove })
}

fn edit(
    fields: &mut Fields<'_, '_, '_>,
    table: &dyn TableLike,
    span: &std::ops::Range<usize>,
) -> Option<ValueEdit> {
    let keys: Vec<&str> = table.iter().map(|(key, _)| key).collect();
    let text = |key: &str| table.get(key).and_then(Item::as_str);
    let mut texts = |key: &str| -> Option<Vec<Template>> {
        let list = table.get(key)?.as_array()?;
        list.iter().map(|one| fields.template_key("values", one.as_str()?, span.clone())).collect()
    };
    match keys.as_slice() {
        ["list"] => texts("list").map(ValueEdit::List),
        ["add"] => texts("add").map(ValueEdit::AddToPath),
        ["expand"] => {
            fields.template_key("values", text("expand")?, span.clone()).map(ValueEdit::Expand)
        }
        ["dword"] => {
            number(table.get("dword")?).and_then(|it| u32::try_from(it).ok()).map(ValueEdit::Dword)
        }
        ["qword"] => number(table.get("qword")?).map(ValueEdit::Qword),
        ["remove"] => (table.get("remove")?.as_bool() == Some(true)).then_some(ValueEdit::Remove),
        ["type", "data"] | ["data", "type"] => Some(ValueEdit::Raw {
            kind: number(table.get("type")?).and_then(|it| u32::try_from(it).ok())?,
            data: from_hex(text("data")?)?,
        }),
        _ => None,
    }
}

/// A number from 0 on; what is beyond TOML's own numbers is written as text.
fn number(item: &Item) -> Option<u64> {
    match (item.as_integer(), item.as_str()) {
        (Some(number), _) => u64::try_from(number).ok(),
        (None, Some(text)) => text.parse().ok(),
        _ => None,
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()).collect()
}

pub(super) fn read_setup(fields: &mut Fields<'_, '_, '_>) -> Option<SetupStep> {
    let name = fields.parsed("create-service", |text| {
        if text.is_empty() || text.contains(['/', '\\', '\0']) {
            return Err(format!("`{text}` is no service's name"));
        }
        Ok(Box::<str>::from(text))
    });
    let program = fields.template("program");
    let kind = KINDS[fields.word("kind", SERVICE_KIND)];
    let start = STARTS[fields.word("start", SERVICE_START)];
    let mut text =
        |key: &str| fields.parsed(key, |text| Ok::<_, String>(text.to_owned())).unwrap_or_default();
    let (display_name, description, account) =
        (text("display-name"), text("description"), text("account"));
    let listed = fields.list("dependencies");
    let dependencies = listed
        .into_iter()
        .filter_map(|one| fields.name_of("dependencies", one).map(str::to_owned))
        .collect();
    let now = fields.truth("now", false);
    let recovery = read_recovery(fields);
    let recovery_command = fields.template("recovery-command");
    let setup = SetupStep {
        name: name?,
        program: program?,
        kind,
        start,
        display_name,
        description,
        account,
        dependencies,
        now,
        recovery,
        recovery_command,
    };
    if setup.is_driver() {
        refuse_of_driver(fields, &setup);
    }
    Some(setup)
}

pub(super) fn read_task(fields: &mut Fields<'_, '_, '_>) -> Option<TaskStep> {
    let name = fields.parsed("create-task", |text| {
        task_name(text).ok_or_else(|| format!("`{text}` is no task's name"))
    });
    let definition = fields.template("definition");
    if let Some(text) = definition.as_ref().and_then(Template::as_literal)
        && !String::from_utf8_lossy(text).contains("<Task")
    {
        let span = fields.span("definition");
        let hint = "`schtasks /query /xml /tn NAME` prints one";
        fields.wrong("definition", span, "it holds no `<Task>`", hint);
    }
    Some(TaskStep { name: name?, definition: definition? })
}

pub(super) fn read_library(fields: &mut Fields<'_, '_, '_>) -> Option<LibraryStep> {
    let file = fields.path("register-library");
    let optional = fields.truth("optional", false);
    Some(LibraryStep { file: file?, optional })
}

/// The kernel starts a driver, and nothing follows when it fails.
fn refuse_of_driver(fields: &mut Fields<'_, '_, '_>, setup: &SetupStep) {
    const RECOVERY: [&str; 5] = [
        "recovery",
        "recovery-reset",
        "recovery-command",
        "recovery-message",
        "recovery-from-errors",
    ];
    let said = RECOVERY.into_iter().filter(|key| fields.has(key));
    let late = (setup.start == ServiceStart::Delayed).then_some("start");
    for key in said.chain(late).collect::<Vec<_>>() {
        let hint = "leave it out: the kernel starts a driver, and nothing follows when it fails";
        fields.wrong(key, fields.span(key), "a driver has no such thing", hint);
    }
}

/// What follows when a service fails; `None` where nothing is said of it.
fn read_recovery(fields: &mut Fields<'_, '_, '_>) -> Option<Box<Recovery>> {
    let listed = fields.list("recovery");
    let mut actions = Vec::new();
    for one in listed {
        let Some(text) = fields.name_of("recovery", one) else { continue };
        match parse_recovery(text) {
            Ok(action) => actions.push(action),
            Err(message) => {
                let span = one.span().unwrap_or_default();
                fields.wrong("recovery", span, message, "like `recovery = [\"restart 60s\"]`");
            }
        }
    }
    let reset = fields.parsed("recovery-reset", parse_duration);
    let text = |text: &str| Ok::<_, String>(text.to_owned());
    let message = fields.parsed("recovery-message", text).unwrap_or_default();
    let errors_too = fields.truth("recovery-from-errors", false);
    if actions.is_empty() && reset.is_some() {
        let hint = "add `recovery = [\"restart 60s\"]`, or leave it out";
        fields.wrong(
            "recovery-reset",
            fields.span("recovery-reset"),
            "nothing follows a failure",
            hint,
        );
    }
    let recovery = Recovery { actions, reset, message, errors_too };
    (recovery != Recovery::default()).then(|| Box::new(recovery))
}

/// `restart 60s`
fn parse_recovery(text: &str) -> Result<RecoveryAction, String> {
    let (word, after) = text.split_once(' ').unwrap_or((text, "0ms"));
    let Some(number) = FAILURES.iter().position(|known| *known == word) else {
        return Err(format!("`{word}` is nothing that can follow: {}", FAILURES.join(", ")));
    };
    let delay = match after.strip_suffix("ms") {
        Some(number) => number.parse().map_err(|_| format!("`{after}` is no length of time"))?,
        None => parse_duration(after)?
            .checked_mul(1000)
            .ok_or_else(|| format!("`{after}` is more than the service manager counts"))?,
    };
    Ok(RecoveryAction { failure: Failure::ALL[number], delay })
}

pub(super) fn read_shortcut(fields: &mut Fields<'_, '_, '_>, meta: Meta) -> Option<ShortcutStep> {
    let target = fields.template("target");
    let mut text = |key: &str| fields.template(key).unwrap_or_default();
    let (arguments, folder) = (text("arguments"), text("folder"));
    let (icon, description) = (text("icon"), text("description"));
    let icon_index = fields.number("icon-index").unwrap_or_default();
    let window = Window::ALL[fields.word("window", WINDOW)];
    let hotkey = fields.number("hotkey").unwrap_or_default();
    let to_folder = fields.truth("to-folder", false);
    let as_administrator = fields.truth("as-administrator", false);
    Some(ShortcutStep {
        target: target?,
        arguments,
        folder,
        icon,
        icon_index,
        description,
        window,
        hotkey,
        to_folder,
        as_administrator,
        meta,
    })
}
