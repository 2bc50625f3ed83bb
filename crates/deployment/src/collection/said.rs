//! Collections as people ask about them: why somebody is in, and what a rule would catch.

use std::{borrow::Borrow, fmt};

use serde::Serialize;

use super::{Collections, Membership, Size};
use crate::{ClientId, Inventory, Rule, Truth, normal};

/// Why a client is in a collection, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Why {
    /// The collection.
    pub collection: Box<str>,
    /// Whether it belongs to it.
    pub membership: Membership,
    /// What decides that, one sentence each.
    pub because: Vec<String>,
}

/// What a rule would catch, before anything is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Preview {
    /// How many it catches, and of how many it cannot tell.
    pub size: Size,
    /// How many clients there are.
    pub clients: usize,
    /// Some it catches.
    pub sample: Vec<ClientId>,
    /// Some of which it cannot tell, and why.
    pub unknown: Vec<(ClientId, String)>,
}

impl Collections {
    /// Why a client is in a collection, or not; `None` where there is no such collection.
    pub fn why(&self, client: ClientId, inventory: &Inventory, collection: &str) -> Option<Why> {
        let at = *self.by_name.get(&normal(collection))?;
        let one = self.all.get(at)?.as_ref()?;
        let row = self.rows.get(&client);
        let member = |at: usize| row.map_or(Membership::Unknown, |row| row.member(at).into());
        let mut because = Vec::new();
        if row.is_none() {
            because.push("the client has not reported yet".to_owned());
        }
        if one.spec.everybody {
            because.push("all clients belong to it".to_owned());
        }
        if one.spec.members.contains(&client) {
            because.push("it is named as a member".to_owned());
        }
        if let Some(rule) = &one.rule {
            let answer = match rule.ask(inventory) {
                Truth::Yes => "its rule is true of it".to_owned(),
                Truth::No => "its rule is not true of it".to_owned(),
                Truth::Unknown(why) => format!("its rule cannot tell: {why}"),
            };
            because.push(format!(
                "{answer} (`{}`): {}",
                rule.text(),
                rule.read_of(inventory).join(", ")
            ));
        }
        let others = [(&one.include, "includes"), (&one.exclude, "excludes")];
        let limit = one.limit.iter().map(|limit| (limit, "is limited to"));
        let others =
            others.into_iter().flat_map(|(all, verb)| all.iter().map(move |at| (at, verb)));
        for (other, verb) in others.chain(limit) {
            let name = self.name(*other).unwrap_or_default();
            let state = match member(*other) {
                Membership::Member => "to which it belongs",
                Membership::Outside => "to which it does not belong",
                Membership::Unknown => "of which it is unknown",
            };
            because.push(format!("it {verb} `{name}`, {state}"));
        }
        Some(Why { collection: one.spec.name.clone(), membership: member(at), because })
    }
}

impl Rule {
    /// What the rule would catch among `clients`; at most `most` of each kind are named.
    pub fn preview<I: Borrow<Inventory>>(
        &self,
        clients: impl IntoIterator<Item = (ClientId, I)>,
        most: usize,
    ) -> Preview {
        let mut preview =
            Preview { size: Size::default(), clients: 0, sample: Vec::new(), unknown: Vec::new() };
        for (client, inventory) in clients {
            preview.clients += 1;
            match self.ask(inventory.borrow()) {
                Truth::Yes => {
                    preview.size.members += 1;
                    if preview.sample.len() < most {
                        preview.sample.push(client);
                    }
                }
                Truth::Unknown(why) => {
                    preview.size.unknown += 1;
                    if preview.unknown.len() < most {
                        preview.unknown.push((client, why));
                    }
                }
                Truth::No => {}
            }
        }
        preview
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = match self.membership {
            Membership::Member => "is in",
            Membership::Outside => "is not in",
            Membership::Unknown => "is not taken for a member of",
        };
        write!(f, "{is} `{}`: {}", self.collection, self.because.join("; "))
    }
}

/// The name spelled most like another one, but for case.
pub(super) fn nearest<'a>(names: impl Iterator<Item = &'a str>, wanted: &str) -> Option<Box<str>> {
    let wanted = wanted.to_lowercase();
    let mut names = names;
    names.find(|name| name.to_lowercase() == wanted).map(Into::into)
}

pub(super) fn similar(name: Option<&str>) -> String {
    name.map(|name| format!("; there is `{name}`: case counts")).unwrap_or_default()
}

pub(super) fn listed(names: &[Box<str>]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
