mod edit;
mod fields;
mod machine;
mod shape;
mod step;
mod value;
mod windows;

use std::{collections::BTreeMap, ops::Range};

use model::{Architecture, Export, PackageName, Program, Template, Variable, Version};
use toml_edit::{Document, Item, TableLike};

use crate::{
    Part, Place, Problem, Script, Step,
    problem::did_you_mean,
    vocabulary::{
        DEPENDS, FORMAT, KINDS, PACKAGE, PROGRAM, RESERVED_PREFIXES, STEP, VARIABLE, kind,
    },
};
use fields::Reader;
pub(crate) use machine::{DEFAULT_HOME, DEFAULT_LIMIT, DEFAULT_SHELL};
pub(crate) use step::read_owner;
pub(crate) use value::{MEANING, parse_mode};
pub(crate) use windows::KINDS as SERVICE_KINDS;

/// The top-level keys of a script.
const TOP: &[&str] = &["format", "package", "depends", "variables", "step", "program"];

/// Where the parts of a script stand in its text, to place problems found in its meaning.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    steps: Vec<BTreeMap<Box<str>, Range<usize>>>,
    variables: BTreeMap<Box<str>, Range<usize>>,
    programs: BTreeMap<Box<str>, BTreeMap<Box<str>, Range<usize>>>,
    package: BTreeMap<Box<str>, Range<usize>>,
}

/// Reads a script.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn parse(text: &str) -> Result<Script, Vec<Problem>> {
    parse_with_spans(text).map(|(script, _)| script)
}

/// Reads a script, and where its parts stand.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn parse_with_spans(text: &str) -> Result<(Script, Spans), Vec<Problem>> {
    let mut reader = Reader::of(text);
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => return Err(vec![reader.syntax(&error)]),
    };
    if let Some(problem) = wrong_format(&reader, document.as_table()) {
        return Err(vec![problem]);
    }
    let script = read_script(&mut reader, document.as_table());
    let mut problems = reader.problems;
    problems.sort_by_key(|problem| problem.position.as_ref().map(|position| position.span.start));
    match script {
        Some(script) if problems.is_empty() => Ok((script, Spans::of(document.as_table()))),
        _ => Err(problems),
    }
}

/// Why a text cannot be laid out: it is no TOML, or of a format we do not know.
pub(crate) fn unreadable(text: &str) -> Option<Problem> {
    let reader = Reader::of(text);
    match Document::parse(text) {
        Ok(document) => wrong_format(&reader, document.as_table()),
        Err(error) => Some(reader.syntax(&error)),
    }
}

/// What is wrong with the format a script says.
fn wrong_format(reader: &Reader<'_>, root: &dyn TableLike) -> Option<Problem> {
    let place = Place::of(Part::Script).key("format");
    let Some(item) = root.get("format") else {
        return Some(
            reader
                .located(place, 0..0, "the script does not say its format".to_owned())
                .hint(format!("write `format = {FORMAT}` at the top")),
        );
    };
    let span = item.span().unwrap_or_default();
    match item.as_integer() {
        Some(FORMAT) => None,
        Some(newer) if newer > FORMAT => {
            let unknown = unknown_words(root);
            let unknown = if unknown.is_empty() {
                String::new()
            } else {
                format!("; it does not know {}", unknown.join(", "))
            };
            Some(reader.located(
                Place::of(Part::Script),
                span,
                format!("the script has format {newer}, and this packhorse reads format {FORMAT}{unknown}"),
            ).hint("open it with a newer packhorse; the file stays as it is"))
        }
        _ => Some(
            reader
                .located(place, span, "no such format".to_owned())
                .hint(format!("write `format = {FORMAT}`")),
        ),
    }
}

/// The step kinds and keys of a newer script that mean nothing to us, in order, with their places.
fn unknown_words(root: &dyn TableLike) -> Vec<String> {
    let mut unknown: Vec<String> = root
        .iter()
        .filter(|(key, _)| !TOP.contains(key))
        .map(|(key, _)| format!("`{key}`"))
        .collect();
    if let Some(package) = root.get("package").and_then(Item::as_table_like) {
        unknown.extend(unknown_keys("`[package]`", package, &[&PACKAGE]));
    }
    for (index, (table, _)) in
        root.get("step").map(fields::tables).into_iter().flatten().enumerate()
    {
        let step = format!("step {}", index + 1);
        let named = table.iter().map(|(key, _)| key).find(|key| !common(key));
        match named.and_then(kind) {
            Some(spec) => {
                let step = format!("{step} (`{}`)", spec.name);
                unknown.extend(unknown_keys(&step, table, &[spec, &STEP]));
            }
            None => unknown.push(format!("{step}: `{}`", named.unwrap_or_default())),
        }
    }
    unknown
}

fn unknown_keys<'w>(
    whose: &'w str,
    table: &'w dyn TableLike,
    specs: &'w [&'static crate::vocabulary::Table],
) -> impl Iterator<Item = String> + 'w {
    let known = |name: &str| specs.iter().flat_map(|spec| spec.keys).any(|key| key.name == name);
    table
        .iter()
        .filter(move |(name, _)| !known(name))
        .map(move |(name, _)| format!("{whose}: `{name}`"))
}

fn common(key: &str) -> bool {
    STEP.keys.iter().any(|common| common.name == key)
}

fn read_script(reader: &mut Reader<'_>, root: &dyn TableLike) -> Option<Script> {
    for (key, _) in root.iter().filter(|(key, _)| !TOP.contains(key)) {
        let span = fields::key_span(root, key);
        let problem =
            reader.located(Place::of(Part::Script), span, format!("`{key}` means nothing here"));
        let hint = match did_you_mean(key, TOP.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => {
                "a script has `format`, `[package]`, `[depends]`, `[variables]`, `[[step]]`, `[program.NAME]`"
                    .to_owned()
            }
        };
        reader.problems.push(problem.hint(hint));
    }
    let package = read_package(reader, root);
    let variables = named(reader, root, "variables", read_variable);
    let steps = read_steps(reader, root);
    let programs = named(reader, root, "program", read_program);
    let (deb, rpm) = read_depends(reader, root);
    let mut script = package?;
    (script.export.deb, script.export.rpm) = (deb, rpm);
    (script.variables, script.steps, script.programs) = (variables, steps, programs);
    Some(script)
}

fn read_package(reader: &mut Reader<'_>, root: &dyn TableLike) -> Option<Script> {
    let Some(item) = root.get("package") else {
        let problem = reader
            .located(Place::of(Part::Package), 0..0, "it is missing".to_owned())
            .hint("write `[package]` with `name`, `version` and `architecture`");
        reader.problems.push(problem);
        return None;
    };
    let span = fields::key_span(root, "package");
    let mut fields = reader.fields(Place::of(Part::Package), item, span, &[&PACKAGE])?;
    let name = fields.parsed("name", PackageName::new);
    let version = fields.name("version").map(Version::new);
    let architecture = fields.name("architecture").map(|name| match name.parse() {
        Ok(architecture) => architecture,
        Err(never) => match never {},
    });
    let summary = fields.text("summary").unwrap_or_default().to_owned();
    let configuration = fields.patterns("configuration");
    let generated = fields.templates("generated");
    let icon = fields.text("icon").map(Box::from);
    let mut text = |key| fields.text(key).unwrap_or_default().to_owned();
    let export = Export {
        maintainer: text("maintainer"),
        homepage: text("homepage"),
        license: text("license"),
        section: text("section"),
        description: text("description"),
        ..Export::default()
    };
    Some(Script {
        name: name?,
        version: version?,
        architecture: architecture.unwrap_or(Architecture::Any),
        summary,
        configuration,
        generated,
        variables: BTreeMap::new(),
        steps: Vec::new(),
        programs: BTreeMap::new(),
        export,
        icon,
    })
}

/// What a .deb and an .rpm depend on.
fn read_depends(reader: &mut Reader<'_>, root: &dyn TableLike) -> (Vec<String>, Vec<String>) {
    let Some(item) = root.get("depends") else { return Default::default() };
    let span = fields::key_span(root, "depends");
    let place = Place::of(Part::Script).key("depends");
    let Some(mut fields) = reader.fields(place, item, span, &[&DEPENDS]) else {
        return Default::default();
    };
    (fields.texts("deb"), fields.texts("rpm"))
}

fn read_variable(
    reader: &mut Reader<'_>,
    name: &str,
    item: &Item,
    span: Range<usize>,
) -> Option<Variable> {
    let place = Place::of(Part::Variable(name.into()));
    if !Template::is_variable_name(name) {
        let problem = reader
            .located(place, span, format!("`{name}` is no variable name"))
            .hint("use letters, digits, `-`, `_`, `.`, and start with a letter");
        reader.problems.push(problem);
        return None;
    }
    if RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || name == "machine" {
        let problem = reader
            .located(place, span, format!("`{name}` is given by every machine and installer"))
            .hint("take another name");
        reader.problems.push(problem);
        return None;
    }
    if let Some(text) = item.as_str() {
        let problem = reader
            .located(place, span, "a variable is a table".to_owned())
            .hint(format!("write `{name} = {{ default = {} }}`", crate::print::quoted(text)));
        reader.problems.push(problem);
        return None;
    }
    let mut fields = reader.fields(place, item, span, &[&VARIABLE])?;
    let default = fields.template("default");
    Some(Variable {
        default,
        prompt: fields.text("prompt").map(str::to_owned),
        fixed: fields.text("fixed").map(str::to_owned),
    })
}

fn read_program(
    reader: &mut Reader<'_>,
    name: &str,
    item: &Item,
    span: Range<usize>,
) -> Option<Program> {
    let place = Place::of(Part::Program(name.into()));
    if name.is_empty() {
        let problem = reader
            .located(place, span, "a program has a name".to_owned())
            .hint("`[program.install]`");
        reader.problems.push(problem);
        return None;
    }
    let mut fields = reader.fields(place, item, span, &[&PROGRAM])?;
    Some(Program {
        detect: fields.condition("detect"),
        requires: fields.condition("requires"),
        exit_codes: fields.exit_codes("exit-codes"),
        estimate: fields.duration("estimate"),
    })
}

/// Reads every table below `key`, by name.
fn named<T>(
    reader: &mut Reader<'_>,
    root: &dyn TableLike,
    key: &str,
    mut read: impl FnMut(&mut Reader<'_>, &str, &Item, Range<usize>) -> Option<T>,
) -> BTreeMap<Box<str>, T> {
    let Some(item) = root.get(key) else { return BTreeMap::new() };
    let Some(table) = item.as_table_like() else {
        let example = if key == "program" { "`[program.install]`" } else { "`[variables]`" };
        let problem = reader
            .located(
                Place::of(Part::Script).key(key),
                item.span().unwrap_or_default(),
                format!("a table by name, not {}", fields::kind_of(item)),
            )
            .hint(format!("write {example}"));
        reader.problems.push(problem);
        return BTreeMap::new();
    };
    table
        .iter()
        .filter_map(|(name, item)| {
            let span = fields::key_span(table, name);
            Some((name.into(), read(reader, name, item, span)?))
        })
        .collect()
}

fn read_steps(reader: &mut Reader<'_>, root: &dyn TableLike) -> Vec<Step> {
    let Some(item) = root.get("step") else { return Vec::new() };
    let tables = fields::tables(item);
    if tables.is_empty() && !item.as_array().is_some_and(toml_edit::Array::is_empty) {
        let problem = reader
            .located(
                Place::of(Part::Script).key("step"),
                item.span().unwrap_or_default(),
                "steps are tables in a list".to_owned(),
            )
            .hint("write `[[step]]` with two brackets on each side");
        reader.problems.push(problem);
    }
    tables
        .into_iter()
        .enumerate()
        .filter_map(|(index, (table, span))| step::read(reader, index + 1, table, span))
        .collect()
}

impl Spans {
    fn of(root: &dyn TableLike) -> Self {
        let keys = |table: &dyn TableLike, whole: Range<usize>| {
            let mut spans: BTreeMap<Box<str>, Range<usize>> = table
                .iter()
                .map(|(key, item)| {
                    (key.into(), item.span().unwrap_or_else(|| fields::key_span(table, key)))
                })
                .collect();
            spans.insert("".into(), whole);
            spans
        };
        let named = |key: &str| root.get(key).and_then(Item::as_table_like);
        Self {
            steps: root
                .get("step")
                .map(fields::tables)
                .into_iter()
                .flatten()
                .map(|(table, span)| keys(table, span))
                .collect(),
            variables: named("variables")
                .into_iter()
                .flat_map(|table| {
                    table.iter().map(|(name, _)| (name.into(), fields::key_span(table, name)))
                })
                .collect(),
            programs: named("program")
                .into_iter()
                .flat_map(|programs| {
                    programs.iter().filter_map(move |(name, item)| {
                        let whole = fields::key_span(programs, name);
                        Some((name.into(), keys(item.as_table_like()?, whole)))
                    })
                })
                .collect(),
            package: named("package")
                .map(|table| keys(table, fields::key_span(root, "package")))
                .unwrap_or_default(),
        }
    }

    /// The bytes that say what is at `place`: the key's value, else the table's head.
    pub fn get(&self, place: &Place) -> Option<Range<usize>> {
        let key = place.key.as_deref().unwrap_or_default();
        let keys = match &place.part {
            Part::Package => &self.package,
            Part::Step { number, .. } => self.steps.get(number.checked_sub(1)?)?,
            Part::Program(name) => self.programs.get(name)?,
            Part::Variable(name) => return self.variables.get(name).cloned(),
            Part::Script | Part::FilesMeta { .. } => return None,
        };
        keys.get(key).or_else(|| keys.get("")).cloned()
    }

    /// Gives every problem that has none the position of its place in `text`, the script's text.
    pub fn locate(&self, text: &str, problems: &mut [Problem]) {
        let lines = crate::problem::Lines::of(text);
        for problem in problems.iter_mut().filter(|problem| problem.position.is_none()) {
            problem.position = self.get(&problem.place).map(|span| Box::new(lines.position(span)));
        }
    }
}

/// The names of all step kinds, for hints.
fn kind_names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}
