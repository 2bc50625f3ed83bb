//! The facts of the reference machine, as far as leaks are told by them.

use std::collections::BTreeMap;

use model::MachinePath;
use serde::{Deserialize, Serialize};

use crate::{Facts, UserFact};

/// What `capture/facts.toml` holds: only what is needed to tell a leak.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Text {
    host_name: String,
    real_host_name: String,
    machine_ids: Vec<String>,
    boot_id: String,
    addresses: Vec<String>,
    hardware_addresses: Vec<String>,
    temporary_folders: Vec<MachinePath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    home: Option<MachinePath>,
}

/// A facts file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the facts of the reference machine are damaged: {reason}")]
pub struct ReadFactsError {
    reason: String,
}

impl Facts {
    /// The text of `capture/facts.toml`: what `script check` needs to find leaks, and no more.
    pub fn to_toml(&self) -> String {
        let home = self.user.as_deref().and_then(|name| self.home_of(name)).cloned();
        let text = Text {
            host_name: self.host_name.clone(),
            real_host_name: self.real_host_name.clone(),
            machine_ids: self.machine_ids.clone(),
            boot_id: self.boot_id.clone(),
            addresses: self.addresses.clone(),
            hardware_addresses: self.hardware_addresses.clone(),
            temporary_folders: self.temporary_folders.clone(),
            user: self.user.clone(),
            home,
        };
        let head = "# What is true of the reference machine alone. `packhorse script check` looks for it in the\n\
                    # payload; it is never compiled into a package. Leave it out of a public repository.\n";
        format!("{head}{}", toml_edit::ser::to_string_pretty(&text).unwrap_or_default())
    }

    /// Reads what [`Facts::to_toml`] wrote.
    pub fn from_toml(text: &str) -> Result<Self, ReadFactsError> {
        let text: Text = toml_edit::de::from_str(text)
            .map_err(|error| ReadFactsError { reason: error.message().to_owned() })?;
        let user = text.user.clone().zip(text.home);
        let users = user.map(|(name, home)| UserFact { name, uid: 0, gid: 0, home });
        Ok(Self {
            host_name: text.host_name,
            real_host_name: text.real_host_name,
            machine_ids: text.machine_ids,
            boot_id: text.boot_id,
            addresses: text.addresses,
            hardware_addresses: text.hardware_addresses,
            users: users.into_iter().collect(),
            user: text.user,
            temporary_folders: text.temporary_folders,
            kernel: String::new(),
            os_release: BTreeMap::new(),
        })
    }

    /// The name the machine bore during the capture alone, if it bore one.
    pub fn capture_host_name(&self) -> Option<&str> {
        let name = self.host_name.as_str();
        (!name.is_empty() && name != self.real_host_name).then_some(name)
    }

    /// The home folder of the account that packages, unless it is the one every machine has.
    pub fn packager_home(&self) -> Option<&MachinePath> {
        let home = self.home_of(self.user.as_deref()?)?;
        (home.as_bytes() != b"/root" && !home.is_root()).then_some(home)
    }

    fn home_of(&self, name: &str) -> Option<&MachinePath> {
        self.users.iter().find(|user| user.name == name).map(|user| &user.home)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Facts, testing};

    #[test]
    fn what_tells_a_leak_comes_back() {
        let facts = testing::facts();
        let read = Facts::from_toml(&facts.to_toml()).unwrap();
        assert_eq!(read.packager_home(), facts.packager_home());
        assert_eq!(read.capture_host_name(), Some("packhorse-1a2b3c4d"));
        assert_eq!(Facts::from_toml(&read.to_toml()).unwrap().to_toml(), facts.to_toml());
        assert!(Facts::from_toml("host-name = 1").is_err());
    }
}
