use std::{
    fmt,
    io::{self, Read},
};

use model::escape;
use serde::{Deserialize, Serialize};

use crate::{
    Facts,
    search::{Boundary, Needle, Scan, Scanner},
};

/// Which fact of the reference machine was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suspect {
    /// The name it bore during the capture.
    CaptureHostName,
    /// Its real name.
    HostName,
    /// Its identity.
    MachineId,
    /// The number of its last start.
    BootId,
    /// A network address.
    Address,
    /// The address of a network card.
    HardwareAddress,
    /// The home folder of the account that packages.
    PackagerHome,
    /// The name of the account that packages.
    PackagerName,
    /// A folder of the capture.
    TempFolder,
}

/// How sure it is that a text is the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// No program holds it by chance.
    Certain,
    /// It may be a word like any other.
    Possible,
}

/// A fact of the reference machine, found where it would leave it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Leak {
    /// The path whose content, name or target it is, or the step, escaped.
    pub path: String,
    /// `content`, `name`, `link target`, `step`.
    pub r#where: String,
    /// Which fact.
    pub what: Suspect,
    /// The text found.
    pub text: String,
    /// How sure that is.
    pub certainty: Certainty,
    /// How many times.
    pub count: u64,
}

/// Looks for the facts of one machine.
#[derive(Debug)]
pub struct LeakScanner {
    suspects: Vec<(Suspect, Certainty)>,
    needles: Vec<Needle>,
    scanner: Scanner,
}

/// One thing of a project that [`check`] looks at.
pub struct Item<'a> {
    /// Its path below the project folder: `files/opt/redis/redis.conf`.
    pub path: &'a [u8],
    /// The target, for a symbolic link.
    pub target: Option<&'a [u8]>,
    /// The bytes, for a regular file.
    pub content: Option<&'a mut dyn Read>,
    /// Texts in it that become a variable at install.
    pub replaced: &'a [&'a [u8]],
}

/// Looks at one thing of a project folder for facts of the reference machine: what
/// `packhorse script check` does with `capture/facts.toml` and every path below `files/`.
pub fn check(scanner: &LeakScanner, item: Item<'_>) -> io::Result<Vec<Leak>> {
    let mut leaks = scanner.name(item.path);
    if let Some(target) = item.target {
        leaks.extend(scanner.target(item.path, target));
    }
    if let Some(content) = item.content {
        leaks.extend(scanner.content(item.path, content, item.replaced)?);
    }
    Ok(leaks)
}

impl LeakScanner {
    /// Looks for what `facts` say.
    pub fn new(facts: &Facts) -> Self {
        let found = suspects(facts);
        let suspects = found.iter().map(|(suspect, certainty, _)| (*suspect, *certainty)).collect();
        let needles: Vec<Needle> = found.into_iter().map(|(_, _, needle)| needle).collect();
        Self { suspects, scanner: Scanner::new(needles.clone()), needles }
    }

    /// Looks at a name.
    pub fn name(&self, path: &[u8]) -> Vec<Leak> {
        self.leaks(path, "name", &self.scanner.bytes(path), 0, &|_| 0)
    }

    /// Looks at what a symbolic link says.
    pub fn target(&self, path: &[u8], target: &[u8]) -> Vec<Leak> {
        self.leaks(path, "link target", &self.scanner.bytes(target), 0, &|_| 0)
    }

    /// Looks at what a step says: `step` names it.
    pub fn step(&self, step: &str, text: &[u8]) -> Vec<Leak> {
        self.leaks(step.as_bytes(), "step", &self.scanner.bytes(text), 0, &|_| 0)
    }

    /// Looks through a file; texts of `replaced` become variables at install and leak nothing where a
    /// replacement reaches them: it wants the end of a path behind them.
    pub fn content(
        &self,
        path: &[u8],
        reader: impl Read,
        replaced: &[&[u8]],
    ) -> io::Result<Vec<Leak>> {
        if replaced.is_empty() {
            return Ok(self.leaks(path, "content", &self.scanner.stream(reader)?, 0, &|_| 0));
        }
        let reached =
            replaced.iter().map(|text| Needle { text: text.to_vec(), boundary: Boundary::Path });
        let scanner = Scanner::new(reached.chain(self.needles.iter().cloned()).collect());
        let scan = scanner.stream(reader)?;
        let reached = |text: &[u8]| {
            let index = replaced.iter().position(|replaced| *replaced == text);
            index.map_or(0, |index| scan.hits[index] + scan.within[index])
        };
        Ok(self.leaks(path, "content", &scan, replaced.len(), &reached))
    }

    /// What is looked for, to be found in one pass with other texts.
    pub(crate) fn needles(&self) -> &[Needle] {
        &self.needles
    }

    /// What a scan with these needles from position `first` on means, when `reached` says how often a
    /// text becomes a variable.
    pub(crate) fn leaks(
        &self,
        path: &[u8],
        place: &str,
        scan: &Scan,
        first: usize,
        reached: &dyn Fn(&[u8]) -> u64,
    ) -> Vec<Leak> {
        self.suspects
            .iter()
            .enumerate()
            .filter_map(|(index, &(what, certainty))| {
                let text = &self.needles[index].text;
                let all = scan.hits[first + index] + scan.within[first + index];
                let count = all.saturating_sub(reached(text));
                (count > 0).then(|| Leak {
                    path: escape(path),
                    r#where: place.to_owned(),
                    what,
                    text: escape(text),
                    certainty,
                    count,
                })
            })
            .collect()
    }
}

impl Leak {
    /// Whether it must not leave: `script check` fails on it.
    pub fn is_certain(&self) -> bool {
        self.certainty == Certainty::Certain
    }
}

impl Suspect {
    /// What people call it.
    pub fn words(self) -> &'static str {
        match self {
            Self::CaptureHostName => "the name of the machine during the capture",
            Self::HostName => "the name of the reference machine",
            Self::MachineId => "the identity of the reference machine",
            Self::BootId => "the number of a start of the reference machine",
            Self::Address => "an address of the reference machine",
            Self::HardwareAddress => "a network card's address of the reference machine",
            Self::PackagerHome => "the home folder of the person who packages",
            Self::PackagerName => "the account name of the person who packages",
            Self::TempFolder => "a folder that existed for the capture alone",
        }
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sure = if self.is_certain() { "" } else { " perhaps" };
        let (words, text) = (self.what.words(), &self.text);
        match self.r#where.as_str() {
            "step" => write!(f, "{} says{sure} {words}, `{text}`", self.path),
            place => write!(f, "`{}`: its {place} holds{sure} {words}, `{text}`", self.path),
        }
    }
}

fn suspects(facts: &Facts) -> Vec<(Suspect, Certainty, Needle)> {
    let mut found: Vec<(Suspect, Certainty, Needle)> = Vec::new();
    let mut add = |suspect, certainty, text: &[u8], boundary| {
        if text.len() > 2 && !found.iter().any(|(_, _, needle)| needle.text == text) {
            found.push((suspect, certainty, Needle { text: text.to_vec(), boundary }));
        }
    };
    let word = Boundary::Word;
    if let Some(name) = facts.capture_host_name() {
        add(Suspect::CaptureHostName, Certainty::Certain, name.as_bytes(), word);
    }
    let machines = facts.machine_ids.iter().map(|id| (Suspect::MachineId, id));
    for (suspect, id) in machines.chain([(Suspect::BootId, &facts.boot_id)]) {
        for spelling in id_spellings(id) {
            add(suspect, Certainty::Certain, spelling.as_bytes(), word);
        }
    }
    for address in facts.addresses.iter().filter(|address| !is_everybodys(address)) {
        let sure = if is_example(address) { Certainty::Possible } else { Certainty::Certain };
        add(Suspect::Address, sure, address.as_bytes(), word);
    }
    for address in &facts.hardware_addresses {
        if address.bytes().any(|byte| byte.is_ascii_hexdigit() && byte != b'0') {
            for spelling in [address.to_lowercase(), address.to_uppercase()] {
                add(Suspect::HardwareAddress, Certainty::Certain, spelling.as_bytes(), word);
            }
        }
    }
    for folder in facts.temporary_folders.iter().filter(|folder| folder.parts().count() > 1) {
        let bytes = folder.as_bytes();
        if ![&b"/var/tmp"[..], b"/usr/tmp"].contains(&bytes) {
            add(Suspect::TempFolder, Certainty::Certain, bytes, Boundary::Path);
        }
    }
    if let Some(home) = facts.packager_home() {
        add(Suspect::PackagerHome, Certainty::Certain, home.as_bytes(), Boundary::Path);
    }
    if let Some(name) = Some(&facts.real_host_name).filter(|name| *name != "localhost") {
        add(Suspect::HostName, Certainty::Possible, name.as_bytes(), word);
    }
    if let Some(name) = facts.user.as_deref().filter(|name| *name != "root" && name.len() > 3) {
        add(Suspect::PackagerName, Certainty::Possible, name.as_bytes(), word);
    }
    found
}

/// An id with and without its hyphens.
fn id_spellings(id: &str) -> Vec<String> {
    let bare: String = id.chars().filter(|&letter| letter != '-').collect();
    if bare.len() != 32 || !bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Vec::new();
    }
    let hyphens = format!(
        "{}-{}-{}-{}-{}",
        &bare[..8],
        &bare[8..12],
        &bare[12..16],
        &bare[16..20],
        &bare[20..]
    );
    vec![bare, hyphens]
}

/// Addresses that name no machine: every machine's own, and nobody's.
fn is_everybodys(address: &str) -> bool {
    address.parse::<std::net::IpAddr>().map_or(true, |address| {
        address.is_loopback() || address.is_unspecified() || address.is_multicast()
    })
}

/// Addresses kept for examples (RFC 5737, RFC 3849): every manual is full of them.
fn is_example(address: &str) -> bool {
    match address.parse() {
        Ok(std::net::IpAddr::V4(address)) => {
            matches!(address.octets(), [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _])
        }
        Ok(std::net::IpAddr::V6(address)) => address.segments()[..2] == [0x2001, 0xdb8],
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Item, LeakScanner, check};
    use crate::testing::facts;

    fn found(text: &str) -> Vec<String> {
        let scanner = LeakScanner::new(&facts());
        let leaks = scanner.content(b"files/a", text.as_bytes(), &[]).unwrap();
        leaks
            .iter()
            .map(|leak| format!("{:?} {:?} {}", leak.what, leak.certainty, leak.count))
            .collect()
    }

    #[test]
    fn certain_and_possible_leaks_are_told_apart() {
        assert_eq!(found("host=packhorse-1a2b3c4d"), ["CaptureHostName Certain 1"]);
        assert_eq!(found("the web is wide, webs are wider"), ["HostName Possible 1"]);
        assert_eq!(found("id 01234567-89ab-cdef-0123-456789abcdef"), ["MachineId Certain 1"]);
        assert_eq!(found("127.0.0.1 10.0.2.15 110.0.2.155"), ["Address Certain 1"]);
        let mut people = found("/home/alice/x /home/alice2 /tmp /tmp/capture-7/build");
        people.sort();
        assert_eq!(
            people,
            ["PackagerHome Certain 1", "PackagerName Possible 1", "TempFolder Certain 1"]
        );
    }

    #[test]
    fn replaced_text_leaks_nothing_and_names_do() {
        let scanner = LeakScanner::new(&facts());
        let mut content = &b"packhorse-1a2b3c4d = packhorse-1a2b3c4d"[..];
        let leaks = check(
            &scanner,
            Item {
                path: b"files/var/packhorse-1a2b3c4d.db",
                target: None,
                content: Some(&mut content),
                replaced: &[b"packhorse-1a2b3c4d"],
            },
        )
        .unwrap();
        assert_eq!(leaks.len(), 1);
        let longer = &b"packhorse-1a2b3c4d packhorse-1a2b3c4d.example.org"[..];
        let left = scanner.content(b"files/a", longer, &[b"packhorse-1a2b3c4d"]).unwrap();
        assert_eq!((left.len(), left[0].count), (1, 1));
        insta::assert_snapshot!(leaks[0], @"`files/var/packhorse-1a2b3c4d.db`: its name holds the name of the machine during the capture, `packhorse-1a2b3c4d`");
    }
}
