use model::{AccountStep, Condition, Fact, LineEdit, Part, Template, Undo, Value, ValueEdit};

use crate::{Script, Step, StepKind, TreeSource};

/// Every template of a step, with the key it stands under.
pub(crate) fn step_templates(step: &Step) -> Vec<(&'static str, &Template)> {
    match &step.kind {
        StepKind::Tree(tree) => {
            let (to, texts) = match &tree.source {
                TreeSource::Directory(_) => ("create-directory", Vec::new()),
                TreeSource::Link { target, .. } => ("create-link", vec![("target", target)]),
                TreeSource::Shortcut(shortcut) => ("create-shortcut", shortcut.texts().to_vec()),
                TreeSource::Tree(_) | TreeSource::File(_) => ("to", Vec::new()),
            };
            let replacements = tree.replacements.iter().map(|it| ("replace-text", &it.with));
            std::iter::once((to, &tree.to)).chain(texts).chain(replacements).collect()
        }
        StepKind::Remove { path } => vec![("remove", path)],
        StepKind::SetMetadata { path, .. } => vec![("set-metadata", path)],
        StepKind::Edit(edit) => {
            let name = edit_name(&edit.edits);
            std::iter::once((name, &edit.file))
                .chain(edit.edits.iter().flat_map(edit_templates))
                .collect()
        }
        StepKind::Account(AccountStep::User { home, shell, .. }) => {
            vec![("home", home), ("shell", shell)]
        }
        StepKind::Alternative(alternative) => {
            [("link", &alternative.link), ("path", &alternative.path)]
                .into_iter()
                .chain(
                    alternative
                        .followers
                        .iter()
                        .flat_map(|(_, link, path)| [("followers", link), ("followers", path)]),
                )
                .collect()
        }
        StepKind::Run(run) => {
            let undo: &[Template] =
                if let Undo::Command(command) = &run.undo { command } else { &[] };
            run.command
                .iter()
                .map(|word| ("run", word))
                .chain(undo.iter().map(|word| ("undo", word)))
                .chain(run.outputs.iter().map(|path| ("outputs", path)))
                .collect()
        }
        StepKind::Registry(step) => std::iter::once(("edit-registry", &step.key))
            .chain(step.values.iter().flat_map(|(name, edit)| {
                let texts: Vec<&Template> = match edit {
                    ValueEdit::Text(text) | ValueEdit::Expand(text) => vec![text],
                    ValueEdit::List(texts) | ValueEdit::AddToPath(texts) => texts.iter().collect(),
                    _ => Vec::new(),
                };
                std::iter::once(name).chain(texts).map(|text| ("values", text))
            }))
            .collect(),
        StepKind::Setup(setup) => std::iter::once(("program", &setup.program))
            .chain(setup.recovery_command.iter().map(|command| ("recovery-command", command)))
            .collect(),
        StepKind::Task(task) => vec![("definition", &task.definition)],
        StepKind::Library(library) => vec![("register-library", &library.file)],
        StepKind::Account(_) | StepKind::Service(_) | StepKind::Trigger { .. } => Vec::new(),
    }
}

/// The step kind that says such edits.
pub(crate) fn edit_name(edits: &[LineEdit]) -> &'static str {
    match edits.first() {
        Some(LineEdit::Ini { .. }) => "edit-ini",
        Some(LineEdit::Assignment { .. }) => "edit-assignments",
        Some(LineEdit::PathList { .. }) => "edit-path-list",
        _ => "edit-lines",
    }
}

fn edit_templates(edit: &LineEdit) -> Vec<(&'static str, &Template)> {
    match edit {
        LineEdit::Add { line, after } => std::iter::once(("add", line))
            .chain(after.as_ref().map(|after| ("add", after)))
            .collect(),
        LineEdit::Remove { line } => vec![("remove", line)],
        LineEdit::Ini { section, key, value: Some(value) } => {
            vec![("set", section), ("set", key), ("set", value)]
        }
        LineEdit::Ini { section, key, value: None } => vec![("unset", section), ("unset", key)],
        LineEdit::Assignment { key, value: Some(value) } => vec![("set", key), ("set", value)],
        LineEdit::Assignment { key, value: None } => vec![("unset", key)],
        LineEdit::PathList { key, folder, .. } => vec![("key", key), ("add", folder)],
    }
}

/// The name of a step's kind.
pub(crate) fn kind_name(kind: &StepKind) -> &'static str {
    match kind {
        StepKind::Tree(tree) => match tree.source {
            TreeSource::Tree(_) => "install-tree",
            TreeSource::File(_) => "install-file",
            TreeSource::Directory(_) => "create-directory",
            TreeSource::Link { .. } => "create-link",
            TreeSource::Shortcut(_) => "create-shortcut",
        },
        StepKind::Remove { .. } => "remove",
        StepKind::SetMetadata { .. } => "set-metadata",
        StepKind::Edit(edit) => edit_name(&edit.edits),
        StepKind::Account(AccountStep::Group { .. }) => "create-group",
        StepKind::Account(AccountStep::User { .. }) => "create-user",
        StepKind::Account(AccountStep::Membership { .. }) => "add-to-group",
        StepKind::Service(_) => "service",
        StepKind::Registry(_) => "edit-registry",
        StepKind::Setup(_) => "create-service",
        StepKind::Task(_) => "create-task",
        StepKind::Library(_) => "register-library",
        StepKind::Alternative(_) => "alternative",
        StepKind::Trigger { .. } => "trigger",
        StepKind::Run(_) => "run",
    }
}

/// Every variable a condition names, repeated where it repeats.
pub(crate) fn condition_variables<'c>(condition: &'c Condition, found: &mut Vec<&'c str>) {
    match condition {
        Condition::Constant(_) => {}
        Condition::Not(inner) => condition_variables(inner, found),
        Condition::All(inner) | Condition::Any(inner) => {
            for inner in inner {
                condition_variables(inner, found);
            }
        }
        Condition::Compare { left, right, .. } => {
            value_variables(left, found);
            value_variables(right, found);
        }
        Condition::Holds(value) => value_variables(value, found),
    }
}

fn value_variables<'c>(value: &'c Value, found: &mut Vec<&'c str>) {
    match value {
        Value::Text(template) => found.extend(template.variables()),
        Value::Version(inner) => value_variables(inner, found),
        Value::Fact(Fact::Exists(path) | Fact::FreeSpace(path) | Fact::FileVersion(path)) => {
            found.extend(path.variables());
        }
        Value::Fact(Fact::Registry { key, value }) => {
            found.extend(key.variables());
            found.extend(value.variables());
        }
        Value::Fact(Fact::Variable(name)) => found.push(name),
        Value::Number(_) | Value::Truth(_) | Value::Fact(_) => {}
    }
}

/// A template with every variable that has a default replaced by it, as deep as defaults go.
/// `None` where a variable has none, or is made of itself.
pub(crate) fn expand_defaults(script: &Script, template: &Template) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    expand_into(script, template, 0, &mut bytes)?;
    Some(bytes)
}

fn expand_into(
    script: &Script,
    template: &Template,
    depth: usize,
    bytes: &mut Vec<u8>,
) -> Option<()> {
    // A chain longer than there are variables goes in a circle.
    if depth > script.variables.len() {
        return None;
    }
    for part in &template.0 {
        match part {
            Part::Literal(literal) => bytes.extend_from_slice(literal),
            Part::Variable(name) => {
                let default = script.variables.get(name)?.default.as_ref()?;
                expand_into(script, default, depth + 1, bytes)?;
            }
        }
        if bytes.len() > 1 << 20 {
            return None;
        }
    }
    Some(())
}
