use std::fmt::Write as _;

use model::{
    AccountStep, EditStep, ExitMeaning, Hook, LineEdit, ReplaceRule, RunStep, ServiceStart,
    ServiceStep, SetupStep, StartType, Template, Undo, Variable,
};

use crate::{
    Script, ShortcutStep, Step, StepKind, TreeSource, TreeStep, duration::print_duration,
    print::print_recovery, print_condition, vocabulary::trigger,
};

/// A script in plain sentences: what it is, what it asks, and a line for every step.
pub fn explain(script: &Script) -> String {
    let mut text = format!(
        "{} {} for {} machines",
        script.name,
        script.version,
        match &script.architecture {
            model::Architecture::Any => "all".to_owned(),
            only @ model::Architecture::Only(_) => only.to_string(),
        }
    );
    if !script.summary.is_empty() {
        let _ = write!(text, ": {}", script.summary);
    }
    text.push('\n');
    for (name, variable) in &script.variables {
        let _ = writeln!(text, "- {}", explain_variable(name, variable));
    }
    for (index, step) in script.steps.iter().enumerate() {
        let _ = writeln!(text, "{}. {}", index + 1, explain_step(step));
    }
    for (name, program) in &script.programs {
        if let Some(requires) = &program.requires {
            let _ = writeln!(text, "- `{name}` is refused unless `{}`", print_condition(requires));
        }
        if let Some(detect) = &program.detect {
            let _ = writeln!(text, "- `{name}` is done where `{}`", print_condition(detect));
        }
        for (code, meaning) in &program.exit_codes {
            let _ =
                writeln!(text, "- `{name}` ending with {code} means {}", meaning_words(*meaning));
        }
        if let Some(estimate) = program.estimate {
            let _ = writeln!(text, "- `{name}` takes about {}", print_duration(estimate));
        }
    }
    if !script.configuration.is_empty() {
        let _ = writeln!(
            text,
            "- an update keeps what an administrator changed in `{}`",
            script.configuration.join("`, `")
        );
    }
    let export = &script.export;
    for (format, list) in [(".deb", &export.deb), (".rpm", &export.rpm)] {
        if !list.is_empty() {
            let _ = writeln!(text, "- made a {format}, it needs `{}`", list.join("`, `"));
        }
    }
    if !script.generated.is_empty() {
        let generated: Vec<String> = script.generated.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "- uninstall removes what the program made for itself in `{}`",
            generated.join("`, `")
        );
    }
    text
}

fn explain_variable(name: &str, variable: &Variable) -> String {
    match (&variable.default, &variable.fixed) {
        (Some(default), Some(why)) => {
            format!("`{name}` is `{default}` and cannot be changed: {why}")
        }
        (Some(default), None) => format!("`{name}` is `{default}` unless told otherwise"),
        (None, _) => format!("`{name}` must be said"),
    }
}

/// One step as a sentence.
pub fn explain_step(step: &Step) -> String {
    let said = match &step.kind {
        StepKind::Tree(tree) => explain_tree(tree),
        StepKind::Remove { path } => format!("remove `{path}` with all it holds"),
        StepKind::SetMetadata { path, meta } => format!(
            "give `{path}` mode {:04o}, owner {}, group {} and the time {}",
            meta.mode, meta.owner, meta.group, meta.modified
        ),
        StepKind::Edit(edit) => explain_edit(edit),
        StepKind::Account(account) => explain_account(account),
        StepKind::Service(service) => explain_service(service),
        StepKind::Registry(step) if step.remove => {
            format!("remove the registry key `{}` with all below it", step.key)
        }
        StepKind::Registry(step) => {
            let names: Vec<String> =
                step.values.iter().map(|(name, _)| format!("`{name}`")).collect();
            match names.as_slice() {
                [] => format!("create the registry key `{}`", step.key),
                names => format!("in the registry key `{}` set {}", step.key, names.join(", ")),
            }
        }
        StepKind::Setup(setup) => explain_setup(setup),
        StepKind::Task(task) => format!("create the scheduled task `{}`", task.name),
        StepKind::Library(library) => {
            let optional = if library.optional { "; go on where it does not" } else { "" };
            format!("let the library `{}` register itself{optional}", library.file)
        }
        StepKind::Alternative(alternative) => format!(
            "offer `{}` as `{}` (`{}`) with priority {}",
            alternative.path, alternative.name, alternative.link, alternative.priority
        ),
        StepKind::Trigger { name } => trigger(name)
            .map_or_else(|| format!("run the trigger `{name}`"), |known| known.about.to_owned()),
        StepKind::Run(run) => explain_run(run),
    };
    let said = if step.users.is_empty() {
        said
    } else {
        let users: Vec<&str> = step.users.iter().map(|users| users.word()).collect();
        format!("{said}, for users that are {}", users.join(", "))
    };
    match &step.when {
        Some(when) => format!("if `{}`: {said}", print_condition(when)),
        None => said,
    }
}

fn explain_tree(tree: &TreeStep) -> String {
    let to = &tree.to;
    let mut said = match &tree.source {
        TreeSource::Tree(source) => format!("install the folder `{source}` to `{to}`"),
        TreeSource::File(source) => format!("install `{source}` as `{to}`"),
        TreeSource::Directory(meta) => format!(
            "create the folder `{to}`, mode {:04o}, for {}:{}",
            meta.mode, meta.owner, meta.group
        ),
        TreeSource::Link { target, .. } => format!("create the link `{to}` to `{target}`"),
        TreeSource::Shortcut(shortcut) => explain_shortcut(to, shortcut),
    };
    if !tree.except.is_empty() {
        let _ = write!(said, ", without `{}`", tree.except.join("`, `"));
    }
    match tree.replace {
        ReplaceRule::Newer => {}
        ReplaceRule::Always => said.push_str(", over whatever is there"),
        ReplaceRule::Never => said.push_str(", unless something is there"),
    }
    for replacement in &tree.replacements {
        let _ = write!(
            said,
            "; in `{}` the text `{}` becomes `{}`",
            replacement.files.join("`, `"),
            replacement.text,
            replacement.with
        );
    }
    said
}

fn explain_shortcut(to: &Template, shortcut: &ShortcutStep) -> String {
    let mut said = format!("create the shortcut `{to}` to `{}`", shortcut.target);
    if !shortcut.arguments.0.is_empty() {
        let _ = write!(said, " with `{}`", shortcut.arguments);
    }
    if shortcut.as_administrator {
        said.push_str(", which asks for an administrator's rights");
    }
    said
}

fn explain_edit(edit: &EditStep) -> String {
    let edits: Vec<String> = edit.edits.iter().map(explain_line).collect();
    let made = if edit.create { ", made if missing," } else { "" };
    format!("in `{}`{made} {}", edit.file, edits.join(", "))
}

fn explain_line(edit: &LineEdit) -> String {
    match edit {
        LineEdit::Add { line, after: None } => format!("add the line `{line}`"),
        LineEdit::Add { line, after: Some(after) } => {
            format!("add the line `{line}` after `{after}`")
        }
        LineEdit::Remove { line } => format!("take out the line `{line}`"),
        LineEdit::Ini { section, key, value: Some(value) } => {
            format!("set `{key}` of `[{section}]` to `{value}`")
        }
        LineEdit::Ini { section, key, value: None } => format!("take `{key}` out of `[{section}]`"),
        LineEdit::Assignment { key, value: Some(value) } => format!("set `{key}` to `{value}`"),
        LineEdit::Assignment { key, value: None } => format!("take `{key}` out"),
        LineEdit::PathList { key, folder, first } => {
            format!("put `{folder}` {} in `{key}`", if *first { "first" } else { "last" })
        }
    }
}

fn explain_account(account: &AccountStep) -> String {
    let word = |system: &bool| if *system { "system " } else { "" };
    let number =
        |id: &Option<u32>| id.map(|id| format!(" with the number {id}")).unwrap_or_default();
    match account {
        AccountStep::Group { name, system, id } => {
            format!("create the {}group `{name}`{}, if missing", word(system), number(id))
        }
        AccountStep::User { name, system, id, group, home, shell, .. } => {
            let group =
                group.as_ref().map(|group| format!(" in the group `{group}`")).unwrap_or_default();
            format!(
                "create the {}user `{name}`{}{group}, home `{home}`, shell `{shell}`, if missing",
                word(system),
                number(id)
            )
        }
        AccountStep::Membership { user, group } => {
            format!("make `{user}` a member of the group `{group}`")
        }
    }
}

fn explain_service(service: &ServiceStep) -> String {
    let unit = &service.unit;
    let now = if service.now { ", and start it now" } else { "" };
    match service.start {
        StartType::Automatic => format!("let `{unit}` start with the machine{now}"),
        StartType::Manual => format!("let `{unit}` start only when somebody starts it{now}"),
        StartType::Disabled => format!("forbid `{unit}` to start"),
    }
}

fn explain_setup(setup: &SetupStep) -> String {
    let mut said = format!("create the service `{}`, which runs `{}`", setup.name, setup.program);
    if setup.start == ServiceStart::Delayed {
        said.push_str(" and starts after the others");
    }
    let actions = setup.recovery.iter().flat_map(|recovery| &recovery.actions);
    let actions: Vec<String> = actions.map(print_recovery).collect();
    if !actions.is_empty() {
        let _ = write!(said, "; when it fails: {}", actions.join(", then "));
    }
    if let Some(command) = &setup.recovery_command {
        let _ = write!(said, ", running `{command}`");
    }
    said
}

fn explain_run(run: &RunStep) -> String {
    let command: Vec<String> = run.command.iter().map(ToString::to_string).collect();
    let at = match run.at {
        Hook::Install => "",
        Hook::BeforeUninstall => "before uninstalling, ",
        Hook::AfterUninstall => "after uninstalling, ",
    };
    let mut said = format!("{at}run `{}`", command.join(" "));
    if !run.wait {
        said.push_str(" without waiting for its end");
    }
    let _ = write!(said, ", for {} at most", print_duration(run.limit));
    for (code, meaning) in &run.exit_codes {
        let _ = write!(said, ", {code} meaning {}", meaning_words(*meaning));
    }
    match &run.undo {
        Undo::Outputs if run.outputs.is_empty() => said.push_str("; it changes nothing"),
        Undo::Outputs => {
            let outputs: Vec<String> = run.outputs.iter().map(ToString::to_string).collect();
            let _ = write!(said, "; undone by putting back `{}`", outputs.join("`, `"));
        }
        Undo::Command(command) => {
            let command: Vec<String> = command.iter().map(ToString::to_string).collect();
            let _ = write!(said, "; undone by `{}`", command.join(" "));
        }
        Undo::Irreversible => said.push_str("; nothing takes it back"),
    }
    said
}

fn meaning_words(meaning: ExitMeaning) -> &'static str {
    match meaning {
        ExitMeaning::Done => "done",
        ExitMeaning::Restart => "done, and the machine must restart",
        ExitMeaning::Retry => "worth trying again later",
        ExitMeaning::Failed => "it did not work",
    }
}
