//! Conditions: decided here where they are the same on every machine, asked by a script elsewhere.

use std::cmp::Ordering;

use model::{Comparison, Condition, Fact, Value, Version};

use crate::{
    System,
    shell::{asked, quote, word},
    values::Values,
};

/// What a condition comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    /// A command of a shell that succeeds where it is so.
    Asked(String),
}

/// The answer, where it is the same on every machine the package is for; `None` where it differs.
pub(crate) fn decide(condition: &Condition, values: &Values) -> Option<Answer> {
    // What the two systems ask differently is decided by neither.
    match translate(condition, values, System::Rpm) {
        Ok(Answer::Asked(_)) | Err(_) => None,
        Ok(decided) => Some(decided),
    }
}

/// The answer or the question, or why there is none.
pub(crate) fn translate(
    condition: &Condition,
    values: &Values,
    system: System,
) -> Result<Answer, String> {
    let of = |truth| if truth { Answer::Yes } else { Answer::No };
    Ok(match condition {
        Condition::Constant(truth) | Condition::Holds(Value::Truth(truth)) => of(*truth),
        Condition::Not(inner) => match translate(inner, values, system)? {
            Answer::Yes => Answer::No,
            Answer::No => Answer::Yes,
            Answer::Asked(question) => Answer::Asked(format!("! {{ {question}; }}")),
        },
        Condition::All(all) => several(all, values, system, &Answer::No, " && ")?,
        Condition::Any(any) => several(any, values, system, &Answer::Yes, " || ")?,
        Condition::Holds(Value::Fact(Fact::Exists(path))) => {
            let path = word(path, values)?;
            Answer::Asked(format!("[ -e {path} ] || [ -h {path} ]"))
        }
        Condition::Holds(Value::Fact(Fact::UserExists(name))) => {
            Answer::Asked(format!("getent passwd {} >/dev/null", quote(name)))
        }
        Condition::Holds(_) => return Err("its condition is no yes or no".to_owned()),
        Condition::Compare { left, comparison, right } => {
            let (left, right) = (known(left, values, system)?, known(right, values, system)?);
            compare(left, *comparison, right, system)?
        }
    })
}

/// Several conditions, of which `decisive` ends the asking.
fn several(
    conditions: &[Condition],
    values: &Values,
    system: System,
    decisive: &Answer,
    between: &str,
) -> Result<Answer, String> {
    let mut questions = Vec::new();
    for condition in conditions {
        match translate(condition, values, system)? {
            Answer::Asked(question) => questions.push(format!("{{ {question}; }}")),
            answer if answer == *decisive => return Ok(answer),
            _ => {}
        }
    }
    Ok(match (questions.is_empty(), decisive) {
        (false, _) => Answer::Asked(questions.join(between)),
        (true, Answer::Yes) => Answer::No,
        (true, _) => Answer::Yes,
    })
}

/// A side of a comparison.
enum Known {
    Text(String),
    Number(i64),
    Version(String),
    /// A word of a shell.
    AskedText(String),
    AskedNumber(String),
    AskedVersion(String),
}

fn known(value: &Value, values: &Values, system: System) -> Result<Known, String> {
    let ask = |name: &str| {
        let question = asked(name).unwrap_or_default();
        Known::AskedText(format!("\"{question}\""))
    };
    Ok(match value {
        Value::Text(template) => match values.text(template) {
            Ok(text) => Known::Text(text),
            Err(_) => Known::AskedText(word(template, values)?),
        },
        Value::Number(number) => Known::Number(*number),
        Value::Truth(_) => return Err("its condition compares a yes or no".to_owned()),
        Value::Version(inner) => match known(inner, values, system)? {
            Known::Text(text) | Known::Version(text) => Known::Version(text),
            Known::AskedText(word) | Known::AskedVersion(word) => Known::AskedVersion(word),
            _ => return Err("its condition reads a number as a version".to_owned()),
        },
        Value::Fact(fact) => match fact {
            Fact::Os => {
                let os = values.get("machine.os").unwrap_or_default();
                Known::Text(String::from_utf8_lossy(os).into_owned())
            }
            Fact::Architecture => match values.get("machine.arch") {
                Some(only) => Known::Text(String::from_utf8_lossy(only).into_owned()),
                None => ask("machine.arch"),
            },
            Fact::Distribution => ask("machine.distribution"),
            Fact::Release => ask("machine.release"),
            Fact::Kernel => ask("machine.kernel"),
            Fact::HostName => ask("machine.hostname"),
            Fact::Memory => Known::AskedNumber("\"$(memory)\"".to_owned()),
            Fact::FreeSpace(path) => {
                Known::AskedNumber(format!("\"$(free_at {})\"", word(path, values)?))
            }
            Fact::Variable(name) => match values.get(name) {
                Some(value) => Known::Text(String::from_utf8_lossy(value).into_owned()),
                None => return Err(crate::values::unknown(name)),
            },
            Fact::SystemPackage(name) if system == System::Deb => Known::AskedText(format!(
                "\"$(dpkg-query -W -f '${{Version}}' {} 2>/dev/null || :)\"",
                quote(name)
            )),
            Fact::SystemPackage(_) => {
                return Err(
                    "its condition asks for a package, and rpm's database is locked while \
                            its scripts run"
                        .to_owned(),
                );
            }
            Fact::FileVersion(_) | Fact::Installed(_) => {
                return Err("its condition asks for packages of ours, which this package system \
                            knows nothing of"
                    .to_owned());
            }
            Fact::Registry { .. } => {
                return Err("its condition asks for the registry of Windows".to_owned());
            }
            Fact::Exists(_) | Fact::UserExists(_) => {
                return Err("its condition compares a yes or no".to_owned());
            }
        },
    })
}

fn compare(
    left: Known,
    comparison: Comparison,
    right: Known,
    system: System,
) -> Result<Answer, String> {
    let of = |order: Ordering| if holds(comparison, order) { Answer::Yes } else { Answer::No };
    Ok(match (left, right) {
        (Known::Text(left), Known::Text(right)) => of(left.cmp(&right)),
        (Known::Number(left), Known::Number(right)) => of(left.cmp(&right)),
        (Known::Version(left), Known::Version(right)) => {
            of(Version::new(left).cmp(&Version::new(right)))
        }
        (
            left @ (Known::Text(_) | Known::AskedText(_)),
            right @ (Known::Text(_) | Known::AskedText(_)),
        ) => {
            let sign = match comparison {
                Comparison::Equal => "=",
                Comparison::NotEqual => "!=",
                _ => return Err("its condition orders texts".to_owned()),
            };
            Answer::Asked(format!("[ {} {sign} {} ]", left.word(), right.word()))
        }
        (
            left @ (Known::Number(_) | Known::AskedNumber(_)),
            right @ (Known::Number(_) | Known::AskedNumber(_)),
        ) => {
            let sign = ["eq", "ne", "lt", "le", "gt", "ge"][position(comparison)];
            Answer::Asked(format!("[ {} -{sign} {} ]", left.word(), right.word()))
        }
        (
            left @ (Known::Version(_) | Known::AskedVersion(_)),
            right @ (Known::Version(_) | Known::AskedVersion(_)),
        ) => {
            if system == System::Rpm {
                return Err("its condition compares versions, for which rpm has no command that \
                            works in a script"
                    .to_owned());
            }
            let sign = ["eq", "ne", "lt", "le", "gt", "ge"][position(comparison)];
            let (left, right) = (left.word(), right.word());
            Answer::Asked(format!("dpkg --compare-versions {left} {sign} {right}"))
        }
        _ => return Err("its condition compares values of different kinds".to_owned()),
    })
}

impl Known {
    fn word(&self) -> String {
        match self {
            Self::Text(text) | Self::Version(text) => quote(text),
            Self::Number(number) => number.to_string(),
            Self::AskedText(word) | Self::AskedNumber(word) | Self::AskedVersion(word) => {
                word.clone()
            }
        }
    }
}

fn holds(comparison: Comparison, order: Ordering) -> bool {
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::AtMost => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::AtLeast => order.is_ge(),
    }
}

fn position(comparison: Comparison) -> usize {
    match comparison {
        Comparison::Equal => 0,
        Comparison::NotEqual => 1,
        Comparison::Less => 2,
        Comparison::AtMost => 3,
        Comparison::Greater => 4,
        Comparison::AtLeast => 5,
    }
}
