//! Installers that behave well are wrapped: carried as they are and run with their silent switches, not captured.
//!
//! - [`Maker`] says by its bytes what made an installer, and how such installers are told to be silent;
//! - [`Listing`] is what it leaves in Programs and Features, which tells whether it is there and how it goes;
//! - [`wrap`] makes the script.

mod listing;
mod maker;

use std::collections::BTreeMap;

use model::{
    Architecture, Comparison, Condition, ExitMeaning, Export, Fact, Hook, PackageName, Part,
    Program, ReplaceRule, RunStep, Template, Undo, Value, Version,
};
use script::{Comments, Script, Step, StepKind, TreeSource, TreeStep};

pub use listing::Listing;
pub use maker::{Maker, Msi};

/// Where wrapped installers stay on a machine: what takes the software off may need them.
const PLACE: &str = r"${program-data}\Packhorse\wrapped";
/// An hour: a large installer on a slow machine.
const LIMIT: u32 = 3600;

/// What a person says, or the installer itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapping {
    /// The package's name.
    pub name: PackageName,
    /// The package's version.
    pub version: Version,
    /// The installer's file name.
    pub file: String,
    /// What made it.
    pub maker: Maker,
    /// What it leaves in Programs and Features.
    pub listing: Listing,
}

/// Why an installer cannot be wrapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// How it is taken off is not known.
    #[error(
        "nothing says how the software is taken off again: say it with `--uninstall-command`, as its entry in Programs and Features does"
    )]
    NoUninstall,
}

/// The script of a project that carries an installer and runs it.
pub fn wrap(wrapping: &Wrapping) -> Result<(Script, Comments), WrapError> {
    let Wrapping { name, version, file, maker, listing } = wrapping;
    let place = template(&format!("{PLACE}\\{name}\\{file}"));
    let undo = maker.uninstall(&place, listing).ok_or(WrapError::NoUninstall)?;
    let run = RunStep {
        command: maker.install(&place),
        at: Hook::Install,
        undo: Undo::Command(undo),
        limit: LIMIT,
        wait: true,
        exit_codes: maker.exit_codes(),
        outputs: Vec::new(),
    };
    let tree = TreeStep {
        source: TreeSource::File(format!("files/{file}").into()),
        to: place,
        replace: ReplaceRule::Always,
        version: None,
        replacements: Vec::new(),
        except: Vec::new(),
    };
    let program = Program {
        detect: Some(detect(listing)),
        requires: Some(is_windows()),
        exit_codes: run
            .exit_codes
            .iter()
            .filter(|(_, meaning)| **meaning == ExitMeaning::Restart)
            .map(|(code, meaning)| (*code, *meaning))
            .collect(),
        estimate: None,
    };
    let mut comments = Comments {
        head: format!(
            "Wrapped: {}. It is carried as it is, and told to ask nothing.",
            maker.sentence()
        ),
        ..Comments::default()
    };
    comments.steps.insert(0, "The installer, kept for the day the software goes".to_owned());
    comments.steps.insert(1, "It runs; uninstalling runs what takes the software off".to_owned());
    let steps = [StepKind::Tree(tree), StepKind::Run(run)];
    let script = Script {
        name: name.clone(),
        version: version.clone(),
        architecture: maker.architecture(),
        summary: listing.display_name.clone(),
        configuration: Vec::new(),
        generated: Vec::new(),
        variables: BTreeMap::new(),
        steps: steps.into_iter().map(|kind| Step { when: None, users: Vec::new(), kind }).collect(),
        programs: BTreeMap::from([("install".into(), program)]),
        export: Export::default(),
        icon: None,
    };
    Ok((script, comments))
}

/// It is there when its entry is, with this version or a newer one where the entry says one.
fn detect(listing: &Listing) -> Condition {
    let value = |name: &str| {
        let (key, value) = (Template::literal(listing.key.as_str()), Template::literal(name));
        Value::Fact(Fact::Registry { key, value })
    };
    let text = |text: &str| {
        Value::Text(if text.is_empty() { Template::default() } else { Template::literal(text) })
    };
    let version = |value: Value| Value::Version(Box::new(value));
    if listing.version.is_empty() {
        return Condition::Compare {
            left: value("DisplayName"),
            comparison: Comparison::NotEqual,
            right: text(""),
        };
    }
    Condition::Compare {
        left: version(value("DisplayVersion")),
        comparison: Comparison::AtLeast,
        right: version(text(&listing.version)),
    }
}

fn is_windows() -> Condition {
    Condition::Compare {
        left: Value::Fact(Fact::Os),
        comparison: Comparison::Equal,
        right: Value::Text(Template::literal("windows")),
    }
}

/// A text we wrote ourselves.
fn template(text: &str) -> Template {
    text.parse().unwrap_or_else(|_| Template::literal(text))
}

/// A template between quotes, for a program that divides its command line itself.
fn after(start: &str, template: &Template) -> Template {
    let start = Part::Literal(start.as_bytes().to_vec());
    Template(std::iter::once(start).chain(template.0.iter().cloned()).collect())
}

/// The machines of a setup program: it says not which, and one for 32 bits runs everywhere.
fn any() -> Architecture {
    Architecture::Any
}

#[cfg(test)]
mod tests;
