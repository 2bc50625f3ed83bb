use std::{cmp::Ordering, collections::BTreeMap};

use change::{MachineError, Observe};
use model::{
    Comparison, Condition, Fact, MachinePath, Owner, RegistryKey, Setting, SettingState, Template,
    Value, Version,
};

use crate::{Accounts, Facts, Installed};

/// A condition has no answer.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The machine refused to be looked at.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// Something it speaks of is not known: neither yes nor no.
    #[error("{what} is not known on this machine")]
    Unknown {
        /// What.
        what: String,
    },
    /// It compares a number with a text, or the like.
    #[error("the condition compares {left} with {right}")]
    Kinds {
        /// The left side's kind.
        left: &'static str,
        /// The right side's kind.
        right: &'static str,
    },
}

/// What a condition is asked of.
pub(crate) struct Asked<'a, M: ?Sized> {
    pub(crate) machine: &'a M,
    pub(crate) facts: &'a dyn Facts,
    pub(crate) installed: &'a [Installed],
    pub(crate) variables: &'a BTreeMap<Box<str>, String>,
}

/// A known value.
enum Known {
    Text(String),
    Number(i64),
    Truth(bool),
    Version(Version),
}

/// The answer to `condition` on a machine.
pub fn evaluate<M: Observe + ?Sized>(
    condition: &Condition,
    machine: &M,
    facts: &dyn Facts,
    installed: &[Installed],
    variables: &BTreeMap<Box<str>, String>,
) -> Result<bool, EvaluateError> {
    Asked { machine, facts, installed, variables }.answer(condition)
}

impl<M: Observe + ?Sized> Asked<'_, M> {
    pub(crate) fn answer(&self, condition: &Condition) -> Result<bool, EvaluateError> {
        match condition {
            Condition::Constant(answer) => Ok(*answer),
            Condition::Not(inner) => Ok(!self.answer(inner)?),
            Condition::All(all) => {
                for one in all {
                    if !self.answer(one)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Any(any) => {
                for one in any {
                    if self.answer(one)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::Holds(value) => match self.value(value)? {
                Known::Truth(answer) => Ok(answer),
                other => Err(EvaluateError::Kinds { left: other.kind(), right: "a yes or no" }),
            },
            Condition::Compare { left, comparison, right } => {
                let order = self.value(left)?.order(&self.value(right)?)?;
                Ok(match comparison {
                    Comparison::Equal => order.is_eq(),
                    Comparison::NotEqual => order.is_ne(),
                    Comparison::Less => order.is_lt(),
                    Comparison::AtMost => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::AtLeast => order.is_ge(),
                })
            }
        }
    }

    fn value(&self, value: &Value) -> Result<Known, EvaluateError> {
        Ok(match value {
            Value::Text(template) => Known::Text(self.expand(template)?),
            Value::Number(number) => Known::Number(*number),
            Value::Truth(truth) => Known::Truth(*truth),
            Value::Version(inner) => match self.value(inner)? {
                Known::Text(text) => Known::Version(Version::new(text)),
                Known::Version(version) => Known::Version(version),
                other => return Err(EvaluateError::Kinds { left: other.kind(), right: "a text" }),
            },
            Value::Fact(fact) => self.fact(fact)?,
        })
    }

    fn fact(&self, fact: &Fact) -> Result<Known, EvaluateError> {
        let unknown = |what: String| EvaluateError::Unknown { what };
        Ok(match fact {
            Fact::Os => Known::Text(self.facts.os()),
            Fact::Architecture => Known::Text(self.facts.architecture()),
            Fact::Distribution => Known::Text(self.facts.distribution()),
            Fact::Release => Known::Text(self.facts.release()),
            Fact::Kernel => Known::Text(self.facts.kernel()),
            Fact::Memory => Known::Number(i64::try_from(self.facts.memory()).unwrap_or(i64::MAX)),
            Fact::HostName => Known::Text(self.facts.host_name()),
            Fact::Exists(path) => {
                let path = self.machine.resolve(&self.path(path)?)?;
                Known::Truth(self.machine.look(&path)?.is_some())
            }
            Fact::FreeSpace(path) => {
                let path = self.path(path)?;
                let (free, _) = self
                    .facts
                    .free_space(&path)
                    .ok_or_else(|| unknown(format!("the free space at `{path}`")))?;
                Known::Number(i64::try_from(free).unwrap_or(i64::MAX))
            }
            Fact::FileVersion(path) => {
                let path = self.machine.resolve(&self.path(path)?)?;
                Known::Version(Version::new(
                    self.file_version(&path)?
                        .ok_or_else(|| unknown(format!("the version of `{path}`")))?,
                ))
            }
            Fact::Installed(name) => {
                let found =
                    self.installed.iter().find(|one| one.receipt.header.name.as_str() == &**name);
                Known::Version(Version::new(
                    found.map(|one| one.receipt.header.version.to_string()).unwrap_or_default(),
                ))
            }
            Fact::SystemPackage(name) => {
                Known::Version(Version::new(self.facts.system_package(name).unwrap_or_default()))
            }
            Fact::UserExists(name) => {
                let accounts = Accounts::read(self.machine)?;
                Known::Truth(accounts.user(&Owner::Name(name.clone())).is_ok())
            }
            Fact::Registry { key, value } => Known::Text(self.registry(key, value)?),
            Fact::Variable(name) => Known::Text(
                self.variables
                    .get(name)
                    .cloned()
                    .ok_or_else(|| unknown(format!("variable `{name}`")))?,
            ),
        })
    }

    /// A text of the registry, empty where there is none. A machine without a registry has none.
    fn registry(&self, key: &Template, value: &Template) -> Result<String, EvaluateError> {
        if !cfg!(feature = "settings") {
            return Ok(String::new());
        }
        let key = self.expand(key)?;
        let key = RegistryKey::new(&key)
            .map_err(|_| EvaluateError::Unknown { what: format!("the registry key `{key}`") })?;
        if self.facts.os() != "windows" {
            return Ok(String::new());
        }
        let found = self.machine.setting(&Setting::value(&key, &self.expand(value)?))?;
        Ok(match found {
            Some(SettingState::Value(value)) => value.as_text().unwrap_or_default(),
            _ => String::new(),
        })
    }

    /// A file has the version declared for it, or that of the package that brought it.
    fn file_version(&self, path: &MachinePath) -> Result<Option<String>, EvaluateError> {
        if self.machine.look(path)?.is_none() {
            return Ok(None);
        }
        for one in self.installed {
            let claim = one.receipt.claim(self.machine, path).ok().flatten();
            if let Some(claim) = claim {
                let version = claim.version.unwrap_or_else(|| one.receipt.header.version.clone());
                return Ok(Some(version.to_string()));
            }
        }
        Ok(None)
    }

    fn path(&self, template: &Template) -> Result<MachinePath, EvaluateError> {
        let text = self.expand(template)?;
        MachinePath::new(&text)
            .map_err(|_| EvaluateError::Unknown { what: format!("the path `{text}`") })
    }

    fn expand(&self, template: &Template) -> Result<String, EvaluateError> {
        let bytes = template.expand(|name| self.variables.get(name).map(String::as_str)).map_err(
            |error| EvaluateError::Unknown { what: format!("variable `{}`", error.variable) },
        )?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Known {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::Truth(_) => "a yes or no",
            Self::Version(_) => "a version",
        }
    }

    fn order(&self, other: &Self) -> Result<Ordering, EvaluateError> {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => Ok(one.cmp(other)),
            (Self::Number(one), Self::Number(other)) => Ok(one.cmp(other)),
            (Self::Truth(one), Self::Truth(other)) => Ok(one.cmp(other)),
            (Self::Version(one), Self::Version(other)) => Ok(one.cmp(other)),
            _ => Err(EvaluateError::Kinds { left: self.kind(), right: other.kind() }),
        }
    }
}
