use std::fmt::Write as _;

use model::{Comparison, Condition, Fact, Part, Template, Value};

use super::{TEXT_FACTS, is_bare, value::no_version};

/// Writes a condition as CEL. What [`parse_condition`](super::parse_condition) made comes back the same.
pub fn print_condition(condition: &Condition) -> String {
    let mut text = String::new();
    write_condition(&mut text, condition);
    text
}

/// "This package is there", for what is a version, empty where the package is absent.
pub(super) fn is_there(value: Value) -> Condition {
    Condition::Compare { left: value, comparison: Comparison::NotEqual, right: no_version() }
}

fn write_condition(text: &mut String, condition: &Condition) {
    match condition {
        Condition::Constant(constant) => {
            let _ = write!(text, "{constant}");
        }
        Condition::Not(inner) => {
            text.push('!');
            let simple = matches!(**inner, Condition::Constant(_) | Condition::Holds(_))
                || as_presence(inner).is_some();
            write_grouped(text, inner, !simple);
        }
        Condition::All(conditions) => {
            write_joined(text, conditions, " && ", "true", |inner| {
                matches!(inner, Condition::Any(_)) && as_membership(inner).is_none()
                    || matches!(inner, Condition::All(_))
            });
        }
        Condition::Any(conditions) => match as_membership(condition) {
            Some(left) => write_membership(text, left, conditions),
            // `&&` binds closer, but not everybody knows.
            None => write_joined(text, conditions, " || ", "false", |inner| {
                matches!(inner, Condition::All(_) | Condition::Any(_))
                    && as_membership(inner).is_none()
            }),
        },
        Condition::Compare { left, comparison, right } => {
            if let Some(value) = as_presence(condition) {
                write_value(text, value);
            } else {
                write_value(text, left);
                text.push_str(match comparison {
                    Comparison::Equal => " == ",
                    Comparison::NotEqual => " != ",
                    Comparison::Less => " < ",
                    Comparison::AtMost => " <= ",
                    Comparison::Greater => " > ",
                    Comparison::AtLeast => " >= ",
                });
                write_value(text, right);
            }
        }
        Condition::Holds(value) => write_value(text, value),
    }
}

fn write_joined(
    text: &mut String,
    conditions: &[Condition],
    word: &str,
    none: &str,
    grouped: impl Fn(&Condition) -> bool,
) {
    if conditions.is_empty() {
        text.push_str(none);
    }
    for (index, inner) in conditions.iter().enumerate() {
        if index > 0 {
            text.push_str(word);
        }
        write_grouped(text, inner, conditions.len() > 1 && grouped(inner));
    }
}

fn write_grouped(text: &mut String, condition: &Condition, grouped: bool) {
    if grouped {
        text.push('(');
    }
    write_condition(text, condition);
    if grouped {
        text.push(')');
    }
}

/// The package that is asked for, where a comparison only asks whether it is there.
fn as_presence(condition: &Condition) -> Option<&Value> {
    match condition {
        Condition::Compare {
            left: left @ Value::Fact(Fact::Installed(_) | Fact::SystemPackage(_)),
            comparison: Comparison::NotEqual,
            right,
        } if *right == no_version() => Some(left),
        _ => None,
    }
}

/// The value that is looked for, where a condition says "one of these texts".
fn as_membership(condition: &Condition) -> Option<&Value> {
    let Condition::Any(conditions) = condition else { return None };
    let Some(Condition::Compare { left: first, .. }) = conditions.first() else { return None };
    let same = conditions.len() > 1
        && conditions.iter().all(|condition| {
            matches!(condition, Condition::Compare { left, comparison: Comparison::Equal, right: Value::Text(_) | Value::Number(_) } if left == first)
        });
    same.then_some(first)
}

fn write_membership(text: &mut String, left: &Value, conditions: &[Condition]) {
    write_value(text, left);
    text.push_str(" in [");
    for (index, condition) in conditions.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        if let Condition::Compare { right, .. } = condition {
            write_value(text, right);
        }
    }
    text.push(']');
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Text(template) => {
            // A variable alone is a fact; something joined to it makes it a text.
            if let [Part::Variable(_)] = template.0.as_slice() {
                text.push_str("\"\" + ");
            }
            write_template(text, template);
        }
        Value::Number(number) => {
            let _ = write!(text, "{number}");
        }
        Value::Truth(truth) => {
            let _ = write!(text, "{truth}");
        }
        Value::Version(inner) => {
            text.push_str("version(");
            write_value(text, inner);
            text.push(')');
        }
        Value::Fact(fact) => write_fact(text, fact),
    }
}

fn write_fact(text: &mut String, fact: &Fact) {
    if let Some((name, _)) = TEXT_FACTS.iter().find(|(_, known)| known == fact) {
        let _ = write!(text, "machine.{name}");
        return;
    }
    match fact {
        Fact::Exists(path) => write_call(text, "exists", path),
        Fact::FreeSpace(path) => write_call(text, "free", path),
        Fact::FileVersion(path) => {
            write_call(text, "version(file", path);
            text.push(')');
        }
        Fact::Installed(name) => write_named(text, "installed", name),
        Fact::SystemPackage(name) => {
            write_named(text, "system_package", name);
        }
        Fact::UserExists(name) => {
            write_named(text, "user_exists", name);
        }
        Fact::Registry { key, value } => {
            write_call(text, "registry", key);
            text.truncate(text.len() - 1);
            text.push_str(", ");
            write_template(text, value);
            text.push(')');
        }
        Fact::Variable(name) if is_bare(name) => text.push_str(name),
        Fact::Variable(name) => write_named(text, "variable", name),
        _ => text.push_str("machine.memory"),
    }
}

fn write_call(text: &mut String, function: &str, argument: &Template) {
    text.push_str(function);
    text.push('(');
    write_template(text, argument);
    text.push(')');
}

fn write_named(text: &mut String, function: &str, name: &str) {
    let _ = write!(text, "{function}({})", quoted(name));
}

/// Literals and variables, joined by `+`.
fn write_template(text: &mut String, template: &Template) {
    let mut terms = Vec::new();
    for part in &template.0 {
        match part {
            Part::Literal(bytes) => literal_terms(bytes, &mut terms),
            Part::Variable(name) => terms.push(variable_term(name)),
        }
    }
    if terms.is_empty() {
        text.push_str("\"\"");
    }
    text.push_str(&terms.join(" + "));
}

fn variable_term(name: &str) -> String {
    let fact = name.strip_prefix("machine.");
    let is_fact = fact.is_some_and(|fact| TEXT_FACTS.iter().any(|(known, _)| *known == fact));
    if is_fact || is_bare(name) { name.to_owned() } else { format!("variable({})", quoted(name)) }
}

fn literal_terms(bytes: &[u8], terms: &mut Vec<String>) {
    for chunk in bytes.utf8_chunks() {
        // `${` in one literal reads as a variable that was forgotten to be one.
        let mut pieces = chunk.valid().split_inclusive('$').peekable();
        let mut literal = String::new();
        while let Some(piece) = pieces.next() {
            literal.push_str(piece);
            if piece.ends_with('$') && pieces.peek().is_some_and(|next| next.starts_with('{')) {
                terms.push(quoted(&std::mem::take(&mut literal)));
            }
        }
        if !literal.is_empty() {
            terms.push(quoted(&literal));
        }
        if !chunk.invalid().is_empty() {
            let mut term = String::from("b\"");
            for byte in chunk.invalid() {
                let _ = write!(term, "\\x{byte:02x}");
            }
            term.push('"');
            terms.push(term);
        }
    }
}

/// A text as a CEL literal.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(literal, "\\u{:04x}", u32::from(control));
            }
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}
