use model::MachinePath;
use serde::{Deserialize, Serialize};

/// What is true of the reference machine alone, and must not leave it in a package.
///
/// Kept in a project as `capture/facts.toml`, for `script check`; never part of a compiled package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct MachineFacts {
    /// Its real name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// The unmistakable name it bore during the capture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_host_name: Option<String>,
    /// `/etc/machine-id`: 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// The kernel's number of this start, with hyphens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Its network addresses, without prefix lengths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The addresses of its network cards, `52:54:00:12:34:56`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hardware_addresses: Vec<String>,
    /// The name of the account that packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packager: Option<String>,
    /// Its people's accounts.
    #[serde(rename = "user", skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserFact>,
    /// Folders that existed for the capture alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub temp_folders: Vec<MachinePath>,
}

/// An account of the reference machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UserFact {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// Its home folder.
    pub home: MachinePath,
}

/// A facts file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the facts of the reference machine are damaged: {reason}")]
pub struct ReadFactsError {
    reason: String,
}

impl MachineFacts {
    /// The text of `capture/facts.toml`.
    pub fn to_toml(&self) -> String {
        let head = "# What is true of the reference machine alone. `packhorse script check` looks for it in the\n\
                    # payload; it is never compiled into a package. Leave it out of a public repository.\n";
        format!("{head}{}", toml_edit::ser::to_string_pretty(self).unwrap_or_default())
    }

    /// Reads what [`MachineFacts::to_toml`] wrote.
    pub fn from_toml(text: &str) -> Result<Self, ReadFactsError> {
        toml_edit::de::from_str(text)
            .map_err(|error| ReadFactsError { reason: error.message().to_owned() })
    }

    /// The home folder of the account that packages, unless it is the one every machine has.
    pub fn packager_home(&self) -> Option<&MachinePath> {
        let name = self.packager.as_deref()?;
        let home = &self.users.iter().find(|user| user.name == name)?.home;
        (home.as_bytes() != b"/root" && !home.is_root()).then_some(home)
    }
}
