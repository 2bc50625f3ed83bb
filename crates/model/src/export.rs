use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// What other package systems ask of a package beside what it does. Empty texts and lists were not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case", default)]
#[cbor(array)]
pub struct Export {
    /// Who answers for the package: `Name <mail@example.org>`.
    #[n(0)]
    pub maintainer: String,
    /// Where to read on.
    #[n(1)]
    pub homepage: String,
    /// The licence, by its SPDX expression.
    #[n(2)]
    pub license: String,
    /// The shelf it is on: `utils`, `net`, `database`.
    #[n(3)]
    pub section: String,
    /// What it is in more than one line; an empty line divides paragraphs.
    #[n(4)]
    pub description: String,
    /// What must be there, in the words of a .deb's `Depends`.
    #[n(5)]
    pub deb: Vec<String>,
    /// What must be there, in the words of an .rpm's `Requires`.
    #[n(6)]
    pub rpm: Vec<String>,
}

impl Export {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
