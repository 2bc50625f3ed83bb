use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text with variables in it: `${prefix}/bin`. A dollar sign is written `$$`, a byte that is not
/// text `${0xFF}`; every other character stands for itself, so `%PATH%`, `100%` and `\` need no care.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Template(#[n(0)] pub Vec<Part>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Part {
    /// Bytes that stand for themselves.
    #[n(0)]
    Literal(
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        Vec<u8>,
    ),
    /// The value of the variable of this name.
    #[n(1)]
    Variable(#[n(0)] Box<str>),
}

/// Text that is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTemplateError {
    /// A dollar sign that starts nothing.
    #[error(
        "a single `$` at character {at}: write `$$` for a dollar sign, `${{name}}` for a variable"
    )]
    LoneDollar {
        /// Position in characters, from 0.
        at: usize,
    },
    /// `${` without its `}`.
    #[error("the `${{` at character {at} has no `}}`")]
    Unclosed {
        /// Position in characters, from 0.
        at: usize,
    },
    /// A variable whose name is empty or holds something else than letters, digits, `-`, `_`, `.`.
    #[error(
        "`{name}` at character {at} is no variable name: use letters, digits, `-`, `_`, `.`, and start with a letter"
    )]
    Name {
        /// What stands between the braces.
        name: String,
        /// Position in characters, from 0.
        at: usize,
    },
}

/// A variable that has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("variable `{variable}` has no value")]
pub struct ExpandError {
    /// Its name.
    pub variable: String,
}

impl Template {
    /// A template without variables.
    pub fn literal(bytes: impl Into<Vec<u8>>) -> Self {
        Self(vec![Part::Literal(bytes.into())])
    }

    /// The bytes, with every variable replaced by what `value` says of it.
    ///
    /// Values are taken as they are: a dollar sign in a value starts nothing.
    pub fn expand<'v>(
        &self,
        mut value: impl FnMut(&str) -> Option<&'v str>,
    ) -> Result<Vec<u8>, ExpandError> {
        let mut bytes = Vec::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => bytes.extend_from_slice(literal),
                Part::Variable(name) => match value(name) {
                    Some(text) => bytes.extend_from_slice(text.as_bytes()),
                    None => return Err(ExpandError { variable: name.to_string() }),
                },
            }
        }
        Ok(bytes)
    }

    /// The names of the variables, in order, repeated where they repeat.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(&**name),
            Part::Literal(_) => None,
        })
    }

    /// The bytes, when there is no variable in it.
    pub fn as_literal(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(&[]),
            [Part::Literal(bytes)] => Some(bytes),
            _ => None,
        }
    }

    /// Whether `name` may name a variable.
    pub fn is_variable_name(name: &str) -> bool {
        name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.chars().all(|other| other.is_ascii_alphanumeric() || "-_.".contains(other))
    }
}

impl FromStr for Template {
    type Err = ParseTemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        let position = |rest: &str| text[..text.len() - rest.len()].chars().count();
        while let Some(dollar) = rest.find('$') {
            let at = position(&rest[dollar..]);
            literal.extend_from_slice(&rest.as_bytes()[..dollar]);
            let after = &rest[dollar + 1..];
            if let Some(tail) = after.strip_prefix('$') {
                literal.push(b'$');
                rest = tail;
                continue;
            }
            let Some(inner) = after.strip_prefix('{') else {
                return Err(ParseTemplateError::LoneDollar { at });
            };
            let Some((name, tail)) = inner.split_once('}') else {
                return Err(ParseTemplateError::Unclosed { at });
            };
            rest = tail;
            if let Some(byte) =
                name.strip_prefix("0x").and_then(|digits| u8::from_str_radix(digits, 16).ok())
            {
                literal.push(byte);
                continue;
            }
            if !Self::is_variable_name(name) {
                return Err(ParseTemplateError::Name { name: name.to_owned(), at });
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Variable(name.into()));
        }
        literal.extend_from_slice(rest.as_bytes());
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Variable(name) => write!(f, "${{{name}}}")?,
                Part::Literal(bytes) => {
                    for chunk in bytes.utf8_chunks() {
                        f.write_str(&chunk.valid().replace('$', "$$"))?;
                        chunk
                            .invalid()
                            .iter()
                            .try_for_each(|byte| write!(f, "${{0x{byte:02X}}}"))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Template;

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let template: Template = Template::literal(bytes.clone()).to_string().parse().unwrap();
            prop_assert_eq!(template.expand(|_| None).unwrap(), bytes);
        }
    }

    /// Text that only looks like variables of other systems stays as it is (Q245570).
    #[test]
    fn text_of_other_systems_is_no_variable() {
        for text in ["%SystemRoot%", "%PATH%", "100%", "%%", "%MAINDIR%", "%", "a\\b"] {
            assert_eq!(text.parse::<Template>().unwrap(), Template::literal(text));
        }
        assert_eq!(Template::literal("${HOME} $(id)").to_string(), "$${HOME} $$(id)");
    }

    #[test]
    fn variables_expand_once() {
        let template: Template = "${prefix}/bin:$$${prefix}".parse().unwrap();
        let expanded = template.expand(|name| (name == "prefix").then_some("/${prefix}")).unwrap();
        assert_eq!(expanded, b"/${prefix}/bin:$/${prefix}");
        insta::assert_snapshot!(template.expand(|_| None).unwrap_err(), @"variable `prefix` has no value");
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| text.parse::<Template>().unwrap_err().to_string();
        insta::assert_snapshot!(error("a$b"), @"a single `$` at character 1: write `$$` for a dollar sign, `${name}` for a variable");
        insta::assert_snapshot!(error("ä${x"), @"the `${` at character 1 has no `}`");
        insta::assert_snapshot!(error("${}"), @"`` at character 0 is no variable name: use letters, digits, `-`, `_`, `.`, and start with a letter");
    }
}
