use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Part, Template};

/// Whose part of a Windows machine a step changes, where every user has one: a key below `HKCU`, a folder of a profile.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode,
)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Users {
    /// `current`: whoever installs.
    #[n(0)]
    Current,
    /// `existing`: all others who have a profile when it is installed.
    #[n(1)]
    Existing,
    /// `future`: whoever logs on for the first time later, by way of the profile new ones are made of.
    #[n(2)]
    Future,
}

impl Users {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Current, Self::Existing, Self::Future];
    /// Their words in scripts, in the same order.
    pub const WORDS: [&str; 3] = ["current", "existing", "future"];
    /// Variables that are folders of a profile.
    pub const FOLDERS: [&str; 5] =
        ["user-profile", "app-data", "local-app-data", "user-start-menu", "desktop"];

    /// Its word in scripts.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// Whether a path or key is one every user has: it begins in a profile, or with `HKCU`.
    pub fn have(place: &Template) -> bool {
        match place.0.first() {
            Some(Part::Variable(name)) => Self::FOLDERS.contains(&&**name),
            Some(Part::Literal(bytes)) => {
                let root = bytes.split(|byte| *byte == b'\\').next().unwrap_or_default();
                [&b"HKCU"[..], b"HKEY_CURRENT_USER"]
                    .iter()
                    .any(|name| root.eq_ignore_ascii_case(name))
            }
            None => false,
        }
    }
}
