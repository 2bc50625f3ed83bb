mod files_meta;
mod names;
mod payload;
mod steps;
mod targets;
mod variables;

use crate::{Part, Place, Problem, Script, Severity};
pub use files_meta::check_files_meta;
pub use payload::{Payload, PayloadKind, ProjectView};

/// Looks at a script and the payload beside it for what will not work, will surprise, or is worth
/// knowing. What parses can still be wrong: a missing source is an error here.
///
/// The problems have places and no positions; [`Spans::locate`](crate::Spans::locate) adds them.
pub fn check(script: &Script, project: &dyn ProjectView) -> Vec<Problem> {
    let mut problems = Vec::new();
    variables::check(script, &mut problems);
    let targets = targets::check(script, project, &mut problems);
    steps::check(script, &targets, &mut problems);
    check_programs(script, &mut problems);
    check_identities(script, &mut problems);
    problems.sort_by_key(|problem| order(&problem.place.part));
    problems
}

fn order(part: &Part) -> (u8, usize) {
    match part {
        Part::Script => (0, 0),
        Part::Package => (1, 0),
        Part::Variable(_) => (2, 0),
        Part::Step { number, .. } => (3, *number),
        Part::Program(_) => (4, 0),
        Part::FilesMeta { line } => (5, *line),
    }
}

/// What begins the identifier of an account of one machine or domain.
const IDENTITY: &[u8] = b"S-1-5-21-";

/// No account of the reference machine exists elsewhere.
fn check_identities(script: &Script, problems: &mut Vec<Problem>) {
    let hint = "leave it out, or say `HKCU` for whoever installs";
    for (index, step) in script.steps.iter().enumerate() {
        if let crate::StepKind::Registry(registry) = &step.kind {
            for (name, edit) in &registry.values {
                if matches!(edit, model::ValueEdit::Raw { data, .. } if names_account(data)) {
                    let message = format!(
                        "the bytes of `{name}` name an account by the reference machine's number for it"
                    );
                    let place = step_place(script, index).key("values");
                    problems.push(Problem::error(place, message).hint(hint));
                }
            }
        }
        for (key, template) in crate::visit::step_templates(step) {
            let says = |part: &model::Part| matches!(part, model::Part::Literal(bytes) if names_account(bytes));
            if template.0.iter().any(says) {
                let message = format!(
                    "`{template}` names an account by the reference machine's number for it"
                );
                problems
                    .push(Problem::error(step_place(script, index).key(key), message).hint(hint));
            }
        }
    }
}

/// Whether bytes hold such an identifier, as text of either width, in either case.
fn names_account(bytes: &[u8]) -> bool {
    let narrow = |window: &[u8]| window.eq_ignore_ascii_case(IDENTITY);
    let wide = |window: &[u8]| {
        let mut pairs = window.chunks_exact(2).zip(IDENTITY);
        pairs.all(|(pair, letter)| pair[0].eq_ignore_ascii_case(letter) && pair[1] == 0)
    };
    bytes.windows(IDENTITY.len()).any(narrow) || bytes.windows(IDENTITY.len() * 2).any(wide)
}

fn check_programs(script: &Script, problems: &mut Vec<Problem>) {
    let detects = script.programs.get("install").is_some_and(|install| install.detect.is_some());
    if !detects {
        let place = Place::of(Part::Program("install".into()));
        problems.push(
            Problem::new(
                Severity::Note,
                place,
                "nothing says how to tell from outside that the package is installed",
            )
            .hint(
                "`detect = 'version(file(\"/path\")) >= version(\"1.0\")'` in `[program.install]`",
            ),
        );
    }
}

/// The place of a step.
fn step_place(script: &Script, index: usize) -> Place {
    let kind = script.steps.get(index).map(|step| crate::visit::kind_name(&step.kind).into());
    Place::of(Part::Step { number: index + 1, kind })
}
