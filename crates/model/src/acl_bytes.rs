//! Access control lists as Linux keeps them: the value of `system.posix_acl_access` and
//! `system.posix_acl_default`, version 2, little endian.

use crate::{Acl, AclEntry, AclTag, Owner};

const VERSION: u32 = 2;
const ENTRY: usize = 8;
const NOBODY: u32 = u32::MAX;

/// Bytes that are no access control list of version 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes are no access control list of version 2")]
pub struct BadAclBytes {
    /// How many bytes there were.
    pub length: usize,
}

/// A list names an account the machine does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access control list names `{owner}`, which this machine has not")]
pub struct UnknownAclOwner {
    /// The user or group.
    pub owner: Owner,
}

impl Acl {
    /// Reads the attribute's value. `user` and `group` give the names of numbers.
    ///
    /// # Errors
    /// Bytes in another form.
    pub fn from_bytes(
        bytes: &[u8],
        user: impl Fn(u32) -> Owner,
        group: impl Fn(u32) -> Owner,
    ) -> Result<Self, BadAclBytes> {
        let refuse = || BadAclBytes { length: bytes.len() };
        let (version, entries) = bytes.split_first_chunk().ok_or_else(refuse)?;
        if u32::from_le_bytes(*version) != VERSION || entries.len() % ENTRY != 0 {
            return Err(refuse());
        }
        entries
            .chunks_exact(ENTRY)
            .map(|entry| {
                let short = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
                let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
                let tag = match short(0) {
                    0x01 => AclTag::OwningUser,
                    0x02 => AclTag::User(user(id)),
                    0x04 => AclTag::OwningGroup,
                    0x08 => AclTag::Group(group(id)),
                    0x10 => AclTag::Mask,
                    0x20 => AclTag::Other,
                    _ => return Err(refuse()),
                };
                let permissions = u8::try_from(short(2)).map_err(|_| refuse())?;
                Ok(AclEntry { tag, permissions })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Writes the attribute's value, in the order the kernel demands. `user` and `group` give the
    /// numbers of names.
    ///
    /// # Errors
    /// An account for which there is no number.
    pub fn to_bytes(
        &self,
        user: impl Fn(&Owner) -> Option<u32>,
        group: impl Fn(&Owner) -> Option<u32>,
    ) -> Result<Vec<u8>, UnknownAclOwner> {
        let number = |id: Option<u32>, owner: &Owner| {
            id.ok_or_else(|| UnknownAclOwner { owner: owner.clone() })
        };
        let mut entries = self
            .0
            .iter()
            .map(|entry| {
                let (tag, id) = match &entry.tag {
                    AclTag::OwningUser => (0x01_u16, NOBODY),
                    AclTag::User(owner) => (0x02, number(user(owner), owner)?),
                    AclTag::OwningGroup => (0x04, NOBODY),
                    AclTag::Group(owner) => (0x08, number(group(owner), owner)?),
                    AclTag::Mask => (0x10, NOBODY),
                    AclTag::Other => (0x20, NOBODY),
                };
                Ok((tag, id, u16::from(entry.permissions)))
            })
            .collect::<Result<Vec<_>, UnknownAclOwner>>()?;
        entries.sort_unstable();
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (tag, id, permissions) in entries {
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&permissions.to_le_bytes());
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::UnknownAclOwner;
    use crate::{Acl, Owner};

    fn id_of(owner: &Owner) -> Option<u32> {
        match owner {
            Owner::Id(id) => Some(*id),
            Owner::Name(name) => (&**name == "redis").then_some(105),
        }
    }

    fn name_of(id: u32) -> Owner {
        if id == 105 { Owner::Name("redis".into()) } else { Owner::Id(id) }
    }

    #[test]
    fn lists_survive_the_kernel_form() {
        let acl: Acl = "user::rw-,user:redis:r--,group::r-x,group:1017:-w-,mask::rwx,other::---"
            .parse()
            .unwrap();
        let bytes = acl.to_bytes(id_of, id_of).unwrap();
        assert_eq!(bytes[..12], [2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255]);
        assert_eq!(Acl::from_bytes(&bytes, name_of, name_of).unwrap(), acl);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for bad in [&b""[..], b"\x01\0\0\0", b"\x02\0\0\0\x01", b"\x02\0\0\0\x40\0\0\0\0\0\0\0"] {
            assert!(Acl::from_bytes(bad, name_of, name_of).is_err());
        }
        let acl: Acl = "user:nobody-here:rw-".parse().unwrap();
        let owner = Owner::Name("nobody-here".into());
        assert_eq!(acl.to_bytes(id_of, id_of), Err(UnknownAclOwner { owner }));
    }
}
