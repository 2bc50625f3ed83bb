//! What the product is called, in which order things happen, and what gives way to it.

use model::{Architecture, RegistryStep, Template, ValueEdit};
use package::Action;

use super::{
    database::Value,
    draft::{Draft, guid},
    summary::Summary,
    tables::{ADMIN, ADMIN_UI, ADVERTISE, EXECUTE, UI},
};
use crate::condition::{self, Answer};

/// Where programs a person may take off are listed.
const PROGRAMS: [&str; 4] = [
    r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall",
    r"HKLM\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall",
    r"HKCU\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall",
    r"HKCU\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall",
];
/// `Upgrade`: all up to this version, itself counted; and those that are only looked for.
const UP_TO: i32 = 256 + 512;
const LOOK: i32 = 2;
/// Greatest numbers of a version.
const MOST: [u32; 3] = [255, 255, 65535];

impl Draft<'_> {
    /// Finishes the tables; `identity` is the package's.
    pub(super) fn product(&mut self, identity: &str) -> Summary {
        let header = self.header;
        match &header.architecture {
            Architecture::Any => {}
            Architecture::Only(only) if **only == *"x86_64" => {}
            Architecture::Only(only) => {
                self.refuse(None, format!("architecture `{only}`: an .msi of ours is for x86-64"));
            }
        }
        let requires = header.programs.get("install").and_then(|it| it.requires.as_ref());
        if requires.is_some_and(|it| condition::decide(it, &self.texts.values) != Some(Answer::Yes))
        {
            self.refuse(None, "`requires` of `install` differs by machine");
        }
        for pattern in &header.generated {
            self.remark(None, format!("`generated`: what matches `{pattern}` stays"));
        }
        if !header.configuration.is_empty() {
            let text = "`configuration`: an update writes such files anew, changed ones too";
            self.remark(None, text);
        }
        self.remark(None, "what was at a place before does not come back at uninstall");
        if !self.installed.is_empty() {
            let text = "times keep two seconds, and are those of the machine's own time zone";
            self.remark(None, text);
        }
        let version = self.version();
        let title = self.said("DisplayName").unwrap_or_else(|| header.name.as_str().to_owned());
        let maker = self.maker();
        let export = header.export.as_deref().cloned().unwrap_or_default();
        let upgrade = guid(&["upgrade", header.name.as_str()]);
        for (name, value) in [
            ("ProductCode", guid(&["product", identity]).as_str()),
            ("UpgradeCode", &upgrade),
            ("ProductName", &title),
            ("ProductVersion", &version),
            ("ProductLanguage", "1033"),
            ("Manufacturer", &maker),
            ("ALLUSERS", "1"),
            ("ARPNOMODIFY", "1"),
            ("ARPURLINFOABOUT", &export.homepage),
            // Files are written whatever their version, as they would be by us.
            ("REINSTALLMODE", "amus"),
            ("SecureCustomProperties", "OLDER_FOUND;NEWER_FOUND"),
        ] {
            if !value.is_empty() {
                self.database.row("Property", [name.into(), value.into()]);
            }
        }
        for (least, most, attributes, found) in [
            ("0.0.0", Some(version.as_str()), UP_TO, "OLDER_FOUND"),
            (version.as_str(), None, LOOK, "NEWER_FOUND"),
        ] {
            let row = [
                (&upgrade).into(),
                least.into(),
                most.into(),
                Value::Nothing,
                attributes.into(),
                Value::Nothing,
                found.into(),
            ];
            self.database.row("Upgrade", row);
        }
        let text = format!("A newer version of {title} is installed already.");
        self.database.row("LaunchCondition", ["Installed OR NOT NEWER_FOUND".into(), text.into()]);
        self.finish_components(&title);
        self.sequences();
        Summary {
            subject: title,
            author: maker,
            comments: header.summary.clone(),
            code: guid(&["file", identity]),
            schema: if self.database.has("MsiServiceConfig") { 500 } else { 200 },
        }
    }

    fn sequences(&mut self) {
        let late = self.database.has("MsiServiceConfig").then_some(("MsiConfigureServices", 5850));
        for (table, actions) in [
            ("InstallExecuteSequence", EXECUTE),
            ("InstallUISequence", UI),
            ("AdminExecuteSequence", ADMIN),
            ("AdminUISequence", ADMIN_UI),
            ("AdvtExecuteSequence", ADVERTISE),
        ] {
            let late = late.filter(|_| table == "InstallExecuteSequence");
            for &(action, number) in actions.iter().chain(&late) {
                self.database.row(table, [action.into(), Value::Nothing, number.into()]);
            }
        }
    }

    /// Three numbers, which is what Windows Installer compares.
    fn version(&mut self) -> String {
        let text = self.header.version.as_str().to_owned();
        let mut numbers = Vec::new();
        let mut rest = text.as_str();
        while numbers.len() < 3 {
            let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            let Ok(number) = rest[..end].parse::<u32>() else { break };
            numbers.push(number);
            rest = &rest[end..];
            match rest.strip_prefix('.') {
                Some(more) if numbers.len() < 3 => rest = more,
                _ => break,
            }
        }
        if numbers.is_empty() || numbers.iter().zip(MOST).any(|(number, most)| *number > most) {
            let text = format!(
                "version `{text}`: Windows Installer compares three numbers, of at most 255, 255 and 65535"
            );
            self.refuse(None, text);
        }
        numbers.resize(3, 0);
        let compared = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
        if !rest.is_empty() {
            self.remark(None, format!("of version `{text}` Windows Installer compares {compared}"));
        }
        compared
    }

    fn maker(&mut self) -> String {
        let maintainer = self.header.export.as_ref().map_or("", |it| it.maintainer.as_str());
        let name = maintainer.split('<').next().unwrap_or_default().trim().to_owned();
        if !name.is_empty() {
            return name;
        }
        self.said("Publisher").unwrap_or_else(|| {
            self.remark(None, "`[package]` names no `maintainer`: `Unknown` stands there");
            "Unknown".to_owned()
        })
    }

    /// What the vendor's own entry among the programs says.
    fn said(&self, wanted: &str) -> Option<String> {
        let steps = self.header.steps.iter().filter_map(|step| match &step.action {
            Action::Registry(registry) if is_listed(registry) => Some(registry),
            _ => None,
        });
        let literal = |text: &Template| String::from_utf8(text.as_literal()?.to_vec()).ok();
        steps.flat_map(|registry| &registry.values).find_map(|(name, edit)| match edit {
            ValueEdit::Text(text) if literal(name)?.eq_ignore_ascii_case(wanted) => {
                literal(text).filter(|text| !text.is_empty())
            }
            _ => None,
        })
    }
}

/// The vendor's own entry would start a program that knows nothing of this one, so it is not shown.
pub(super) fn hidden(registry: &RegistryStep) -> RegistryStep {
    let mut registry = registry.clone();
    if is_listed(&registry) && !registry.remove {
        let name = Template::literal("SystemComponent");
        registry.values.retain(|(other, _)| *other != name);
        registry.values.push((name, ValueEdit::Dword(1)));
    }
    registry
}

fn is_listed(registry: &RegistryStep) -> bool {
    let key = registry.key.as_literal().map(String::from_utf8_lossy).unwrap_or_default();
    key.rsplit_once('\\')
        .is_some_and(|(above, _)| PROGRAMS.iter().any(|it| it.eq_ignore_ascii_case(above)))
}
