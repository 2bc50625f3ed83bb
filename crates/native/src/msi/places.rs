//! Texts with folders every Windows machine has, each by one letter of a private plane until it is known whether a path
//! or a text comes of it.

use std::collections::{BTreeMap, BTreeSet};

use model::{Part, Template};
use package::Header;

use super::database::{Database, Value};
use crate::values::{Values, unknown};

/// A folder every Windows machine has.
struct Folder {
    /// The variable it is.
    variable: &'static str,
    /// The property Windows Installer has for it, or ours.
    property: &'static str,
    /// What follows below it.
    below: &'static [&'static str],
    /// The same without Windows Installer's properties, which all end with `\`.
    environment: &'static str,
}

const fn folder(
    variable: &'static str,
    property: &'static str,
    below: &'static [&'static str],
    environment: &'static str,
) -> Folder {
    Folder { variable, property, below, environment }
}

const FOLDERS: &[Folder] = &[
    folder("program-files", "ProgramFiles64Folder", &[], "[%ProgramW6432]"),
    folder("program-files-x86", "ProgramFilesFolder", &[], "[%ProgramFiles(x86)]"),
    folder("common-files", "CommonFiles64Folder", &[], "[%CommonProgramW6432]"),
    folder("common-files-x86", "CommonFilesFolder", &[], "[%CommonProgramFiles(x86)]"),
    folder("program-data", "CommonAppDataFolder", &[], "[%ProgramData]"),
    folder("windows", "WindowsFolder", &[], "[%SystemRoot]"),
    folder("system", "System64Folder", &[], r"[%SystemRoot]\system32"),
    folder("system-x86", "SystemFolder", &[], r"[%SystemRoot]\syswow64"),
    folder("fonts", "FontsFolder", &[], r"[%SystemRoot]\Fonts"),
    folder(
        "start-menu",
        "ProgramMenuFolder",
        &[],
        r"[%ProgramData]\Microsoft\Windows\Start Menu\Programs",
    ),
    folder("common-desktop", "DesktopFolder", &[], r"[%PUBLIC]\Desktop"),
    folder("public", "PUBLIC_FOLDER", &[], "[%PUBLIC]"),
    folder("user-profile", "PROFILE_FOLDER", &[], "[%USERPROFILE]"),
    folder("app-data", "AppDataFolder", &[], "[%APPDATA]"),
    folder("local-app-data", "LocalAppDataFolder", &[], "[%LOCALAPPDATA]"),
    folder(
        "user-start-menu",
        "AppDataFolder",
        &["Microsoft", "Windows", "Start Menu", "Programs"],
        r"[%APPDATA]\Microsoft\Windows\Start Menu\Programs",
    ),
    folder("desktop", "PROFILE_FOLDER", &["Desktop"], r"[%USERPROFILE]\Desktop"),
];

/// Properties that are ours: Windows Installer has none for these folders.
const OWN: [(&str, &str); 2] =
    [("PUBLIC_FOLDER", r"[%PUBLIC]\"), ("PROFILE_FOLDER", r"[%USERPROFILE]\")];
/// The letter of the first of [`FOLDERS`].
const FIRST: u32 = 0xF_0000;
/// The letter of the machine's name.
const COMPUTER: char = '\u{F_0100}';
/// Variables whose defaults speak of variables, one in another.
const DEPTH: u32 = 32;

fn folder_of(letter: char) -> Option<&'static Folder> {
    FOLDERS.get(usize::try_from(u32::from(letter).checked_sub(FIRST)?).ok()?)
}

/// The texts of a package, where nobody is asked.
pub(super) struct Texts<'h> {
    header: &'h Header,
    pub(super) values: Values,
}

impl<'h> Texts<'h> {
    pub(super) fn of(header: &'h Header) -> Self {
        Self { header, values: Values::on("windows", header) }
    }

    /// A template as text, with letters for folders; or why it is none.
    pub(super) fn resolve(&self, template: &Template) -> Result<String, String> {
        self.within(template, DEPTH)
    }

    fn within(&self, template: &Template, depth: u32) -> Result<String, String> {
        let text = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).ok();
            let is_plain = |letter: char| u32::from(letter) < FIRST;
            let text = text.filter(|text| text.chars().all(is_plain));
            text.map(str::to_owned).ok_or_else(|| format!("`{template}` is no text"))
        };
        let mut out = String::new();
        for part in &template.0 {
            let name = match part {
                Part::Literal(bytes) => {
                    out += &text(bytes)?;
                    continue;
                }
                Part::Variable(name) => name,
            };
            let folder = (FIRST..).zip(FOLDERS).find(|(_, folder)| folder.variable == &**name);
            let default = self.header.variables.get(name).and_then(|it| it.default.as_ref());
            match (folder, self.values.get(name), default) {
                (Some((letter, _)), ..) => out.extend(char::from_u32(letter)),
                (_, Some(value), _) => out += &text(value)?,
                (_, _, Some(default)) if depth > 0 => out += &self.within(default, depth - 1)?,
                _ if **name == *"machine.hostname" => out.push(COMPUTER),
                _ => return Err(unknown(name)),
            }
        }
        Ok(out)
    }
}

/// A text as Windows Installer fills it in on the machine.
pub(super) fn formatted(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match folder_of(letter) {
            Some(folder)
                if letters.peek() == Some(&'\\')
                    && folder.below.is_empty()
                    && OWN.iter().all(|(own, _)| *own != folder.property) =>
            {
                // The property ends with the backslash.
                letters.next();
                out += &format!("[{}]", folder.property);
            }
            Some(folder) => out += folder.environment,
            None if letter == COMPUTER => out += "[ComputerName]",
            None if matches!(letter, '[' | ']' | '{' | '}') => out += &format!("[\\{letter}]"),
            None => out.push(letter),
        }
    }
    out
}

/// The text, where no machine's own folder is in it.
pub(super) fn plain(text: &str) -> Option<&str> {
    text.chars().all(|letter| u32::from(letter) < FIRST).then_some(text)
}

/// A text for people, folders by the variables they are.
pub(super) fn shown(text: &str) -> String {
    let one = |letter: char| match folder_of(letter) {
        Some(folder) => format!("${{{}}}", folder.variable),
        None if letter == COMPUTER => "${machine.hostname}".to_owned(),
        None => letter.to_string(),
    };
    text.chars().map(one).collect()
}

/// A path: where it begins, and its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// The property that stands for its beginning.
    pub(super) root: String,
    pub(super) parts: Vec<String>,
    /// How many of the parts every machine has.
    given: usize,
}

impl Spot {
    /// The path a text is, or why it is none.
    pub(super) fn of(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('/').unwrap_or(text);
        let mut letters = bare.chars();
        let first = letters.next();
        let (root, mut parts, rest) = match (first, first.and_then(folder_of)) {
            (_, Some(folder)) => {
                let below: Vec<_> = folder.below.iter().map(|&part| part.to_owned()).collect();
                (folder.property.to_owned(), below, letters.as_str())
            }
            (Some(drive), None) if letters.as_str().starts_with(':') => {
                let root = format!("DRIVE_{}", drive.to_ascii_uppercase());
                (root, Vec::new(), &letters.as_str()[1..])
            }
            _ => return Err(format!("`{}` is on no drive", shown(text))),
        };
        if !rest.is_empty() && !rest.starts_with(['\\', '/']) {
            return Err(format!("`{}` is no folder of a machine", shown(text)));
        }
        let given = parts.len();
        for part in rest.split(['\\', '/']).filter(|part| !part.is_empty()) {
            parts.push(part.to_owned());
        }
        let spot = Self { root, parts, given };
        spot.check().map_err(|reason| format!("`{}` {reason}", shown(text)))?;
        Ok(spot)
    }

    /// The same with more parts.
    pub(super) fn join(&self, path: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(path)
            .map_err(|_| format!("`{}` is no text", String::from_utf8_lossy(path)))?;
        let below = text.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        let parts = self.parts.iter().cloned().chain(below).collect();
        let spot = Self { root: self.root.clone(), parts, given: self.given };
        spot.check().map_err(|reason| format!("`{text}` {reason}"))?;
        Ok(spot)
    }

    /// Windows holds every part.
    fn check(&self) -> Result<(), &'static str> {
        for part in &self.parts {
            let is_odd = |letter: char| letter < ' ' || r#"\/:*?"<>|"#.contains(letter);
            if part.chars().any(|letter| is_odd(letter) || u32::from(letter) >= FIRST) {
                return Err("has a name Windows does not hold");
            }
            let base = part.split('.').next().unwrap_or_default().trim_end().to_uppercase();
            let is_device = matches!(&*base, "CON" | "PRN" | "AUX" | "NUL")
                || (["COM", "LPT"].iter().any(|port| {
                    base.strip_prefix(port).is_some_and(|number| {
                        number.len() == 1
                            && number
                                .starts_with(|digit: char| digit.is_ascii_digit() && digit != '0')
                    })
                }));
            if is_device || part.ends_with(['.', ' ']) || part == ".." {
                return Err("has a name Windows does not hold");
            }
        }
        Ok(())
    }

    /// The folder it is in, and its name there.
    pub(super) fn split(&self) -> Option<(Self, &str)> {
        let (name, above) = self.parts.split_last()?;
        Some((Self { root: self.root.clone(), parts: above.to_vec(), given: self.given }, name))
    }

    /// Whether every machine has it.
    pub(super) fn is_given(&self) -> bool {
        self.parts.len() <= self.given
    }

    /// What makes two paths one, whatever their case.
    pub(super) fn key(&self) -> (String, Vec<String>) {
        (self.root.clone(), self.parts.iter().map(|part| part.to_lowercase()).collect())
    }
}

/// The folders of a database, and the short names in them.
#[derive(Default)]
pub(super) struct Directories {
    known: BTreeMap<(String, Vec<String>), String>,
    short: BTreeMap<String, BTreeSet<String>>,
    count: usize,
}

impl Directories {
    /// The folder's key; its row and those above are there then.
    pub(super) fn key(&mut self, spot: &Spot, database: &mut Database) -> String {
        if let Some(key) = self.known.get(&spot.key()) {
            return key.clone();
        }
        let key = if let Some((above, name)) = spot.split() {
            let above = self.key(&above, database);
            self.count += 1;
            let key = format!("d{}", self.count);
            let name = self.name(&above, name);
            database.row("Directory", [(&key).into(), above.into(), name.into()]);
            key
        } else {
            root(&spot.root, database);
            spot.root.clone()
        };
        self.known.insert(spot.key(), key.clone());
        key
    }

    /// A name with the short one Windows Installer wants before it, which no other of the folder has.
    pub(super) fn name(&mut self, folder: &str, name: &str) -> String {
        let taken = self.short.entry(folder.to_owned()).or_default();
        if is_short(name) && taken.insert(name.to_uppercase()) {
            return name.to_owned();
        }
        let extension: String = name
            .rsplit_once('.')
            .map_or("", |(_, extension)| extension)
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(3)
            .collect();
        let end = if extension.is_empty() { String::new() } else { format!(".{extension}") };
        let mut number = taken.len();
        loop {
            let short = format!("_{number:X}{}", end.to_uppercase());
            if taken.insert(short.clone()) {
                return format!("{short}|{name}");
            }
            number += 1;
        }
    }
}

/// Whether DOS would have held a name.
fn is_short(name: &str) -> bool {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let plain = |text: &str| {
        text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-~$!#%&@".contains(letter))
    };
    (1..=8).contains(&base.len())
        && extension.len() <= 3
        && plain(base)
        && plain(extension)
        && !name.ends_with('.')
}

/// The row of a folder that is the machine's own, and how it comes to its place.
fn root(property: &str, database: &mut Database) {
    if let Some(drive) = property.strip_prefix("DRIVE_") {
        database.row("Property", [property.into(), format!(r"{drive}:\").into()]);
    }
    if let Some((_, value)) = OWN.iter().find(|(own, _)| *own == property) {
        let action = format!("Set{property}");
        let (kind, sequence) = (Value::from(51), Value::from(990));
        let row = [(&action).into(), kind, property.into(), (*value).into()];
        database.row("CustomAction", row);
        for table in ["InstallExecuteSequence", "InstallUISequence"] {
            database.row(table, [(&action).into(), Value::Nothing, sequence.clone()]);
        }
    }
    database.row("Directory", [property.into(), "TARGETDIR".into(), ".".into()]);
}
