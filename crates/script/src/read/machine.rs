//! Steps that change a machine by other means than files: accounts, services, programs.

use model::{AccountStep, Alternative, Hook, RunStep, ServiceStep, StartType, Template, Undo};

use super::fields::{Fields, listed};
use crate::{
    StepKind,
    problem::did_you_mean,
    vocabulary::{AT, FOLLOWER, START, TRIGGERS, UNDO, trigger},
};

/// How long a `run` step may take when it does not say: ten minutes, in seconds.
pub(crate) const DEFAULT_LIMIT: u32 = 600;
/// A user's home and shell when the step does not say: neither lets anybody in.
pub(crate) const DEFAULT_HOME: &str = "/nonexistent";
pub(crate) const DEFAULT_SHELL: &str = "/usr/sbin/nologin";
pub(super) fn read_account(fields: &mut Fields<'_, '_, '_>, kind: &str) -> Option<AccountStep> {
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

pub(super) fn read_service(fields: &mut Fields<'_, '_, '_>) -> Option<ServiceStep> {
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

pub(super) fn read_alternative(fields: &mut Fields<'_, '_, '_>) -> Option<Alternative> {
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

pub(super) fn read_trigger(fields: &mut Fields<'_, '_, '_>) -> Option<StepKind> {
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

pub(super) fn read_run(fields: &mut Fields<'_, '_, '_>) -> Option<RunStep> {
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
