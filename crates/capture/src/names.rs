use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use model::Owner;
use serde::{Deserialize, Serialize};

/// The names a machine gives to account numbers, from its own `/etc/passwd` and `/etc/group`: a
/// folder that holds a root is asked about itself, never the machine we run on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(array)]
pub struct Names {
    /// Users by number.
    #[n(0)]
    pub users: BTreeMap<u32, Box<str>>,
    /// Groups by number.
    #[n(1)]
    pub groups: BTreeMap<u32, Box<str>>,
}

impl Names {
    /// Reads the two files. The first name of a number wins; lines in another form are passed over,
    /// as the C library does.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        Self { users: by_number(passwd), groups: by_number(group) }
    }

    /// The user of a number.
    pub fn user(&self, id: u32) -> Owner {
        owner(&self.users, id)
    }

    /// The group of a number.
    pub fn group(&self, id: u32) -> Owner {
        owner(&self.groups, id)
    }
}

fn owner(names: &BTreeMap<u32, Box<str>>, id: u32) -> Owner {
    names.get(&id).map_or(Owner::Id(id), |name| Owner::Name(name.clone()))
}

fn by_number(text: &[u8]) -> BTreeMap<u32, Box<str>> {
    let mut names = BTreeMap::new();
    for line in text.split(|&byte| byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let mut fields = line.split(':');
        let (Some(name), Some(_), Some(id)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        // A name of digits alone would read back as a number.
        let plain = !name.is_empty() && name.parse::<u32>().is_err();
        if let (true, Ok(id)) = (plain, id.parse()) {
            names.entry(id).or_insert_with(|| name.into());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use model::Owner;

    use super::Names;

    #[test]
    fn names_come_from_the_files() {
        let names = Names::parse(
            b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n# no\nredis:x:105:\n12:x:7:",
            b"root:x:0:\nadm:x:4:a,b\nbad line\n",
        );
        assert_eq!(names.user(0), Owner::root());
        assert_eq!(names.user(105), Owner::Name("redis".into()));
        assert_eq!(names.user(7), Owner::Id(7));
        assert_eq!(names.group(4), Owner::Name("adm".into()));
        assert_eq!(names.group(5), Owner::Id(5));
    }
}
