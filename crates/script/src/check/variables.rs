use std::collections::BTreeSet;

use model::Condition;

use super::step_place;
use crate::{
    Part, Place, Problem, Script, Severity,
    problem::did_you_mean,
    visit::{condition_variables, expand_defaults, step_templates},
    vocabulary::BUILT_IN_VARIABLES,
};

/// Checks that every variable is known, used and has an end.
pub(super) fn check(script: &Script, problems: &mut Vec<Problem>) {
    let mut uses = Uses { script, used: BTreeSet::new(), problems };
    for generated in &script.generated {
        uses.names(generated.variables(), || Place::of(Part::Package).key("generated"));
    }
    for (name, variable) in &script.variables {
        let names = variable.default.iter().flat_map(model::Template::variables);
        uses.names(names, || Place::of(Part::Variable(name.clone())));
    }
    for (index, step) in script.steps.iter().enumerate() {
        for (key, template) in step_templates(step) {
            uses.names(template.variables(), || step_place(script, index).key(key));
        }
        uses.condition(step.when.as_ref(), || step_place(script, index).key("when"));
    }
    for (name, program) in &script.programs {
        let place = || Place::of(Part::Program(name.clone()));
        uses.condition(program.detect.as_ref(), || place().key("detect"));
        uses.condition(program.requires.as_ref(), || place().key("requires"));
    }
    let named = uses.used;
    for (name, variable) in &script.variables {
        let place = Place::of(Part::Variable(name.clone()));
        if !named.contains(&**name) {
            problems.push(
                Problem::new(Severity::Warning, place.clone(), "it is never used")
                    .hint(format!("write `${{{name}}}` where it belongs, or take it out")),
            );
        }
        match &variable.default {
            Some(default) if is_circular(script, name) => {
                problems.push(
                    Problem::error(place, format!("its default `{default}` leads back to itself"))
                        .hint("name the value itself in one of them"),
                );
            }
            None if variable.fixed.is_some() => {
                problems.push(
                    Problem::error(place, "it is fixed, and has no value")
                        .hint("add `default = \"…\"`, the value it is fixed to"),
                );
            }
            None => problems.push(
                Problem::new(
                    Severity::Note,
                    place,
                    "it has no default: every installation must say it",
                )
                .hint(format!("`--set {name}=…`")),
            ),
            Some(_) => {}
        }
    }
}

/// Whether a variable's default is made of itself.
fn is_circular(script: &Script, name: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut ahead = vec![name];
    while let Some(next) = ahead.pop() {
        let default = script.variables.get(next).and_then(|variable| variable.default.as_ref());
        for inner in default.into_iter().flat_map(model::Template::variables) {
            if inner == name {
                return true;
            }
            if seen.insert(inner) {
                ahead.push(inner);
            }
        }
    }
    false
}

struct Uses<'s, 'p> {
    script: &'s Script,
    used: BTreeSet<&'s str>,
    problems: &'p mut Vec<Problem>,
}

impl<'s> Uses<'s, '_> {
    fn names(&mut self, names: impl Iterator<Item = &'s str>, place: impl Fn() -> Place) {
        for name in names {
            self.used.insert(name);
            if self.script.variables.contains_key(name) || BUILT_IN_VARIABLES.contains(&name) {
                continue;
            }
            let known = self.script.variables.keys().map(|name| &**name);
            let hint = match did_you_mean(name, known.chain(BUILT_IN_VARIABLES.iter().copied())) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("declare it: `{name} = {{ default = \"…\" }}` below `[variables]`"),
            };
            let message = format!("there is no variable `{name}`");
            self.problems.push(Problem::error(place(), message).hint(hint));
        }
    }

    fn condition(&mut self, condition: Option<&'s Condition>, place: impl Fn() -> Place) {
        let mut names = Vec::new();
        if let Some(condition) = condition {
            condition_variables(condition, &mut names);
        }
        self.names(names.into_iter(), place);
    }
}

/// A path as it will be if nobody says otherwise, where that can be told.
pub(super) fn usual_path(script: &Script, path: &model::Template) -> Option<model::MachinePath> {
    model::MachinePath::new(expand_defaults(script, path)?).ok()
}
