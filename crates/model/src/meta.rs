use std::{collections::BTreeMap, fmt, str::FromStr};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Acl, Time};

/// Extended attributes by name, without those an [`Acl`] or an overlay stands for. Names and values are bytes.
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// A user or a group: by name where the machine knows one, by number otherwise, so that files belong
/// to the same account on a machine that numbers it differently.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Owner {
    /// A name from the machine's account database.
    #[n(0)]
    Name(#[n(0)] Box<str>),
    /// A number no account has.
    #[n(1)]
    Id(#[n(0)] u32),
}

/// What a file system keeps beside content, for one path.
///
/// Left out on purpose: access time, change time and inode number, which no program can set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Meta {
    /// The permission bits with set-user-id, set-group-id and sticky: `0o7777` at most. Symlinks have `0o777`.
    #[n(0)]
    pub mode: u16,
    /// Who owns it.
    #[n(1)]
    pub owner: Owner,
    /// The group it belongs to.
    #[n(2)]
    pub group: Owner,
    /// When its content last changed.
    #[n(3)]
    pub modified: Time,
    /// Extended attributes, file capabilities (`security.capability`) and named streams among them.
    #[n(4)]
    #[serde(with = "xattrs_as_text", default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cbor(with = "xattrs_as_cbor")]
    pub xattrs: Xattrs,
    /// The access control list beyond the mode bits, if there is one.
    #[n(5)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Acl>,
    /// The list new entries of a folder inherit, if there is one.
    #[n(6)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_acl: Option<Acl>,
}

impl Owner {
    /// The account every machine has.
    pub fn root() -> Self {
        Self::Name("root".into())
    }
}

impl Meta {
    /// Metadata of something root made: `mode`, `root:root`, nothing extended.
    pub fn of_root(mode: u16, modified: Time) -> Self {
        Self {
            mode,
            owner: Owner::root(),
            group: Owner::root(),
            modified,
            xattrs: Xattrs::new(),
            acl: None,
            default_acl: None,
        }
    }
}

impl fmt::Display for Owner {
    /// The name, or the bare number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

impl FromStr for Owner {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.into()), Self::Id))
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(String::deserialize(deserializer)?.parse().unwrap_or(Self::Id(0)))
    }
}

mod xattrs_as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use super::Xattrs;
    use crate::{escape, unescape};

    pub(super) fn serialize<S: Serializer>(
        xattrs: &Xattrs,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(xattrs.iter().map(|(name, value)| (escape(name), escape(value))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Xattrs, D::Error> {
        std::collections::BTreeMap::<String, String>::deserialize(deserializer)?
            .into_iter()
            .map(|(name, value)| {
                Ok((
                    unescape(&name).map_err(D::Error::custom)?.into(),
                    unescape(&value).map_err(D::Error::custom)?.into(),
                ))
            })
            .collect()
    }
}

mod xattrs_as_cbor {
    use minicbor::{Decoder, Encoder};

    use super::Xattrs;

    pub(super) fn encode<C, W: minicbor::encode::Write>(
        xattrs: &Xattrs,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.map(xattrs.len() as u64)?;
        for (name, value) in xattrs {
            e.bytes(name)?.bytes(value)?;
        }
        Ok(())
    }

    pub(super) fn decode<'b, C>(
        d: &mut Decoder<'b>,
        _: &mut C,
    ) -> Result<Xattrs, minicbor::decode::Error> {
        let count = d
            .map()?
            .ok_or_else(|| minicbor::decode::Error::message("attributes have a known count"))?;
        (0..count).map(|_| Ok((d.bytes()?.into(), d.bytes()?.into()))).collect()
    }
}
