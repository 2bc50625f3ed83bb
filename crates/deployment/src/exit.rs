//! What a program's exit code is said to mean.

use std::{collections::BTreeMap, fmt};

use minicbor::{Decode, Encode};
use model::ExitMeaning;
use serde::{Deserialize, Serialize};

/// What follows from an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Meaning {
    /// Done.
    #[n(0)]
    Done,
    /// Done, and the machine must restart.
    #[n(1)]
    Restart,
    /// Done, and the machine is restarting already.
    #[n(2)]
    Restarting,
    /// Another installer is at work: waits for it, and costs no attempt.
    #[n(3)]
    Busy,
    /// It did not work, and may later.
    #[n(4)]
    Retry,
    /// Nothing for this machine.
    #[n(5)]
    NotApplicable,
    /// It did not work, and trying again will not help by itself.
    #[n(6)]
    Failed,
}

/// Whose exit codes they are: what is shipped.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Encode,
    Decode,
)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum ExitFamily {
    /// Anything else: 0 is done, all else failed.
    #[default]
    #[n(0)]
    Script,
    /// Windows Installer, and installers that pass its codes on.
    #[n(1)]
    Msi,
    /// dpkg and apt-get.
    #[n(2)]
    Dpkg,
    /// rpm.
    #[n(3)]
    Rpm,
    /// dnf.
    #[n(4)]
    Dnf,
    /// zypper.
    #[n(5)]
    Zypper,
    /// pacman.
    #[n(6)]
    Pacman,
    /// snap.
    #[n(7)]
    Snap,
    /// winget.
    #[n(8)]
    Winget,
    /// Our own installers.
    #[n(9)]
    Packhorse,
}

/// A program's exit codes: a family, and what this program says differently.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct ExitMap {
    /// What holds where nothing else is said.
    #[n(0)]
    pub family: ExitFamily,
    /// What the program's author said.
    #[n(1)]
    pub own: BTreeMap<i32, Meaning>,
}

/// What a code means, in words, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Said {
    /// The code.
    pub code: i32,
    /// What follows.
    pub meaning: Meaning,
    /// In words.
    pub text: String,
}

impl ExitMap {
    /// The codes of a family as they are shipped.
    pub fn of(family: ExitFamily) -> Self {
        Self { family, own: BTreeMap::new() }
    }

    /// What `code` means. No code is without meaning: an unknown one failed, and is said to be unknown.
    pub fn meaning(&self, code: i32) -> Said {
        let shipped = self.family.shipped().iter().find(|(known, ..)| *known == code);
        let said = |meaning, text: &str| Said { code, meaning, text: text.to_owned() };
        match (self.own.get(&code), shipped) {
            (own, Some((_, meaning, text))) => said(*own.unwrap_or(meaning), text),
            (Some(meaning), None) => {
                let code = shown(code);
                said(*meaning, &format!("{meaning}: the program's author says so of code {code}"))
            }
            (None, None) => said(Meaning::Failed, &self.family.unknown(code)),
        }
    }
}

impl From<ExitMeaning> for Meaning {
    fn from(meaning: ExitMeaning) -> Self {
        match meaning {
            ExitMeaning::Done => Self::Done,
            ExitMeaning::Restart => Self::Restart,
            ExitMeaning::Retry => Self::Retry,
            ExitMeaning::Failed => Self::Failed,
        }
    }
}

impl Meaning {
    /// Whether the program did what it was for.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Done | Self::Restart | Self::Restarting)
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Restart => "done, a restart is needed",
            Self::Restarting => "done, the machine is restarting",
            Self::Busy => "another installer is at work",
            Self::Retry => "worth trying again later",
            Self::NotApplicable => "nothing for this machine",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}: {}", shown(self.code), self.text)
    }
}

/// Small codes as numbers, results of Windows in the way they are looked up.
fn shown(code: i32) -> String {
    if (-65_535..=65_535).contains(&code) { code.to_string() } else { format!("0x{code:08X}") }
}

type Code = (i32, Meaning, &'static str);

impl ExitFamily {
    /// What is known of the family's codes.
    pub fn shipped(self) -> &'static [Code] {
        match self {
            Self::Script => SCRIPT,
            Self::Msi => MSI,
            Self::Dpkg => DPKG,
            Self::Rpm => RPM,
            Self::Dnf => DNF,
            Self::Zypper => ZYPPER,
            Self::Pacman => PACMAN,
            Self::Snap => SNAP,
            Self::Winget => WINGET,
            Self::Packhorse => PACKHORSE,
        }
    }

    fn unknown(self, code: i32) -> String {
        match self {
            Self::Script if (129..=192).contains(&code) => {
                format!("a shell says its command was ended by signal {}", code - 128)
            }
            Self::Rpm if code > 0 => format!("{code} packages failed"),
            _ => format!(
                "an unknown code of {}, taken for a failure: look it up in the program's output or manual, and add it to the program's exit codes",
                self.name()
            ),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Script => "this program",
            Self::Msi => "Windows Installer",
            Self::Dpkg => "dpkg or apt-get",
            Self::Rpm => "rpm",
            Self::Dnf => "dnf",
            Self::Zypper => "zypper",
            Self::Pacman => "pacman",
            Self::Snap => "snap",
            Self::Winget => "winget",
            Self::Packhorse => "an installer of Packhorse",
        }
    }
}

use Meaning::{Busy, Done, Failed, NotApplicable, Restart, Restarting, Retry};

const SCRIPT: &[Code] = &[
    (0, Done, "done"),
    (126, Failed, "the command was found and cannot be executed"),
    (127, Failed, "the command was not found"),
];

const MSI: &[Code] = &[
    (0, Done, "done"),
    (112, Retry, "the disk is full"),
    (1601, Retry, "the Windows Installer service cannot be reached"),
    (1602, Retry, "a person cancelled the installation"),
    (
        1603,
        Failed,
        "a fatal error during the installation; the installer's own log has the action that failed",
    ),
    (1605, Done, "the product is not installed: nothing to remove"),
    (1612, Retry, "the source of the product cannot be reached"),
    (1618, Busy, "another installation is in progress"),
    (1619, Failed, "the package cannot be opened"),
    (1620, Failed, "the package is no Windows Installer package"),
    (1624, Failed, "a transform cannot be applied"),
    (1625, Failed, "the machine's policy forbids this installation"),
    (1633, NotApplicable, "the package is not for this kind of processor"),
    (1638, Failed, "another version of the product is installed"),
    (1641, Restarting, "done, the installer has begun a restart"),
    (1707, Done, "done"),
    (3010, Restart, "done, a restart is needed"),
];

const DPKG: &[Code] = &[
    (0, Done, "done"),
    (
        1,
        Failed,
        "dpkg could not do what was asked, or found a package in a state it cannot work with",
    ),
    (2, Failed, "a fatal error of dpkg: wrong usage, or the disk, memory or database failed"),
    (100, Failed, "apt-get failed; its last lines starting with `E:` say why"),
];

const RPM: &[Code] = &[(0, Done, "done")];

const DNF: &[Code] = &[
    (0, Done, "done"),
    (1, Failed, "dnf could not do what was asked"),
    (3, Failed, "an unknown error in dnf"),
    (100, Done, "there are updates"),
    (200, Busy, "another package manager holds the lock"),
];

const ZYPPER: &[Code] = &[
    (0, Done, "done"),
    (1, Failed, "an error in zypper itself"),
    (2, Failed, "zypper was called with arguments it does not know"),
    (3, Failed, "zypper was called with wrong arguments"),
    (4, Failed, "an error of zypper's library, dependencies most often"),
    (5, Failed, "it needs root's rights"),
    (6, Failed, "no repositories are defined"),
    (7, Busy, "another package manager holds the lock"),
    (8, Failed, "packages could not be installed or removed"),
    (100, Done, "updates are needed"),
    (101, Done, "security updates are needed"),
    (102, Restart, "done, a restart is needed"),
    (103, Retry, "the package manager itself was updated: run it once more"),
    (104, Failed, "no package or capability of that name"),
    (105, Retry, "ended by a signal"),
    (106, Retry, "some repositories could not be refreshed and were left out"),
    (107, Failed, "installed, and a script of a package failed"),
];

const PACMAN: &[Code] = &[
    (0, Done, "done"),
    (1, Failed, "pacman could not do what was asked, or its database is locked"),
];

const SNAP: &[Code] = &[
    (0, Done, "done"),
    (1, Failed, "snap could not do what was asked"),
    (10, Busy, "another change of the same snap is in progress"),
    (20, Failed, "the snap's image could not be made"),
    (64, Failed, "snap was called with arguments it does not know"),
];

const WINGET: &[Code] = &[
    (0, Done, "done"),
    (winget(0x0011), Failed, "the installer is not the one its manifest names: the hash differs"),
    (winget(0x0014), Failed, "no package of that name"),
    (winget(0x002B), Done, "no newer version applies"),
    (winget(0x0101), Retry, "the application is running"),
    (winget(0x0102), Busy, "another installation is in progress"),
    (winget(0x0103), Retry, "a file is in use"),
    (winget(0x0104), Failed, "something it depends on is missing"),
    (winget(0x0105), Retry, "the disk is full"),
    (winget(0x0106), Retry, "not enough memory"),
    (winget(0x0107), Retry, "it needs a network"),
    (winget(0x0108), Failed, "the installer failed and asks to contact its maker"),
    (winget(0x0109), Restart, "done, a restart is needed"),
    (winget(0x010A), Retry, "a restart is needed before it can be installed"),
    (winget(0x010B), Restarting, "done, the installer has begun a restart"),
    (winget(0x010C), Retry, "a person cancelled the installation"),
    (winget(0x010D), Done, "another version is installed already"),
    (winget(0x010E), Done, "a newer version is installed already"),
    (winget(0x010F), Failed, "the machine's policy forbids this installation"),
    (winget(0x0110), Failed, "what it depends on could not be installed"),
];

/// Our own exit codes (docs/exit-codes.md).
const PACKHORSE: &[Code] = &[
    (0, Done, "done"),
    (1, Failed, "failed, and nothing changed"),
    (2, Failed, "called with arguments it does not know"),
    (3, Failed, "failed, and rolled back"),
    (4, Failed, "somebody must decide"),
    (5, Failed, "the package is damaged"),
    (6, Busy, "in use or locked"),
    (7, Retry, "no space"),
    (8, Done, "done, with leftovers"),
    (9, Done, "nothing to do"),
    (10, Restart, "done, a restart is needed"),
];

/// A result of winget by its last four digits.
const fn winget(code: u16) -> i32 {
    let [high, low] = code.to_be_bytes();
    i32::from_be_bytes([0x8A, 0x15, high, low])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALL: [ExitFamily; 10] = [
        ExitFamily::Script,
        ExitFamily::Msi,
        ExitFamily::Dpkg,
        ExitFamily::Rpm,
        ExitFamily::Dnf,
        ExitFamily::Zypper,
        ExitFamily::Pacman,
        ExitFamily::Snap,
        ExitFamily::Winget,
        ExitFamily::Packhorse,
    ];

    #[test]
    fn every_family_knows_success_and_says_each_code_once() {
        for family in ALL {
            assert_eq!(ExitMap::of(family).meaning(0).meaning, Done, "{family:?}");
            let codes: BTreeSet<i32> = family.shipped().iter().map(|(code, ..)| *code).collect();
            assert_eq!(codes.len(), family.shipped().len(), "{family:?}");
            assert_eq!(ExitMap::of(family).meaning(-77).meaning, Failed, "{family:?}");
        }
    }

    #[test]
    fn codes_are_said_in_words() {
        let say = |family, code| ExitMap::of(family).meaning(code).to_string();
        insta::assert_snapshot!(say(ExitFamily::Msi, 1618), @"exit code 1618: another installation is in progress");
        insta::assert_snapshot!(say(ExitFamily::Winget, winget(0x0105)), @"exit code 0x8A150105: the disk is full");
        insta::assert_snapshot!(say(ExitFamily::Script, 143), @"exit code 143: a shell says its command was ended by signal 15");
        insta::assert_snapshot!(say(ExitFamily::Zypper, 42), @"exit code 42: an unknown code of zypper, taken for a failure: look it up in the program's output or manual, and add it to the program's exit codes");
        insta::assert_snapshot!(say(ExitFamily::Rpm, 3), @"exit code 3: 3 packages failed");
    }

    #[test]
    fn the_author_of_a_program_has_the_last_word() {
        let map = ExitMap { family: ExitFamily::Msi, own: [(1603, Retry), (17, Done)].into() };
        assert_eq!(map.meaning(1603).meaning, Retry);
        assert_eq!(map.meaning(17).meaning, Done);
        assert_eq!(map.meaning(3010).meaning, Restart);
    }
}
