use model::{RegistryKey, Template};

use crate::{Facts, Registry, windows::Folders};

/// Where Programs and Features reads, in both views.
const PLACES: [&str; 4] = [
    r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall",
    r"HKLM\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall",
    r"HKCU\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall",
    r"HKCU\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall",
];

/// What an installer leaves in Programs and Features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its key.
    pub key: RegistryKey,
    /// What people read.
    pub display_name: String,
    /// The version people read; may be empty.
    pub version: String,
    /// The command line that takes the software off; may be empty.
    pub uninstall: String,
    /// The same without questions; may be empty.
    pub quiet: String,
}

impl Listing {
    /// The entries of Programs and Features that came to be between two looks at a registry.
    pub fn made(before: &Registry, after: &Registry) -> Vec<Self> {
        let mut made = Vec::new();
        for key in after.keys() {
            if !is_entry(key) || before.has_key(key) {
                continue;
            }
            let text = |name: &str| {
                let value = after.value(key, name);
                value.and_then(model::RegistryValue::as_text).unwrap_or_default()
            };
            made.push(Self {
                key: key.clone(),
                display_name: text("DisplayName"),
                version: text("DisplayVersion"),
                uninstall: text("UninstallString"),
                quiet: text("QuietUninstallString"),
            });
        }
        // Parts that are not shown belong to one that is.
        made.retain(|listing| !listing.display_name.is_empty());
        made
    }

    /// The entry of a product that Windows Installer knows by this code.
    pub fn of_product(code: &str, is_64: bool, name: &str, version: &str) -> Option<Self> {
        let key = RegistryKey::new(&format!(r"{}\{code}", PLACES[usize::from(!is_64)])).ok()?;
        Some(Self {
            key,
            display_name: name.to_owned(),
            version: version.to_owned(),
            uninstall: String::new(),
            quiet: String::new(),
        })
    }

    /// An entry somebody named: a whole key, or its last name.
    pub fn named(name: &str, uninstall: &str, version: &str) -> Option<Self> {
        let key = RegistryKey::new(name)
            .or_else(|_| RegistryKey::new(&format!(r"{}\{name}", PLACES[0])))
            .ok()
            .filter(is_entry)?;
        Some(Self {
            key,
            display_name: String::new(),
            version: version.to_owned(),
            uninstall: uninstall.to_owned(),
            quiet: String::new(),
        })
    }

    /// The program that takes the software off.
    pub(super) fn uninstaller(&self) -> Option<&str> {
        let line = if self.uninstall.is_empty() { &self.quiet } else { &self.uninstall };
        divided(line).map(|(program, _)| program)
    }

    /// The quiet command line by its words.
    pub(super) fn quiet_words(&self) -> Option<Vec<Template>> {
        let (program, rest) = divided(&self.quiet)?;
        let words = rest.split_whitespace().map(|word| word.trim_matches('"'));
        Some(std::iter::once(program).chain(words).map(Self::generalised).collect())
    }

    /// A text of the machine it was found on, with folders every machine has made variables.
    pub(super) fn generalised(text: &str) -> Template {
        Folders::of(&Facts::default()).within(text)
    }
}

fn is_entry(key: &RegistryKey) -> bool {
    key.parent().is_some_and(|above| {
        PLACES.iter().any(|place| RegistryKey::new(place).is_ok_and(|place| place == above))
    })
}

/// The program of a command line, which may hold blanks without quotes, and what follows it.
fn divided(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix('"') {
        return rest.split_once('"');
    }
    let end = line.to_ascii_lowercase().find(".exe")? + ".exe".len();
    Some(line.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::divided;

    #[test]
    fn command_lines_divide_as_windows_does() {
        let program = |line| divided(line).map(|(program, rest)| (program, rest.trim()));
        assert_eq!(program(r#""C:\a b\u.exe" /x"#), Some((r"C:\a b\u.exe", "/x")));
        assert_eq!(program(r"C:\a b\u.EXE /x y"), Some((r"C:\a b\u.EXE", "/x y")));
        assert_eq!(program("rundll32 x"), None);
    }
}
