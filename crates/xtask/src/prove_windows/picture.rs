//! What a prefix holds, read without the product's code, and where two differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::{Result, bail};

/// What Wine changes by itself at every start, wherever it is met in a key or path.
const NOISE: [&str; 12] = [
    "NetworkCards",
    // Wine's scheduler starts with the machine from its first task on.
    r"Services\\Schedule",
    r"Control\\Class\\{",
    r"Software\\Wine\\",
    "Packhorse",
    "/Temp/",
    "/temp/",
    // What Windows Installer remembers of its packages, partly under names it draws.
    "/windows/Installer",
    r"Software\\Classes\\Installer",
    r"CurrentVersion\\Installer",
    // Left out on purpose: it names accounts of the reference machine.
    r"Services\\Everything\\Security",
    // And devices a driver found there.
    r"Services\\EverythingDriver\\Enum",
];

/// Lines of a key that are no part of it: when it was written, and that our own entry among the programs stands in its place.
const LEFT_OUT: [&str; 2] = ["#time", "\"SystemComponent\""];

/// Where Wine's scheduler keeps tasks.
const TASKS: &str = "/windows/system32/tasks/";
/// The start menu of the machine, and that of Wine's user.
const MENU: &str = "/ProgramData/Microsoft/Windows/Start Menu/";
const OWN_MENU: &str = "/users/root/AppData/Roaming/Microsoft/Windows/Start Menu/";
/// How the line of a service begins whose program stands in quotes, and one of those.
const PROGRAM: &str = r#""ImagePath"="\""#;
const QUOTE: &str = r#"\""#;

/// All a prefix holds: files by content and time, keys by their values.
pub(super) struct Picture(pub(super) BTreeMap<String, String>);

impl Picture {
    pub(super) fn of(prefix: &Path) -> Result<Self> {
        let mut all = BTreeMap::new();
        files(&prefix.join("drive_c"), "", &mut all)?;
        for name in ["system.reg", "user.reg"] {
            let text = String::from_utf8_lossy(&fs::read(prefix.join(name))?).into_owned();
            let mut key = String::new();
            let mut values: BTreeSet<&str> = BTreeSet::new();
            for line in text.lines().chain(["["]) {
                if let Some(rest) = line.strip_prefix('[') {
                    if !key.is_empty() {
                        let values = std::mem::take(&mut values);
                        all.insert(key, values.into_iter().collect::<Vec<_>>().join("\n"));
                    }
                    let end = rest.rfind(']').unwrap_or(0);
                    key = if end == 0 { String::new() } else { format!("{name} {}", &rest[..end]) };
                    // A key without values is told where it has none below it: whatever these are, it is there.
                    for (at, _) in key.match_indices(r"\\") {
                        all.entry(key[..at].to_owned()).or_default();
                    }
                } else if !line.is_empty() && !LEFT_OUT.iter().any(|start| line.starts_with(start))
                {
                    values.insert(line);
                }
            }
        }
        all.retain(|place, _| !NOISE.iter().any(|noise| place.contains(noise)));
        Ok(Self(all))
    }
}

fn files(folder: &Path, place: &str, all: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let place = format!("{place}/{}", entry.file_name().to_string_lossy());
        let known = entry.path().symlink_metadata()?;
        if known.is_dir() {
            all.insert(place.clone(), "folder".to_owned());
            files(&entry.path(), &place, all)?;
        } else if known.is_file() {
            let bytes = fs::read(entry.path())?;
            let time = (known.mtime(), known.mtime_nsec() / 100);
            let what = match shortcut(&bytes) {
                _ if place.starts_with(TASKS) => task(&bytes),
                Some(said) if entry.path().extension().is_some_and(|end| end == "lnk") => said,
                _ => blake3::hash(&bytes).to_string(),
            };
            // A task's file is the scheduler's, and has the time it was told of it.
            let time = if place.starts_with(TASKS) { String::new() } else { format!(" {time:?}") };
            all.insert(place, format!("{what}{time}"));
        }
    }
    Ok(())
}

/// What a scheduled task says, however it is written: without comments, and without blanks between elements.
fn task(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut said = String::new();
    for part in text.trim_start_matches('\u{feff}').split('<') {
        if !part.is_empty() && !part.starts_with("!--") {
            said += &format!("<{}", part.trim_end());
        }
    }
    said
}

/// What a shortcut says, in whatever order its maker wrote it: how it opens, its path in plain letters, its texts.
fn shortcut(bytes: &[u8]) -> Option<String> {
    let half =
        |at: usize| Some(usize::from(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    let word = |at: usize| Some(half(at)? | half(at + 2)? << 16);
    let (flags, opens) = (word(20)?, (word(56)?, word(60)?, half(64)?));
    let mut at = 76;
    if flags & 1 != 0 {
        at += 2 + half(at)?;
    }
    let mut said = format!("{opens:?}");
    if flags & 2 != 0 {
        let path = bytes.get(at + word(at + 16)?..)?;
        let end = path.iter().position(|byte| *byte == 0)?;
        said += &format!(" -> {}", String::from_utf8_lossy(&path[..end]));
        at += word(at)?;
    }
    for text in 2..7 {
        if flags & 1 << text == 0 {
            continue;
        }
        let (from, letters) = (at + 2, half(at)?);
        at = from + letters * 2;
        // The third bit is of a path from the shortcut to its target: the shell finds it out by itself.
        if text != 3 {
            let letters = bytes
                .get(from..at)?
                .chunks_exact(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
            let letters: Vec<u16> = letters.collect();
            let letters = String::from_utf16_lossy(&letters);
            // A text of nothing says what no text says ([MS-SHLLINK] 2.4): some installers write one all the same.
            // And the folder a program starts in is the same one with a `\` at its end, as Windows Installer writes it.
            let ends: &[char] = if text == 4 { &['\0', '\\'] } else { &['\0'] };
            if let letters @ [_, ..] = letters.trim_end_matches(ends).as_bytes() {
                said += &format!(" {text}: {}", String::from_utf8_lossy(letters));
            }
        }
    }
    Some(said)
}

impl Picture {
    /// Less what Wine's Windows Installer does otherwise than that of Windows: the start menu is the user's, whatever
    /// `ALLUSERS` says, a service's program has no quotes, and where a part of `PATH` was taken out its `;` stays.
    /// `base` is the prefix before.
    pub(super) fn less_of_wine(self, base: &Self) -> Self {
        let place = |place: String| match place.strip_prefix(OWN_MENU) {
            Some(rest) if !base.0.contains_key(&place) => format!("{MENU}{rest}"),
            _ => place,
        };
        let line = |line: &str| {
            let service = line.strip_prefix(PROGRAM).and_then(|rest| rest.split_once(QUOTE));
            match (service, line.strip_suffix(";\"")) {
                (Some((program, rest)), _) => format!("\"ImagePath\"=\"{program}{rest}"),
                (None, Some(list)) if list.starts_with("\"PATH\"") => format!("{list}\""),
                _ => line.to_owned(),
            }
        };
        let lines = |what: String| what.lines().map(line).collect::<Vec<_>>().join("\n");
        Self(self.0.into_iter().map(|(at, what)| (place(at), lines(what))).collect())
    }

    /// Without the times of files, and without what lists a product of Windows Installer.
    pub(super) fn of_any_time(mut self) -> Self {
        self.0.retain(|place, _| !place.contains(r"CurrentVersion\\Uninstall\\{"));
        for (_, what) in self.0.iter_mut().filter(|(place, _)| place.starts_with('/')) {
            let end = what.rfind(" (").unwrap_or(what.len());
            what.truncate(end);
        }
        self
    }
}

pub(super) fn expect_same(what: &str, one: &Picture, other: &Picture) -> Result<()> {
    let places: BTreeSet<&String> = one.0.keys().chain(other.0.keys()).collect();
    let differ: Vec<String> = places
        .into_iter()
        .filter(|place| one.0.get(*place) != other.0.get(*place))
        .map(|place| format!("{place}: {:?} != {:?}", one.0.get(place), other.0.get(place)))
        .collect();
    if differ.is_empty() {
        return Ok(());
    }
    bail!(
        "{what} differ at {} places:\n{}",
        differ.len(),
        differ[..differ.len().min(10)].join("\n")
    )
}
