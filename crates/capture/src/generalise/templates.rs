//! Variables in what steps say.

use model::{AccountStep, EditStep, LineEdit, MachinePath, Part, Template, ValueEdit};
use script::{StepKind, TreeSource, TreeStep};

use super::{HOST_NAME, PREFIX, path_occurrences};

/// The texts that become variables wherever a step says them.
#[derive(Clone, Debug, Default)]
pub(super) struct Templates {
    texts: Vec<(Vec<u8>, &'static str)>,
}

impl Templates {
    pub(super) fn new(prefix: Option<&MachinePath>, host_name: Option<&str>) -> Self {
        let prefix = prefix.map(|prefix| (prefix.as_bytes().to_vec(), PREFIX));
        let host_name = host_name.map(|name| (name.as_bytes().to_vec(), HOST_NAME));
        Self { texts: prefix.into_iter().chain(host_name).collect() }
    }

    /// Text as a template; what is not one of the texts stays literal, dollar signs too.
    pub(super) fn of(&self, bytes: &[u8]) -> Template {
        self.within(&Template::literal(bytes))
    }

    fn within(&self, template: &Template) -> Template {
        let mut parts = template.0.clone();
        for (text, variable) in &self.texts {
            parts = parts.into_iter().flat_map(|part| divide(part, text, variable)).collect();
        }
        Template(parts)
    }

    /// Makes every template of a step general.
    pub(super) fn rewrite(&self, step: &mut StepKind) {
        each(step, &mut |template| *template = self.within(template));
    }
}

/// All literal text of a step, for leaks to be looked for.
pub(super) fn literals(step: &StepKind) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut step = step.clone();
    each(&mut step, &mut |template| {
        for part in &template.0 {
            if let Part::Literal(literal) = part {
                bytes.extend_from_slice(literal);
            }
        }
        bytes.push(b'\n');
    });
    match &step {
        StepKind::Account(AccountStep::User { comment, .. }) => {
            bytes.extend_from_slice(comment.as_bytes());
        }
        // What `replace-text` looks for is there to be replaced.
        StepKind::Tree(TreeStep { source, to, .. }) => {
            let texts = match source {
                TreeSource::Link { target, .. } => vec![target],
                TreeSource::Shortcut(shortcut) => shortcut.texts().map(|(_, text)| text).to_vec(),
                _ => Vec::new(),
            };
            for template in texts.into_iter().chain([to]) {
                bytes.extend(template.to_string().into_bytes());
                bytes.push(b'\n');
            }
        }
        StepKind::Run(run) => {
            for template in run.command.iter().chain(&run.outputs) {
                bytes.extend(template.to_string().into_bytes());
                bytes.push(b'\n');
            }
        }
        _ => {}
    }
    bytes
}

/// The script's word for a step.
pub(super) fn word(step: &StepKind) -> &'static str {
    match step {
        StepKind::Tree(_) => "install",
        StepKind::Remove { .. } => "remove",
        StepKind::SetMetadata { .. } => "set-metadata",
        StepKind::Edit(_) => "edit",
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

/// Literal parts that follow each other become one.
pub(super) fn joined(template: Template) -> Template {
    let mut parts: Vec<Part> = Vec::new();
    for part in template.0 {
        match (parts.last_mut(), part) {
            (Some(Part::Literal(last)), Part::Literal(more)) => last.extend(more),
            (_, part) => parts.push(part),
        }
    }
    Template(parts)
}

fn divide(part: Part, text: &[u8], variable: &str) -> Vec<Part> {
    let Part::Literal(literal) = part else { return vec![part] };
    let mut parts = Vec::new();
    let mut done = 0;
    for at in path_occurrences(&literal, text) {
        if at > done {
            parts.push(Part::Literal(literal[done..at].to_vec()));
        }
        parts.push(Part::Variable(variable.into()));
        done = at + text.len();
    }
    if done < literal.len() {
        parts.push(Part::Literal(literal[done..].to_vec()));
    }
    parts
}

fn each(step: &mut StepKind, visit: &mut impl FnMut(&mut Template)) {
    match step {
        StepKind::Remove { path } | StepKind::SetMetadata { path, .. } => visit(path),
        StepKind::Edit(EditStep { file, edits, .. }) => {
            visit(file);
            for edit in edits {
                each_of_edit(edit, visit);
            }
        }
        StepKind::Account(AccountStep::User { home, shell, .. }) => {
            visit(home);
            visit(shell);
        }
        StepKind::Alternative(alternative) => {
            visit(&mut alternative.link);
            visit(&mut alternative.path);
            for (_, link, path) in &mut alternative.followers {
                visit(link);
                visit(path);
            }
        }
        StepKind::Registry(step) => {
            visit(&mut step.key);
            for (name, value) in &mut step.values {
                visit(name);
                match value {
                    ValueEdit::Text(text) | ValueEdit::Expand(text) => visit(text),
                    ValueEdit::List(texts) | ValueEdit::AddToPath(texts) => {
                        texts.iter_mut().for_each(&mut *visit);
                    }
                    _ => {}
                }
            }
        }
        StepKind::Setup(setup) => visit(&mut setup.program),
        StepKind::Task(task) => visit(&mut task.definition),
        StepKind::Library(library) => visit(&mut library.file),
        StepKind::Tree(_)
        | StepKind::Account(_)
        | StepKind::Service(_)
        | StepKind::Trigger { .. }
        | StepKind::Run(_) => {}
    }
}

fn each_of_edit(edit: &mut LineEdit, visit: &mut impl FnMut(&mut Template)) {
    match edit {
        LineEdit::Add { line, after } => {
            visit(line);
            after.iter_mut().for_each(visit);
        }
        LineEdit::Remove { line } => visit(line),
        LineEdit::Ini { section, key, value } => {
            visit(section);
            visit(key);
            value.iter_mut().for_each(visit);
        }
        LineEdit::Assignment { key, value } => {
            visit(key);
            value.iter_mut().for_each(visit);
        }
        LineEdit::PathList { key, folder, .. } => {
            visit(key);
            visit(folder);
        }
    }
}
