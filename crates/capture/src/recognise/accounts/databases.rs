//! passwd(5), group(5), shadow(5).

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) id: u32,
    /// Whether that number was seen, and not only stands in for one a machine chooses.
    pub(super) numbered: bool,
    /// The number of its first group.
    pub(super) group: u32,
    pub(super) comment: String,
    pub(super) home: String,
    pub(super) shell: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) id: u32,
    /// Whether that number was seen, and not only stands in for one a machine chooses.
    pub(super) numbered: bool,
    pub(super) members: BTreeSet<String>,
}

/// Users by name; lines that are none are passed over, as the C library does.
pub(super) fn users(text: &str) -> BTreeMap<String, User> {
    let user = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, group, comment, home, shell] = fields[..] else { return None };
        let user = User {
            name: name.to_owned(),
            id: id.parse().ok()?,
            numbered: true,
            group: group.parse().ok()?,
            comment: comment.to_owned(),
            home: home.to_owned(),
            shell: shell.to_owned(),
        };
        (!name.is_empty() && !name.starts_with('#')).then(|| (name.to_owned(), user))
    };
    text.lines().filter_map(user).collect()
}

/// Groups by name.
pub(super) fn groups(text: &str) -> BTreeMap<String, Group> {
    let group = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, members] = fields[..] else { return None };
        let members = members.split(',').filter(|member| !member.is_empty());
        let group = Group {
            name: name.to_owned(),
            id: id.parse().ok()?,
            numbered: true,
            members: members.map(str::to_owned).collect(),
        };
        (!name.is_empty() && !name.starts_with('#')).then(|| (name.to_owned(), group))
    };
    text.lines().filter_map(group).collect()
}

/// Accounts that have a password now, and had none or another before.
pub(super) fn new_passwords(before: &[u8], after: &[u8]) -> Vec<String> {
    let read = |bytes: &[u8]| -> BTreeMap<String, String> {
        String::from_utf8_lossy(bytes)
            .lines()
            .filter_map(|line| {
                let mut fields = line.split(':');
                Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
            })
            .collect()
    };
    let before = read(before);
    read(after)
        .into_iter()
        .filter(|(name, password)| {
            !password.starts_with(['!', '*'])
                && !password.is_empty()
                && before.get(name) != Some(password)
        })
        .map(|(name, _)| name)
        .collect()
}
