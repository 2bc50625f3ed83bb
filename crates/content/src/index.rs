//! The index of a package: the one small object that changes (docs/formats/index.md).

use minicbor::{Decode, Encode};
use model::{Architecture, Hash, PackageName, Version};
use package::Totals;

use crate::Object;

/// The format this crate writes, and the newest it reads.
pub const INDEX_FORMAT: u32 = 1;
const START: &[u8; 8] = b"PHINDEX\n";
/// §1.3: no index is longer, in bytes.
const MAX_LENGTH: usize = 64 << 20;

/// What a distribution point has of one package.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Index {
    /// The package.
    #[n(0)]
    pub name: PackageName,
    /// Its releases, ascending by version, then by identity.
    #[n(1)]
    pub releases: Vec<Release>,
}

/// A version of a package, published.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Release {
    /// Its version.
    #[n(0)]
    pub version: Version,
    /// The machines it is for.
    #[n(1)]
    pub architecture: Architecture,
    /// The package's identity (docs/formats/package.md §6.3): what a client ends with is held against this.
    #[n(2)]
    pub identity: Hash,
    /// What it is and where its content lies.
    #[n(3)]
    pub manifest: Object,
    /// How much payload it has.
    #[n(4)]
    pub totals: Totals,
    /// The packs its content is in, the one made for it first.
    #[n(5)]
    pub packs: Vec<Object>,
    /// What leads to it from other releases.
    #[n(6)]
    pub deltas: Vec<DeltaEntry>,
}

/// A delta to a release.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct DeltaEntry {
    /// The identity of the package it leads from.
    #[n(0)]
    pub base: Hash,
    /// Its bytes.
    #[n(1)]
    pub object: Object,
}

/// An index that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadIndexError {
    /// It was made by a newer version.
    #[error(
        "the index has format {found}, and this program reads formats up to {known}: use a newer packhorse"
    )]
    NewerFormat {
        /// The index's format.
        found: u32,
        /// The newest format that is understood.
        known: u32,
    },
    /// It is not what a publisher wrote.
    #[error("the index is damaged: {reason}; publish again or repair the distribution point")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
}

impl Index {
    /// An index of nothing.
    pub fn new(name: PackageName) -> Self {
        Self { name, releases: Vec::new() }
    }

    /// §1.2: where the index of a package is, below the store's root.
    pub fn path(name: &PackageName) -> String {
        format!("names/{name}")
    }

    /// §1.4: the folder of a package's release records: indexes of one release each, from which the index can be
    /// made again at any time.
    pub fn records(name: &PackageName) -> String {
        format!("releases/{name}")
    }

    /// §1.4: where the record of a release is.
    pub fn record_path(name: &PackageName, identity: Hash) -> String {
        format!("releases/{name}/{identity}")
    }

    /// Its canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let _ = minicbor::encode(self, &mut body);
        let mut bytes = START.to_vec();
        bytes.extend_from_slice(&INDEX_FORMAT.to_le_bytes());
        bytes.extend_from_slice(&Hash::of(&body).0);
        bytes.append(&mut body);
        bytes
    }

    /// Reads an index.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReadIndexError> {
        let damaged = |reason: &str| ReadIndexError::Damaged { reason: reason.to_owned() };
        if bytes.len() > MAX_LENGTH {
            return Err(damaged("it is longer than any index"));
        }
        let rest = bytes.strip_prefix(START).ok_or_else(|| damaged("it does not start as one"))?;
        let (format, rest) = rest.split_first_chunk().ok_or_else(|| damaged("it is cut off"))?;
        let format = u32::from_le_bytes(*format);
        if format == 0 {
            return Err(damaged("there is no format 0"));
        }
        if format > INDEX_FORMAT {
            return Err(ReadIndexError::NewerFormat { found: format, known: INDEX_FORMAT });
        }
        let (hash, body) =
            rest.split_first_chunk::<32>().ok_or_else(|| damaged("it is cut off"))?;
        if Hash::of(body).0 != *hash {
            return Err(damaged("its hash does not fit"));
        }
        minicbor::decode(body).map_err(|error| damaged(&format!("it does not parse: {error}")))
    }

    /// The release of a version, or the newest by version order.
    pub fn release(&self, version: Option<&Version>) -> Option<&Release> {
        match version {
            Some(version) => {
                self.releases.iter().find(|release| release.version.as_str() == version.as_str())
            }
            None => self.releases.iter().max_by(|a, b| a.version.cmp(&b.version)),
        }
    }

    /// Takes a release in, in place of the one of the same identity.
    pub fn put(&mut self, release: Release) {
        self.releases.retain(|old| old.identity != release.identity);
        let at = self.releases.partition_point(|old| {
            old.version.cmp(&release.version).then(old.identity.cmp(&release.identity)).is_lt()
        });
        self.releases.insert(at, release);
    }

    /// Every object its releases need.
    pub fn objects(&self) -> impl Iterator<Item = Object> + '_ {
        self.releases.iter().flat_map(Release::objects)
    }
}

impl Release {
    /// Every object it needs.
    pub fn objects(&self) -> impl Iterator<Item = Object> + '_ {
        std::iter::once(self.manifest)
            .chain(self.packs.iter().copied())
            .chain(self.deltas.iter().map(|delta| delta.object))
    }
}

#[cfg(test)]
mod tests {
    use model::{Architecture, Hash, PackageName, Version};
    use package::Totals;
    use proptest::prelude::*;

    use super::{Index, ReadIndexError, Release};
    use crate::{DeltaEntry, Object, ObjectKind};

    fn release(version: &str) -> Release {
        Release {
            version: Version::new(version),
            architecture: Architecture::Any,
            identity: Hash::of(version.as_bytes()),
            manifest: Object::of(ObjectKind::Manifest, version.as_bytes()),
            totals: Totals::default(),
            packs: vec![Object::of(ObjectKind::Pack, version.as_bytes())],
            deltas: vec![DeltaEntry {
                base: Hash::of(b"0"),
                object: Object::of(ObjectKind::Delta, version.as_bytes()),
            }],
        }
    }

    fn index() -> Index {
        let mut index = Index::new(PackageName::new("redis").unwrap());
        for version in ["7.10", "7.9", "7.2"] {
            index.put(release(version));
        }
        index
    }

    #[test]
    fn the_newest_is_by_version_and_not_by_time() {
        let index = index();
        assert_eq!(index.release(None).unwrap().version.as_str(), "7.10");
        assert_eq!(index.release(Some(&Version::new("7.9"))).unwrap().version.as_str(), "7.9");
        assert_eq!(index.release(Some(&Version::new("8"))), None);
    }

    #[test]
    fn putting_twice_is_putting_once() {
        let mut twice = index();
        twice.put(release("7.9"));
        assert_eq!(twice, index());
    }

    #[test]
    fn a_newer_index_is_refused_with_both_numbers() {
        let mut bytes = index().to_bytes();
        bytes[8] = 9;
        let error = Index::parse(&bytes).unwrap_err();
        insta::assert_snapshot!(error, @"the index has format 9, and this program reads formats up to 1: use a newer packhorse");
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_found(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut bytes = index().to_bytes();
            prop_assert_eq!(Index::parse(&bytes), Ok(index()));
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Index::parse(&bytes).is_err());
        }

        #[test]
        fn a_cut_off_index_is_damaged(length in 0..200_usize) {
            let bytes = index().to_bytes();
            let damaged = matches!(Index::parse(&bytes[..length]), Err(ReadIndexError::Damaged { .. }));
            prop_assert!(damaged);
        }
    }
}
