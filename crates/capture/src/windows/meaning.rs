//! What keys mean to Windows. They stay edits of the registry, which is how Windows is told; people read what they do.

use model::{RegistryKey, RegistryValue};

use super::same;

/// What a key is there for. The order is that of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    Environment,
    Association,
    Component,
    Font,
    Run,
    ActiveSetup,
    Application,
    Uninstall,
}

/// A key by the end of its place below `HKLM` or `HKCU`; `*` stands for one name, and all below is meant too.
const KEYS: [(&str, Meaning); 15] = [
    (r"SYSTEM\CurrentControlSet\Control\Session Manager\Environment", Meaning::Environment),
    ("Environment", Meaning::Environment),
    (r"SOFTWARE\Classes\CLSID", Meaning::Component),
    (r"SOFTWARE\Classes\WOW6432Node\CLSID", Meaning::Component),
    (r"SOFTWARE\Classes\Interface", Meaning::Component),
    (r"SOFTWARE\Classes\TypeLib", Meaning::Component),
    (r"SOFTWARE\Classes\AppID", Meaning::Component),
    (r"SOFTWARE\Classes", Meaning::Association),
    (r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\Fonts", Meaning::Font),
    (r"SOFTWARE\Microsoft\Windows\CurrentVersion\Run", Meaning::Run),
    (r"SOFTWARE\Microsoft\Windows\CurrentVersion\RunOnce", Meaning::Run),
    (r"SOFTWARE\Microsoft\Active Setup\Installed Components", Meaning::ActiveSetup),
    (r"SOFTWARE\Microsoft\Windows\CurrentVersion\App Paths", Meaning::Application),
    (r"SOFTWARE\RegisteredApplications", Meaning::Application),
    (r"SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall", Meaning::Uninstall),
];

impl Meaning {
    /// What `key` is there for, in either view of the registry.
    pub(super) fn of(key: &RegistryKey) -> Option<Self> {
        let names: Vec<&str> = key.as_str().split('\\').skip(1).collect();
        // The other view's keys stand below a name of its own.
        let plain: Vec<&str> = match names.as_slice() {
            [software, node, rest @ ..] if same(node, "WOW6432Node") => {
                std::iter::once(*software).chain(rest.iter().copied()).collect()
            }
            other => other.to_vec(),
        };
        let found = KEYS.iter().find(|(place, _)| {
            let mut names = plain.iter();
            place.split('\\').all(|wanted| names.next().is_some_and(|name| same(wanted, name)))
        });
        found.map(|(_, meaning)| *meaning)
    }

    /// The title above such steps.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Environment => "Environment variables",
            Self::Association => "File types",
            Self::Component => "COM registration",
            Self::Font => "Fonts",
            Self::Run => "Programs that run at logon",
            Self::ActiveSetup => "Active Setup: once for each user",
            Self::Application => "Where programs are",
            Self::Uninstall => "Programs and Features",
        }
    }

    /// What one value does, where one sentence says it.
    pub(super) fn sentence(self, key: &RegistryKey, name: &str) -> Option<String> {
        let last = key.name();
        Some(match self {
            Self::Environment => format!("the environment variable {name}"),
            Self::Association if last.starts_with('.') && name.is_empty() => {
                format!("files that end in {last}")
            }
            Self::Font => format!("the font {name}"),
            Self::Run => format!("{name} runs at logon"),
            Self::ActiveSetup if same(name, "StubPath") => {
                format!("{last} runs once for each user")
            }
            Self::Component if name.is_empty() && same(last, "InprocServer32") => {
                "a COM server in a library".to_owned()
            }
            Self::Component if name.is_empty() && same(last, "LocalServer32") => {
                "a COM server in a program".to_owned()
            }
            Self::Application if name.is_empty() => format!("the program {last} is found by name"),
            Self::Uninstall if same(name, "DisplayName") => {
                "its entry among the programs".to_owned()
            }
            _ => return None,
        })
    }
}

/// What `new` has that `old` had not, where both are lists divided by `;`, like `Path`, and nothing of the old one
/// went: the machine the package goes to has entries of its own, which must stay.
pub(super) fn added_to_list(old: &RegistryValue, new: &RegistryValue) -> Option<Vec<String>> {
    let texts = [RegistryValue::TEXT, RegistryValue::EXPAND];
    if !texts.contains(&old.kind) || !texts.contains(&new.kind) {
        return None;
    }
    let (old, new) = (old.as_text()?, new.as_text()?);
    let entries = |text: &str| -> Vec<String> {
        text.split(';').filter(|one| !one.is_empty()).map(str::to_owned).collect()
    };
    let (old, new) = (entries(&old), entries(&new));
    if old.is_empty() || !old.iter().all(|one| new.iter().any(|other| same(one, other))) {
        return None;
    }
    let added: Vec<String> =
        new.into_iter().filter(|one| !old.iter().any(|other| same(one, other))).collect();
    (!added.is_empty()).then_some(added)
}
