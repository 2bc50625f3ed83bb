//! sysusers.d(5): accounts a package declares and the machine makes at its next start. The steps make
//! them at once, since files may belong to them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{View, is_file},
    databases::{Group, User},
};
use crate::{DraftError, Side};

/// A number a machine chooses, stood in by one of the system's range.
const CHOSEN: u32 = 999;

/// What one line declares.
pub(super) enum Declared {
    User {
        name: String,
        id: Option<u32>,
        group: Option<String>,
        comment: String,
        home: String,
        shell: String,
    },
    Group {
        name: String,
        id: Option<u32>,
    },
    Member {
        user: String,
        group: String,
    },
}

/// Every declaration in new files of sysusers.d.
pub(super) fn declared(view: &View<'_>) -> Result<Vec<Declared>, DraftError> {
    let mut declared = Vec::new();
    for folder in ["/usr/lib/sysusers.d", "/lib/sysusers.d", "/etc/sysusers.d"] {
        for (path, change) in view.below(folder) {
            if !is_file(change.after.as_ref()) || !path.as_bytes().ends_with(b".conf") {
                continue;
            }
            let text = view.text(path, Side::After)?.unwrap_or_default();
            declared.extend(String::from_utf8_lossy(&text).lines().filter_map(line));
        }
    }
    Ok(declared)
}

/// Adds what is declared and not there yet.
pub(super) fn add_missing(
    declared: &[Declared],
    users: &mut BTreeMap<String, User>,
    groups: &mut BTreeMap<String, Group>,
) {
    let new_group = |name: &str, id: u32| Group {
        name: name.to_owned(),
        id,
        numbered: false,
        members: BTreeSet::new(),
    };
    for one in declared {
        match one {
            Declared::Group { name, id } => {
                let number = id.unwrap_or_else(|| unused(groups));
                groups
                    .entry(name.clone())
                    .or_insert_with(|| Group { numbered: id.is_some(), ..new_group(name, number) });
            }
            Declared::User { name, id, group, comment, home, shell } => {
                if users.contains_key(name) {
                    continue;
                }
                let first = group.as_deref().unwrap_or(name);
                let number = unused(groups);
                let group =
                    groups.entry(first.to_owned()).or_insert_with(|| new_group(first, number)).id;
                let user = User {
                    name: name.clone(),
                    id: id.unwrap_or(CHOSEN),
                    numbered: id.is_some(),
                    group,
                    comment: comment.clone(),
                    home: home.clone(),
                    shell: shell.clone(),
                };
                users.insert(name.clone(), user);
            }
            Declared::Member { user, group } => {
                let number = unused(groups);
                let group = groups.entry(group.clone()).or_insert_with(|| new_group(group, number));
                group.members.insert(user.clone());
            }
        }
    }
}

/// A number of the system's range that no group has, so that users find their own group again.
fn unused(groups: &BTreeMap<String, Group>) -> u32 {
    let taken = |id: &u32| groups.values().any(|group| group.id == *id);
    (1..=CHOSEN).rev().find(|id| !taken(id)).unwrap_or(CHOSEN)
}

fn line(line: &str) -> Option<Declared> {
    let fields = fields(line);
    let field = |index: usize| {
        fields.get(index).map(String::as_str).filter(|field| *field != "-" && !field.is_empty())
    };
    let name = field(1)?.to_owned();
    // Specifiers like `%v` stand for facts of the target.
    if name.contains('%') {
        return None;
    }
    let ids = field(2).unwrap_or_default();
    match fields.first()?.trim_end_matches('!') {
        "g" => Some(Declared::Group { name, id: ids.parse().ok() }),
        "u" => {
            let (id, group) = match ids.split_once(':') {
                Some((id, group)) => (id, group.parse::<u32>().is_err().then(|| group.to_owned())),
                None => (ids, None),
            };
            Some(Declared::User {
                name,
                id: id.parse().ok(),
                group,
                comment: field(3).unwrap_or_default().to_owned(),
                home: field(4).unwrap_or("/").to_owned(),
                shell: field(5).unwrap_or("/usr/sbin/nologin").to_owned(),
            })
        }
        "m" => Some(Declared::Member { user: name, group: field(2)?.to_owned() }),
        _ => None,
    }
}

/// Words divided by blanks; quotes hold a word together.
fn fields(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = line.trim();
    if rest.starts_with('#') {
        return fields;
    }
    while !rest.is_empty() {
        let (field, after) = match rest.strip_prefix('"').and_then(|quoted| quoted.split_once('"'))
        {
            Some((field, after)) => (field, after),
            None => rest.split_once([' ', '\t']).unwrap_or((rest, "")),
        };
        fields.push(field.to_owned());
        rest = after.trim_start();
    }
    fields
}
