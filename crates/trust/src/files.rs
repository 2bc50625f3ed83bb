//! Where metadata lies, how much of it is read, and what comes along with the timestamp.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use tough::schema::Metafile;

use crate::Refusal;

/// §1: the folder of a distribution point that has all metadata.
pub const FOLDER: &str = "trust";
/// §1: the file that switches: written last.
pub const TIMESTAMP: &str = "trust/timestamp.json";

/// §4: the most that is read of files whose length nobody states, in bytes.
pub(crate) const MOST_ROOT: u64 = 512 << 10;
pub(crate) const MOST_TIMESTAMP: u64 = 1 << 20;
pub(crate) const MOST_OTHER: u64 = 64 << 20;
/// §4: the most roots that are followed in one update.
pub(crate) const MOST_ROOTS: u64 = 1024;
/// §3: the most that is attached to a timestamp, in bytes.
pub(crate) const MOST_ATTACHED: usize = 64 << 10;

/// Where a version of the root is.
pub fn root_path(version: u64) -> String {
    versioned("root", version)
}

/// Where a version of a role's metadata is.
pub(crate) fn versioned(role: &str, version: u64) -> String {
    format!("{FOLDER}/{version}.{role}.json")
}

/// §3: what a timestamp file has beside what is signed: other files, so that a client needs one request for all.
/// Nothing here is believed; it is verified like files of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attached {
    /// The newest root.
    pub(crate) root: u64,
    /// Texts of files, by their paths.
    pub(crate) files: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Carrier {
    attached: Option<Attached>,
}

impl Attached {
    /// What came along, `None` if this was written by other tools.
    pub(crate) fn of(timestamp: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Carrier>(timestamp).ok()?.attached
    }
}

/// Parses a metadata file.
pub(crate) fn parse<T: DeserializeOwned>(
    role: &str,
    path: &str,
    bytes: &[u8],
) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| Refusal::Unreadable {
        role: role.to_owned(),
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Whether bytes are what another role states of them.
pub(crate) fn check_stated(
    role: &str,
    path: &str,
    bytes: &[u8],
    stated: &Metafile,
) -> Result<(), Refusal> {
    if let Some(length) = stated.length
        && bytes.len() as u64 != length
    {
        let (role, path) = (role.to_owned(), path.to_owned());
        return Err(Refusal::Length { role, path, limit: length });
    }
    if let Some(hashes) = &stated.hashes
        && Sha256::digest(bytes)[..] != hashes.sha256[..]
    {
        return Err(Refusal::Hash { role: role.to_owned(), path: path.to_owned() });
    }
    Ok(())
}

/// Whether bytes fit what is stated: for choosing among copies.
pub(crate) fn fits(bytes: &[u8], stated: &Metafile) -> bool {
    stated.hashes.is_some() && check_stated("", "", bytes, stated).is_ok()
}
