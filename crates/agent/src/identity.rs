//! Who this client is. What cannot be read is an error, and never a new client (Q149673).

use std::{io, path::Path};

use deployment::ClientId;
use policy::SiteCode;
use serde::{Deserialize, Serialize};

use crate::{clock, durable};

/// Who this client is, and whose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Identity {
    /// What it was given, once.
    pub client: ClientId,
    /// The site it belongs to.
    pub site: SiteCode,
}

/// The identity cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk.
    #[error("the identity of this client in `{path}` cannot be had: no other is taken")]
    Disk {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Both copies are damaged.
    #[error(
        "both copies of the identity of this client in `{path}` are damaged: enroll it again, which keeps its history"
    )]
    Damaged {
        /// The folder.
        path: String,
    },
}

/// Reads it; a damaged copy is mended from the other. Where there is none, it is a client without a site, with an identity of
/// its own. Answers whether it is new.
pub fn identity(copies: [&Path; 2]) -> Result<(Identity, bool), IdentityError> {
    let disk = |path: &Path| {
        let path = path.display().to_string();
        move |source| IdentityError::Disk { path, source }
    };
    let mut found = Vec::new();
    for path in copies {
        found.push(durable::read(path).map_err(disk(path))?);
    }
    let read = |bytes: &Option<Vec<u8>>| -> Option<Identity> {
        serde_json::from_slice(bytes.as_deref()?).ok()
    };
    let known = found.iter().find_map(read);
    let is_new = found.iter().all(Option::is_none);
    let identity = match known {
        Some(identity) => identity,
        None if is_new => {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&clock::dice().to_ne_bytes());
            id[8..].copy_from_slice(&clock::dice().to_ne_bytes());
            let site = SiteCode::new("LOCAL").map_err(io::Error::other).map_err(disk(copies[0]))?;
            Identity { client: ClientId(id), site }
        }
        None => return Err(IdentityError::Damaged { path: copies[0].display().to_string() }),
    };
    let bytes = serde_json::to_vec(&identity).unwrap_or_default();
    for (path, found) in copies.into_iter().zip(&found) {
        if read(found).as_ref() != Some(&identity) {
            durable::write(path, &bytes).map_err(disk(path))?;
        }
    }
    Ok((identity, is_new))
}
