//! Users and groups: the account files are never payload; what was added to them becomes steps.

mod databases;
mod sysusers;

use std::collections::{BTreeMap, BTreeSet};

use model::{AccountStep, MachinePath, Template};
use script::StepKind;

use super::{Meaning, View, path};
use crate::{DraftError, Remark, Side};
use databases::{Group, User};

/// The files accounts live in; all of them are taken, whatever changed in them.
const FILES: [(&str, &str); 6] = [
    ("/etc/passwd", "users, as steps"),
    ("/etc/group", "groups, as steps"),
    ("/etc/shadow", "passwords, which stay on the reference machine"),
    ("/etc/gshadow", "group passwords, which stay on the reference machine"),
    ("/etc/subuid", "number ranges, which every machine gives out itself"),
    ("/etc/subgid", "number ranges, which every machine gives out itself"),
];

/// Numbers below this belong to the system, as shadow's login.defs has it.
const SYSTEM_IDS: std::ops::Range<u32> = 1..1000;

/// The accounts of one side.
#[derive(Default)]
struct Accounts {
    users: BTreeMap<String, User>,
    groups: BTreeMap<String, Group>,
}

/// Turns added users, groups and memberships into steps.
pub(super) fn recognise(view: &View<'_>) -> Result<Meaning, DraftError> {
    let mut meaning = Meaning::default();
    for (file, what) in FILES {
        if view.changes.contains_key(&path(file)) {
            meaning.take(&path(file), what);
        }
    }
    let before = read(view, Side::Before)?;
    let mut after = read(view, Side::After)?;
    if meaning.taken.is_empty() {
        after = Accounts { users: before.users.clone(), groups: before.groups.clone() };
    }
    let declared = sysusers::declared(view)?;
    sysusers::add_missing(&declared, &mut after.users, &mut after.groups);
    add_steps(view, &before, &after, &mut meaning);
    note_other_changes(view, &before, &after, &mut meaning)?;
    Ok(meaning)
}

fn read(view: &View<'_>, side: Side) -> Result<Accounts, DraftError> {
    let text = |file: &str| -> Result<String, DraftError> {
        Ok(String::from_utf8_lossy(&view.text(&path(file), side)?.unwrap_or_default()).into_owned())
    };
    Ok(Accounts {
        users: databases::users(&text("/etc/passwd")?),
        groups: databases::groups(&text("/etc/group")?),
    })
}

fn add_steps(view: &View<'_>, before: &Accounts, after: &Accounts, meaning: &mut Meaning) {
    let id = |id: u32, numbered: bool| (numbered && view.options.keep_ids).then_some(id);
    let is_system = |id: u32| SYSTEM_IDS.contains(&id);
    let new_users: Vec<&User> =
        after.users.values().filter(|user| !before.users.contains_key(&user.name)).collect();
    // A group that bears the name of its new user comes with it.
    let own: BTreeSet<&str> = new_users
        .iter()
        .filter(|user| {
            after.groups.get(&user.name).is_some_and(|group| {
                group.id == user.group && !before.groups.contains_key(&group.name)
            })
        })
        .map(|user| user.name.as_str())
        .collect();
    for group in after.groups.values() {
        if !before.groups.contains_key(&group.name) && !own.contains(group.name.as_str()) {
            meaning.accounts.push(StepKind::Account(AccountStep::Group {
                name: group.name.as_str().into(),
                system: is_system(group.id),
                id: id(group.id, group.numbered),
            }));
        }
    }
    for user in &new_users {
        let first = after.groups.values().find(|group| group.id == user.group);
        let group = first.filter(|group| group.name != user.name).map(|group| group.name.as_str());
        if group.is_none() && !own.contains(user.name.as_str()) && first.is_none() {
            let text = format!("user `{}` had a first group without a name", user.name);
            meaning.warnings.push(Remark::of(text));
        }
        meaning.accounts.push(StepKind::Account(AccountStep::User {
            name: user.name.as_str().into(),
            system: is_system(user.id),
            id: id(user.id, user.numbered),
            group: group.map(Into::into),
            home: Template::literal(user.home.as_bytes()),
            shell: Template::literal(user.shell.as_bytes()),
            comment: user.comment.clone(),
        }));
    }
    for group in after.groups.values() {
        let old = before.groups.get(&group.name).map(|group| &group.members);
        for member in &group.members {
            if old.is_none_or(|old| !old.contains(member)) {
                meaning.accounts.push(StepKind::Account(AccountStep::Membership {
                    user: member.as_str().into(),
                    group: group.name.as_str().into(),
                }));
            }
        }
    }
}

/// What no step says: accounts that went or changed, and passwords.
fn note_other_changes(
    view: &View<'_>,
    before: &Accounts,
    after: &Accounts,
    meaning: &mut Meaning,
) -> Result<(), DraftError> {
    let (passwd, group) = (path("/etc/passwd"), path("/etc/group"));
    let mut say = |at: &MachinePath, text: String| meaning.review.push(Remark::at(at, text));
    for (name, old) in &before.users {
        match after.users.get(name) {
            None => say(&passwd, format!("user `{name}` was removed; no step does that")),
            Some(new) if new != old => say(
                &passwd,
                format!("user `{name}` was changed; no step changes an account that is there"),
            ),
            Some(_) => {}
        }
    }
    for (name, old) in &before.groups {
        match after.groups.get(name) {
            None => say(&group, format!("group `{name}` was removed; no step does that")),
            Some(new) if new.id != old.id || !new.members.is_superset(&old.members) => {
                say(
                    &group,
                    format!("group `{name}` lost a member or its number; no step does that"),
                );
            }
            Some(_) => {}
        }
    }
    let shadow = path("/etc/shadow");
    if view.changes.contains_key(&shadow) {
        let side = |side| view.text(&shadow, side);
        let (old, new) = (side(Side::Before)?, side(Side::After)?);
        for name in databases::new_passwords(&old.unwrap_or_default(), &new.unwrap_or_default()) {
            say(
                &shadow,
                format!("a password was set for `{name}`; it stays on the reference machine"),
            );
        }
    }
    Ok(())
}
