//! All one client is told (docs/formats/policy.md).

use jiff::Timestamp;
use minicbor::{Decode, Encode, bytes::ByteVec};
use model::Hash;
use policy::{SiteCode, Stamp};

use crate::{ClientId, ClientSettings, Deployment, DeploymentId, Window, wire};

/// The format this crate writes, and the newest it reads.
pub const POLICY_FORMAT: u32 = 1;
const START: &[u8; 8] = b"PHPOLCY\n";
const HASH_AT: usize = 12;
const BODY_AT: usize = 44;

/// All one client is told: what is deployed to it, when it may be changed, how it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyDocument {
    /// Its place among those of its site: documents are ordered by this, never by time.
    pub stamp: Stamp,
    /// The site that says so.
    pub site: SiteCode,
    /// The client it is for.
    pub client: ClientId,
    /// When it was made, by the site's clock. Data: nothing is decided by it.
    pub made: Timestamp,
    /// What is deployed to the client.
    pub deployments: Vec<Deployment>,
    /// When the client may be changed; always where there are none.
    pub windows: Vec<Window>,
    /// How it behaves.
    pub settings: ClientSettings,
    /// What in it could not be read. Named by the document all the same: nothing here is withdrawn. Never written.
    pub quarantined: Vec<Quarantined>,
}

/// An item of a document that could not be read; its neighbours go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// A deployment or a window.
    pub kind: ItemKind,
    /// Its id or name, as far as it can be read.
    pub name: Box<str>,
    /// What is wrong with it.
    pub reason: String,
    /// The hash of its bytes, to find it by.
    pub bytes: Hash,
}

/// What a document has many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemKind {
    /// A deployment.
    Deployment,
    /// A maintenance window.
    Window,
}

/// A document that is refused as a whole; what the client has stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadDocumentError {
    /// Something else.
    #[error(
        "this is no policy document: it does not start with `PHPOLCY`; check what answers at the site's address"
    )]
    NotADocument,
    /// A site newer than this agent.
    #[error(
        "the policy document has format {found}, and this agent reads formats up to {known}: upgrade the agent"
    )]
    NewerFormat {
        /// The document's format.
        found: u32,
        /// The newest that is understood.
        known: u32,
    },
    /// Not what a site wrote.
    #[error("the policy document is damaged: {reason}; it will be fetched again")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// For somebody else.
    #[error(
        "the policy document is for client `{found}`, and this is `{expected}`: {FOREIGN_HINT}"
    )]
    ForeignClient {
        /// Whom it is for.
        found: ClientId,
        /// Who reads it.
        expected: ClientId,
    },
    /// From somebody else.
    #[error(
        "the policy document is from site `{found}`, and this client belongs to `{expected}`: {FOREIGN_HINT}"
    )]
    ForeignSite {
        /// Who made it.
        found: SiteCode,
        /// Whose client this is.
        expected: SiteCode,
    },
}

/// What to do about somebody else's document.
pub const FOREIGN_HINT: &str =
    "a proxy or a cloned disk mixes up clients; `packhorse-agent status` shows whose it is";

/// A document no newer than the one in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {found} is not newer than {held}, which is in force")]
pub struct Stale {
    /// The document's place.
    pub found: Stamp,
    /// The place of the one in force.
    pub held: Stamp,
}

/// What is hashed and read as a whole; items keep their own bytes.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Body {
    #[n(0)]
    epoch: u32,
    #[n(1)]
    sequence: u64,
    #[n(2)]
    site: String,
    #[n(3)]
    client: ClientId,
    #[n(4)]
    #[cbor(with = "wire::instant")]
    made: Timestamp,
    #[n(5)]
    deployments: Vec<Item>,
    #[n(6)]
    windows: Vec<Item>,
    #[n(7)]
    settings: ClientSettings,
}

/// An item's name, and itself as bytes, so that one that cannot be read is still named.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Item {
    #[n(0)]
    name: String,
    #[n(1)]
    item: ByteVec,
}

impl Item {
    fn of<T: Encode<()>>(name: &str, item: &T) -> Self {
        Self { name: name.to_owned(), item: wire::write(item).into() }
    }
}

impl PolicyDocument {
    /// The document as it is sent.
    pub fn write(&self) -> Vec<u8> {
        let deployments =
            self.deployments.iter().map(|one| Item::of(one.id.as_str(), one)).collect();
        let body = wire::write(&Body {
            epoch: self.stamp.epoch,
            sequence: self.stamp.sequence,
            site: self.site.as_str().to_owned(),
            client: self.client,
            made: self.made,
            deployments,
            windows: self.windows.iter().map(|one| Item::of(&one.name, one)).collect(),
            settings: self.settings.clone(),
        });
        let mut bytes = START.to_vec();
        bytes.extend(POLICY_FORMAT.to_le_bytes());
        bytes.extend(Hash::of(&body).0);
        bytes.extend(body);
        bytes
    }

    /// Reads what a site sent to this client. Items that cannot be read are set aside, with the reason.
    ///
    /// # Errors
    /// It is refused as a whole: no document, damaged, newer than this program, or somebody else's.
    pub fn read(
        bytes: &[u8],
        client: ClientId,
        site: &SiteCode,
    ) -> Result<Self, ReadDocumentError> {
        let body = body(bytes)?;
        let damaged = |reason| ReadDocumentError::Damaged { reason };
        let body: Body = wire::read(body).map_err(damaged)?;
        if body.client != client {
            return Err(ReadDocumentError::ForeignClient { found: body.client, expected: client });
        }
        let found = SiteCode::new(&body.site).map_err(|error| damaged(error.to_string()))?;
        if found != *site {
            return Err(ReadDocumentError::ForeignSite { found, expected: site.clone() });
        }
        let mut document = Self {
            stamp: Stamp { epoch: body.epoch, sequence: body.sequence },
            site: found,
            client,
            made: body.made,
            deployments: Vec::new(),
            windows: Vec::new(),
            settings: body.settings,
            quarantined: Vec::new(),
        };
        let mut seen = std::collections::BTreeSet::new();
        for item in body.deployments {
            let read = if seen.insert(item.name.clone()) {
                read_deployment(&item)
            } else {
                Err("another deployment of the document has the same id".to_owned())
            };
            match read {
                Ok(deployment) => document.deployments.push(deployment),
                Err(reason) => document.quarantine(ItemKind::Deployment, item, reason),
            }
        }
        for item in body.windows {
            match read_window(&item) {
                Ok(window) => document.windows.push(window),
                Err(reason) => document.quarantine(ItemKind::Window, item, reason),
            }
        }
        Ok(document)
    }

    /// Whether it may take the place of the document in force.
    ///
    /// # Errors
    /// It is not newer: what is in force stays.
    pub fn follows(&self, held: Option<Stamp>) -> Result<(), Stale> {
        match held {
            Some(held) if self.stamp <= held => Err(Stale { found: self.stamp, held }),
            _ => Ok(()),
        }
    }

    /// The deployment of this id.
    pub fn deployment(&self, id: &DeploymentId) -> Option<&Deployment> {
        self.deployments.iter().find(|one| one.id == *id)
    }

    /// Whether the document names the deployment, readable or not.
    pub fn names(&self, id: &DeploymentId) -> bool {
        let set_aside = |one: &&Quarantined| one.kind == ItemKind::Deployment;
        self.deployment(id).is_some()
            || self.quarantined.iter().filter(set_aside).any(|one| *one.name == *id.as_str())
    }

    /// Whether windows count at all: a window that cannot be read is a window.
    pub fn has_windows(&self) -> bool {
        !self.windows.is_empty() || self.quarantined.iter().any(|one| one.kind == ItemKind::Window)
    }

    fn quarantine(&mut self, kind: ItemKind, item: Item, reason: String) {
        let bytes = Hash::of(&item.item);
        self.quarantined.push(Quarantined { kind, name: item.name.into(), reason, bytes });
    }
}

/// Names what a document says, whatever its number: two documents of an epoch that say the same have the same. `None` for what
/// is no document.
pub fn content_of(bytes: &[u8]) -> Option<(Stamp, Hash)> {
    let mut body: Body = wire::read(body(bytes).ok()?).ok()?;
    let stamp = Stamp { epoch: body.epoch, sequence: body.sequence };
    (body.sequence, body.made) = (0, Timestamp::UNIX_EPOCH);
    Some((stamp, Hash::of(&wire::write(&body))))
}

fn body(bytes: &[u8]) -> Result<&[u8], ReadDocumentError> {
    let damaged = |reason: &str| ReadDocumentError::Damaged { reason: reason.to_owned() };
    if !bytes.starts_with(START) {
        return Err(ReadDocumentError::NotADocument);
    }
    let short = || damaged("it is cut off");
    let format = bytes.get(START.len()..HASH_AT).ok_or_else(short)?;
    let found = u32::from_le_bytes(format.try_into().map_err(|_| short())?);
    match found {
        1..=POLICY_FORMAT => {}
        0 => return Err(damaged("its format is 0")),
        _ => return Err(ReadDocumentError::NewerFormat { found, known: POLICY_FORMAT }),
    }
    let hash = bytes.get(HASH_AT..BODY_AT).ok_or_else(short)?;
    let body = &bytes[BODY_AT..];
    if Hash::of(body).0 != hash {
        return Err(damaged("its hash is not the one it states"));
    }
    Ok(body)
}

fn read_deployment(item: &Item) -> Result<Deployment, String> {
    let deployment: Deployment = wire::read(&item.item)?;
    if deployment.id.as_str() != item.name {
        return Err(format!(
            "it is listed as `{}` and calls itself `{}`",
            item.name, deployment.id
        ));
    }
    deployment.check().map_err(|error| error.to_string())?;
    Ok(deployment)
}

fn read_window(item: &Item) -> Result<Window, String> {
    let window: Window = wire::read(&item.item)?;
    window.check().map_err(|error| error.to_string())?;
    Ok(window)
}
