use std::collections::BTreeMap;

use model::{Architecture, Part, Template};
use package::Header;

/// What variables are where nobody is asked: their defaults.
pub(crate) struct Values {
    known: BTreeMap<Box<str>, Vec<u8>>,
}

impl Values {
    pub(crate) fn of(header: &Header) -> Self {
        Self::on("linux", header)
    }

    /// On another system than Linux.
    pub(crate) fn on(os: &str, header: &Header) -> Self {
        let mut known: BTreeMap<Box<str>, Vec<u8>> = BTreeMap::from([
            ("machine.os".into(), os.as_bytes().to_vec()),
            ("installer.arguments".into(), Vec::new()),
        ]);
        if let Architecture::Only(only) = &header.architecture {
            known.insert("machine.arch".into(), only.as_bytes().to_vec());
        }
        let mut values = Self { known };
        // A default may speak of other variables, in any order.
        for _ in 0..=header.variables.len() {
            for (name, variable) in &header.variables {
                if let Some(value) =
                    variable.default.as_ref().and_then(|default| values.expand(default).ok())
                {
                    values.known.insert(name.clone(), value);
                }
            }
        }
        values
    }

    /// The value of a variable, where it is the same on every machine.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.known.get(name).map(Vec::as_slice)
    }

    /// The bytes of a template, or why they are not known here.
    pub(crate) fn expand(&self, template: &Template) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for part in &template.0 {
            match part {
                Part::Literal(literal) => bytes.extend_from_slice(literal),
                Part::Variable(name) => match self.get(name) {
                    Some(value) => bytes.extend_from_slice(value),
                    None => return Err(unknown(name)),
                },
            }
        }
        Ok(bytes)
    }

    /// As [`expand`](Self::expand), as text.
    pub(crate) fn text(&self, template: &Template) -> Result<String, String> {
        String::from_utf8(self.expand(template)?)
            .map_err(|_| format!("`{template}` is no text, which a script would need"))
    }
}

pub(crate) fn unknown(name: &str) -> String {
    if name.starts_with("machine.") {
        format!("`${{{name}}}` differs by machine, and payload is the same on all of them")
    } else {
        format!("variable `{name}` has no default, and nobody can be asked for it")
    }
}
