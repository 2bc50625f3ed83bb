//! The `[Install]` section of a unit: systemd.unit(5).

/// What enabling a unit does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Install {
    wanted_by: Vec<String>,
    required_by: Vec<String>,
    upheld_by: Vec<String>,
    aliases: Vec<String>,
    default_instance: Option<String>,
    /// Whether it is something that stays up once started, and so can be seen running.
    pub(super) keeps_running: bool,
}

impl Install {
    /// Reads a unit's text.
    pub(super) fn read(text: &str) -> Self {
        let mut install = Self { keeps_running: true, ..Self::default() };
        let mut section = "";
        let joined = text.replace("\\\n", " ");
        for line in joined.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let words = || value.split_whitespace().map(str::to_owned);
            match (section, key.trim()) {
                ("Install", "WantedBy") => extend(&mut install.wanted_by, words()),
                ("Install", "RequiredBy") => extend(&mut install.required_by, words()),
                ("Install", "UpheldBy") => extend(&mut install.upheld_by, words()),
                ("Install", "Alias") => extend(&mut install.aliases, words()),
                ("Install", "DefaultInstance") => install.default_instance = words().next(),
                ("Service", "Type") => install.keeps_running = value.trim() != "oneshot",
                _ => {}
            }
        }
        install
    }

    /// The links enabling `unit` makes, below the folder of links.
    pub(super) fn links(&self, unit: &str) -> Vec<String> {
        let instance = match (unit.split_once("@."), &self.default_instance) {
            (Some((stem, kind)), Some(instance)) => format!("{stem}@{instance}.{kind}"),
            _ => unit.to_owned(),
        };
        let group = |names: &[String], ending: &str| -> Vec<String> {
            names.iter().map(|name| format!("{name}.{ending}/{instance}")).collect()
        };
        let mut links = group(&self.wanted_by, "wants");
        links.extend(group(&self.required_by, "requires"));
        links.extend(group(&self.upheld_by, "upholds"));
        links.extend(self.aliases.iter().filter(|alias| *alias != unit).cloned());
        links
    }
}

/// `foo@.service` for `foo@bar.service`.
pub(super) fn template_of(unit: &str) -> Option<String> {
    let (stem, rest) = unit.split_once('@')?;
    let (_, kind) = rest.rsplit_once('.')?;
    Some(format!("{stem}@.{kind}"))
}

/// An empty value takes back what was said before.
fn extend(list: &mut Vec<String>, words: impl Iterator<Item = String>) {
    let before = list.len();
    list.extend(words);
    if list.len() == before {
        list.clear();
    }
}
