mod edits;
mod steps;
mod toml;
mod windows;

use std::{collections::BTreeMap, fmt::Write as _};

use model::{Architecture, Program, Variable};

use crate::{Script, duration::print_duration, print_condition, vocabulary::FORMAT};
use toml::{Body, key, table};
pub(crate) use toml::{WIDTH, quoted};
pub(crate) use windows::print_recovery;

/// Writes a script in the form `script fmt` leaves alone. What [`parse`](crate::parse) made comes back the same.
///
/// An edit step whose edits no single table can say in their order (a line removed before another is
/// added) becomes several steps with the same file and condition.
pub fn print(script: &Script) -> String {
    print_with_comments(script, &Comments::default())
}

/// What stands above the parts of a script, without `#`; lines are divided by `\n`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comments {
    /// Above all.
    pub head: String,
    /// Above a step, by its position from 0.
    pub steps: BTreeMap<usize, String>,
}

/// Writes a script with comments; see [`print`].
pub fn print_with_comments(script: &Script, comments: &Comments) -> String {
    let mut text = comment(&comments.head);
    let _ = writeln!(text, "format = {FORMAT}");
    write_package(&mut text, script);
    write_depends(&mut text, script);
    write_variables(&mut text, script);
    for (index, step) in script.steps.iter().enumerate() {
        let above = comments.steps.get(&index).map(|lines| comment(lines)).unwrap_or_default();
        steps::write(&mut text, step, &above);
    }
    for (name, program) in &script.programs {
        write_program(&mut text, name, program);
    }
    text
}

/// Lines as a comment; what a comment cannot hold is escaped.
fn comment(lines: &str) -> String {
    let mut text = String::new();
    for line in lines.lines() {
        text.push_str("# ");
        for letter in line.chars() {
            if letter.is_control() && letter != '\t' {
                text.extend(letter.escape_default());
            } else {
                text.push(letter);
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn write_package(text: &mut String, script: &Script) {
    text.push_str("\n[package]\n");
    let mut body = Body::new(text);
    body.text("name", script.name.as_str());
    body.text("version", script.version.as_str());
    body.text("architecture", &architecture(&script.architecture));
    if !script.summary.is_empty() {
        body.text("summary", &script.summary);
    }
    if !script.configuration.is_empty() {
        body.list("configuration", script.configuration.iter().map(|pattern| quoted(pattern)));
    }
    if !script.generated.is_empty() {
        body.list("generated", script.generated.iter().map(|it| quoted(&it.to_string())));
    }
    let export = &script.export;
    for (name, said) in [
        ("maintainer", &export.maintainer),
        ("homepage", &export.homepage),
        ("license", &export.license),
        ("section", &export.section),
        ("description", &export.description),
    ] {
        if !said.is_empty() {
            body.text(name, said);
        }
    }
    if let Some(icon) = &script.icon {
        body.text("icon", icon);
    }
}

fn write_depends(text: &mut String, script: &Script) {
    let depends = [("deb", &script.export.deb), ("rpm", &script.export.rpm)];
    if depends.iter().all(|(_, list)| list.is_empty()) {
        return;
    }
    text.push_str("\n[depends]\n");
    let mut body = Body::new(text);
    for (name, list) in depends {
        if !list.is_empty() {
            body.list(name, list.iter().map(|one| quoted(one)));
        }
    }
}

/// The architecture in a form that is read as the same one.
fn architecture(architecture: &Architecture) -> String {
    match architecture {
        Architecture::Only(only) => {
            let pretty = architecture.to_string();
            if pretty.parse() == Ok(architecture.clone()) { pretty } else { only.to_string() }
        }
        Architecture::Any => "any".to_owned(),
    }
}

fn write_variables(text: &mut String, script: &Script) {
    if script.variables.is_empty() {
        return;
    }
    text.push_str("\n[variables]\n");
    for (name, variable) in &script.variables {
        let _ = writeln!(text, "{} = {}", key(name), table(variable_entries(variable)));
    }
}

fn variable_entries(variable: &Variable) -> Vec<(String, String)> {
    let entry = |name: &str, value: &str| (name.to_owned(), quoted(value));
    let default = variable.default.as_ref().map(ToString::to_string);
    [
        ("default", default.as_deref()),
        ("prompt", variable.prompt.as_deref()),
        ("fixed", variable.fixed.as_deref()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(entry(name, value?)))
    .collect()
}

fn write_program(text: &mut String, name: &str, program: &Program) {
    let _ = writeln!(text, "\n[program.{}]", key(name));
    let mut body = Body::new(text);
    if let Some(detect) = &program.detect {
        body.text("detect", &print_condition(detect));
    }
    if let Some(requires) = &program.requires {
        body.text("requires", &print_condition(requires));
    }
    if !program.exit_codes.is_empty() {
        body.raw("exit-codes", &table(steps::exit_codes(&program.exit_codes)));
    }
    if let Some(estimate) = program.estimate {
        body.text("estimate", &print_duration(estimate));
    }
}

/// A list of templates as TOML values.
fn templates(templates: &[model::Template]) -> impl Iterator<Item = String> {
    templates.iter().map(|template| quoted(&template.to_string()))
}
