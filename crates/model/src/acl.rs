use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Owner;

/// A POSIX.1e access control list with names instead of numbers, in the short text form of acl(5):
/// `user::rw-,user:redis:r--,group::r--,mask::rw-,other::---`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Acl(#[n(0)] pub Vec<AclEntry>);

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct AclEntry {
    /// Whom it is about.
    #[n(0)]
    pub tag: AclTag,
    /// Read 4, write 2, execute 1.
    #[n(1)]
    pub permissions: u8,
}

/// Whom a line of a list is about.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AclTag {
    /// The owner of the file.
    #[n(0)]
    OwningUser,
    /// One user.
    #[n(1)]
    User(#[n(0)] Owner),
    /// The group of the file.
    #[n(2)]
    OwningGroup,
    /// One group.
    #[n(3)]
    Group(#[n(0)] Owner),
    /// The most any named user or group may have.
    #[n(4)]
    Mask,
    /// Everybody else.
    #[n(5)]
    Other,
}

/// Text that is no list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` is no entry of an access control list (like `user:redis:rw-`)")]
pub struct ParseAclError {
    entry: String,
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match &entry.tag {
                AclTag::OwningUser => f.write_str("user::")?,
                AclTag::User(user) => write!(f, "user:{user}:")?,
                AclTag::OwningGroup => f.write_str("group::")?,
                AclTag::Group(group) => write!(f, "group:{group}:")?,
                AclTag::Mask => f.write_str("mask::")?,
                AclTag::Other => f.write_str("other::")?,
            }
            for (bit, letter) in [(4, "r"), (2, "w"), (1, "x")] {
                f.write_str(if entry.permissions & bit == 0 { "-" } else { letter })?;
            }
        }
        Ok(())
    }
}

impl FromStr for Acl {
    type Err = ParseAclError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(parse_entry).collect::<Result<_, _>>().map(Self)
    }
}

fn parse_entry(entry: &str) -> Result<AclEntry, ParseAclError> {
    let refuse = || ParseAclError { entry: entry.to_owned() };
    let mut parts = entry.splitn(3, ':');
    let (Some(kind), Some(who), Some(letters)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(refuse());
    };
    let named = |text: &str| text.parse::<Owner>().unwrap_or(Owner::Id(0));
    let tag = match (kind, who) {
        ("user", "") => AclTag::OwningUser,
        ("user", who) => AclTag::User(named(who)),
        ("group", "") => AclTag::OwningGroup,
        ("group", who) => AclTag::Group(named(who)),
        ("mask", "") => AclTag::Mask,
        ("other", "") => AclTag::Other,
        _ => return Err(refuse()),
    };
    let mut permissions = 0;
    for letter in letters.chars() {
        permissions |= match letter {
            'r' => 4,
            'w' => 2,
            'x' => 1,
            '-' => 0,
            _ => return Err(refuse()),
        };
    }
    Ok(AclEntry { tag, permissions })
}

impl Serialize for Acl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Acl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Acl;

    #[test]
    fn lists_read_and_print_alike() {
        let text = "user::rw-,user:redis:r--,group::r-x,group:1017:-w-,mask::rwx,other::---";
        assert_eq!(text.parse::<Acl>().unwrap().to_string(), text);
        assert!("user:redis".parse::<Acl>().is_err());
        assert!("owner::rw-".parse::<Acl>().is_err());
    }
}
