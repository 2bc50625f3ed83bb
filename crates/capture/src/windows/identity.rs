//! What is true of the reference machine alone: its name, its identifier, the numbers of its accounts.

use model::{Part, RegistryKey, RegistryValue, Template};

use super::same;
use crate::Registry;

/// How the identifier of an account of one machine or domain begins; what everybody has is shorter.
const ACCOUNT: &str = "S-1-5-21-";
/// The variable every machine has its own name in.
const NAME: &str = "machine.hostname";
const NAME_KEY: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\ComputerName\ComputerName";
const ACTIVE_NAME_KEY: &str =
    r"HKLM\SYSTEM\CurrentControlSet\Control\ComputerName\ActiveComputerName";
const GUID_KEY: &str = r"HKLM\SOFTWARE\Microsoft\Cryptography";

/// The facts of a machine as its registry has them before anything is installed.
#[derive(Debug, Default)]
pub(super) struct Identity {
    names: Vec<String>,
    guid: Option<String>,
}

impl Identity {
    pub(super) fn of(registry: &Registry) -> Self {
        let text = |key: &str, name: &str| {
            let value = registry.value(&RegistryKey::new(key).ok()?, name)?;
            value.as_text().filter(|text| text.len() > 2)
        };
        let names = [NAME_KEY, ACTIVE_NAME_KEY].into_iter();
        let mut names: Vec<String> = names.filter_map(|key| text(key, "ComputerName")).collect();
        names.dedup();
        Self { names, guid: text(GUID_KEY, "MachineGuid") }
    }

    /// Why a name or text stays on the reference machine.
    pub(super) fn keeps(&self, text: &str) -> Option<&'static str> {
        if find(text, ACCOUNT).is_some() {
            return Some("it holds the number of an account of the reference machine");
        }
        let guid = self.guid.as_deref();
        guid.and_then(|guid| find(text, guid))
            .map(|_| "it holds the identifier of the reference machine")
    }

    /// Why a value stays on the reference machine, whatever its type.
    pub(super) fn keeps_value(&self, name: &str, value: &RegistryValue) -> Option<&'static str> {
        let bytes = value.data.chunks_exact(2);
        let wide: Vec<u16> = bytes.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        self.keeps(name)
            .or_else(|| self.keeps(&String::from_utf16_lossy(&wide)))
            .or_else(|| self.keeps(&String::from_utf8_lossy(&value.data)))
    }

    /// A template with the machine's name made the variable every machine has, where it stands as a whole word.
    pub(super) fn within(&self, template: Template) -> Template {
        let mut parts = Vec::new();
        for part in template.0 {
            match part {
                Part::Literal(bytes) => match String::from_utf8(bytes) {
                    Ok(text) => self.divide(&text, &mut parts),
                    Err(error) => parts.push(Part::Literal(error.into_bytes())),
                },
                variable @ Part::Variable(_) => parts.push(variable),
            }
        }
        Template(parts)
    }

    /// An account without the name of the machine before it.
    pub(super) fn account(&self, account: String) -> String {
        match account.split_once('\\') {
            Some((machine, user)) if self.names.iter().any(|name| same(name, machine)) => {
                format!(r".\{user}")
            }
            _ => account,
        }
    }

    /// Whether an account is one of the reference machine alone, by its number or its name.
    pub(super) fn owns(&self, account: &str) -> bool {
        find(account, ACCOUNT) == Some(0)
            || account
                .split_once('\\')
                .is_some_and(|(machine, _)| self.names.iter().any(|name| same(name, machine)))
    }

    fn divide(&self, text: &str, parts: &mut Vec<Part>) {
        let literal = |text: &str| Part::Literal(text.as_bytes().to_vec());
        let mut from = 0;
        let mut at = 0;
        while let Some((found, name)) =
            self.names.iter().filter_map(|name| Some((find(&text[at..], name)?, name))).min()
        {
            let (start, end) = (at + found, at + found + name.len());
            let is_word = |letter: Option<char>| {
                letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
            };
            at = end;
            if is_word(text[..start].chars().next_back()) || is_word(text[end..].chars().next()) {
                continue;
            }
            if from < start {
                parts.push(literal(&text[from..start]));
            }
            parts.push(Part::Variable(NAME.into()));
            from = end;
        }
        if from < text.len() {
            parts.push(literal(&text[from..]));
        }
    }
}

/// Where `wanted` stands in `text`, in either case of plain letters.
pub(super) fn find(text: &str, wanted: &str) -> Option<usize> {
    text.to_ascii_lowercase().find(&wanted.to_ascii_lowercase())
}
