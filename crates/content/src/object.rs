use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use model::Hash;
use serde::Serialize;

/// What an object is for; the first part of its path in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum ObjectKind {
    /// What a release is, and where its content lies.
    #[n(0)]
    Manifest,
    /// Content.
    #[n(1)]
    Pack,
    /// What leads from one release to another.
    #[n(2)]
    Delta,
}

/// An immutable piece of a store, named by what it is for and the hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Encode, Decode)]
#[cbor(array)]
pub struct Object {
    /// What it is for.
    #[n(0)]
    pub kind: ObjectKind,
    /// The hash of all its bytes.
    #[n(1)]
    pub hash: Hash,
    /// How many there are.
    #[n(2)]
    pub length: u64,
}

/// A path in a store that names no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not the path of an object, such as `packs/af/af13…`")]
pub struct ParseObjectError {
    path: String,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Manifest, Self::Pack, Self::Delta];

    /// The folder its objects are in.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Manifest => "manifests",
            Self::Pack => "packs",
            Self::Delta => "deltas",
        }
    }

    /// Where an object of this kind is, below the store's root.
    pub fn path(self, hash: Hash) -> String {
        let hash = hash.to_string();
        format!("{}/{}/{hash}", self.folder(), &hash[..2])
    }

    /// The kind and the hash a path below the store's root stands for.
    pub fn parse_path(path: &str) -> Result<(Self, Hash), ParseObjectError> {
        let refuse = || ParseObjectError { path: path.to_owned() };
        let mut parts = path.split('/');
        let (Some(folder), Some(start), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse());
        };
        let kind = Self::ALL.into_iter().find(|kind| kind.folder() == folder).ok_or_else(refuse)?;
        let parsed = Hash::from_str(hash).map_err(|_| refuse())?;
        // One object, one path: upper-case digits or another folder would be a second.
        if kind.path(parsed) != path || !hash.starts_with(start) {
            return Err(refuse());
        }
        Ok((kind, parsed))
    }
}

impl Object {
    /// The object these bytes are.
    pub fn of(kind: ObjectKind, bytes: &[u8]) -> Self {
        Self { kind, hash: Hash::of(bytes), length: bytes.len() as u64 }
    }

    /// Where it is, below the store's root.
    pub fn path(&self) -> String {
        self.kind.path(self.hash)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::{Object, ObjectKind};

    #[test]
    fn a_path_comes_back() {
        let object = Object::of(ObjectKind::Pack, b"bytes");
        assert_eq!(ObjectKind::parse_path(&object.path()), Ok((ObjectKind::Pack, object.hash)));
        assert!(object.path().starts_with("packs/"));
        assert_eq!(object.path().len(), 6 + 3 + 64);
    }

    #[test]
    fn other_paths_are_refused() {
        let path = Object::of(ObjectKind::Pack, b"bytes").path();
        for bad in [
            "",
            "packs",
            "names/redis",
            "../x/y",
            &path.to_uppercase(),
            &path[1..],
            &format!("{path}/x"),
        ] {
            assert!(ObjectKind::parse_path(bad).is_err(), "{bad}");
        }
    }
}
