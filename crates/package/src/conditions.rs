//! Conditions as people read them.

use std::fmt;

use model::{Comparison, Condition, Fact, Value};

/// A condition in words.
pub(crate) struct Words<'a, T>(pub(crate) &'a T);

impl fmt::Display for Words<'_, Condition> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Condition], word: &str| {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Condition::All(_) | Condition::Any(_) => write!(f, "({})", Words(part))?,
                    simple => write!(f, "{}", Words(simple))?,
                }
            }
            Ok(())
        };
        match self.0 {
            Condition::Constant(truth) => write!(f, "{}", if *truth { "always" } else { "never" }),
            Condition::Not(inner) => write!(f, "not ({})", Words(&**inner)),
            Condition::All(parts) => list(f, parts, "and"),
            Condition::Any(parts) => list(f, parts, "or"),
            Condition::Holds(value) => write!(f, "{}", Words(value)),
            Condition::Compare { left, comparison, right } => {
                let sign = match comparison {
                    Comparison::Equal => "is",
                    Comparison::NotEqual => "is not",
                    Comparison::Less => "is below",
                    Comparison::AtMost => "is at most",
                    Comparison::Greater => "is above",
                    Comparison::AtLeast => "is at least",
                };
                write!(f, "{} {sign} {}", Words(left), Words(right))
            }
        }
    }
}

impl fmt::Display for Words<'_, Value> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Text(text) => write!(f, "`{text}`"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Truth(truth) => write!(f, "{truth}"),
            Value::Version(inner) => write!(f, "version {}", Words(&**inner)),
            Value::Fact(fact) => write!(f, "{}", Words(fact)),
        }
    }
}

impl fmt::Display for Words<'_, Fact> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Fact::Os => f.write_str("the system"),
            Fact::Architecture => f.write_str("the architecture"),
            Fact::Distribution => f.write_str("the distribution"),
            Fact::Release => f.write_str("the distribution's release"),
            Fact::Kernel => f.write_str("the kernel"),
            Fact::Memory => f.write_str("memory in bytes"),
            Fact::HostName => f.write_str("the host name"),
            Fact::Exists(path) => write!(f, "`{path}` exists"),
            Fact::FreeSpace(path) => write!(f, "bytes free at `{path}`"),
            Fact::FileVersion(path) => write!(f, "the version of `{path}`"),
            Fact::Installed(name) => write!(f, "the version of `{name}` installed"),
            Fact::SystemPackage(name) => write!(f, "the version of the system's package `{name}`"),
            Fact::UserExists(name) => write!(f, "user `{name}` exists"),
            Fact::Variable(name) => write!(f, "variable `{name}`"),
            Fact::Registry { key, value } => write!(f, "value `{value}` of `{key}`"),
        }
    }
}
