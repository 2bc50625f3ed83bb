//! Which clients belong together: by rule, by name, by other collections. Kept right client by client.

mod row;
mod said;

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use model::{Hash, Hasher};
use serde::{Deserialize, Serialize};

use crate::{ClientId, InvalidRule, Inventory, Read, Rule, Truth, normal};
use row::{Row, Three};

pub use said::{Preview, Why};

/// A name has at most so many characters.
const LONGEST_NAME: usize = 200;

/// A collection as people author it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CollectionSpec {
    /// Its name, in normal form; upper and lower case differ.
    pub name: Box<str>,
    /// Clients it is true of belong to it.
    #[serde(default)]
    pub rule: Option<String>,
    /// All clients belong to it. Never the outcome of an empty or broken rule: somebody must say so.
    #[serde(default)]
    pub everybody: bool,
    /// These belong to it.
    #[serde(default)]
    pub members: BTreeSet<ClientId>,
    /// Members of these belong to it.
    #[serde(default)]
    pub include: Vec<Box<str>>,
    /// Members of these do not, whatever else is said.
    #[serde(default)]
    pub exclude: Vec<Box<str>>,
    /// Only members of this one do.
    #[serde(default)]
    pub limit: Option<Box<str>>,
}

/// A collection that is not saved; what there was stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaveCollectionError {
    /// Nobody could name it.
    #[error(
        "`{name}` is no name of a collection: use 1 to {LONGEST_NAME} characters, no control characters, and no blanks at its ends"
    )]
    Name {
        /// As given.
        name: Box<str>,
    },
    /// Nothing says who belongs to it.
    #[error(
        "`{name}` has neither rule nor members nor collections to include; for all clients say so (`--everybody`)"
    )]
    Empty {
        /// Its name.
        name: Box<str>,
    },
    /// Its rule.
    #[error("the rule of `{name}`: {rule}")]
    Rule {
        /// Its name.
        name: Box<str>,
        /// What is wrong.
        rule: InvalidRule,
    },
    /// It names one that does not exist.
    #[error("`{name}` names the collection `{missing}`, which does not exist{}", said::similar(.similar.as_deref()))]
    Missing {
        /// Its name.
        name: Box<str>,
        /// What it names.
        missing: Box<str>,
        /// One that does, spelled almost like it.
        similar: Option<Box<str>>,
    },
    /// It would hang on itself.
    #[error("`{name}` would hang on itself, by way of {}", said::listed(.way))]
    Circle {
        /// Its name.
        name: Box<str>,
        /// From it to it.
        way: Vec<Box<str>>,
    },
}

/// A collection that others name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveCollectionError {
    /// There is none of this name.
    #[error("no collection `{0}`")]
    Missing(Box<str>),
    /// Removing it would change who belongs to these.
    #[error("`{name}` is named by {}: change those first", said::listed(.by))]
    InUse {
        /// Its name.
        name: Box<str>,
        /// Who names it.
        by: Vec<Box<str>>,
    },
}

/// Somebody who belongs to a collection now and did not, or the other way round, or is not known to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipChange {
    /// The collection.
    pub collection: Box<str>,
    /// Who.
    pub client: ClientId,
    /// Whether it belongs to it now. Unknown is no member.
    pub now: Membership,
}

/// Whether a client belongs to a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Membership {
    /// It does.
    Member,
    /// It does not.
    Outside,
    /// Its data do not tell; it is not taken for a member.
    Unknown,
}

/// How many belong to a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Members.
    pub members: usize,
    /// Clients of which it is unknown.
    pub unknown: usize,
}

/// All collections of a site and who belongs to them. A change of one client asks the rules that read what changed, of
/// that client.
#[derive(Debug, Default)]
pub struct Collections {
    all: Vec<Option<Compiled>>,
    by_name: BTreeMap<Box<str>, usize>,
    /// What hangs on nothing first.
    order: Vec<usize>,
    /// Each collection's place in the order.
    place: Vec<usize>,
    readers: BTreeMap<Read, Vec<usize>>,
    /// Who hangs on each.
    dependents: Vec<Vec<usize>>,
    rows: BTreeMap<ClientId, Row>,
    sizes: Vec<Size>,
    layout: OnceLock<Hash>,
}

/// What a site kept of a client's memberships belongs to other collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "what is kept of client `{client}` belongs to other collections than there are: ask all rules of it"
)]
pub struct OtherLayout {
    /// Whose it is.
    pub client: ClientId,
}

#[derive(Debug)]
struct Compiled {
    spec: CollectionSpec,
    rule: Option<Rule>,
    include: Vec<usize>,
    exclude: Vec<usize>,
    limit: Option<usize>,
}

impl Collections {
    /// Saves a collection, new or changed, and finds out who belongs to it among `clients`: all that are known, with
    /// their inventories.
    ///
    /// # Errors
    /// It says nothing, something wrong, or something about itself; nothing is changed.
    pub fn save<I: Borrow<Inventory>>(
        &mut self,
        spec: CollectionSpec,
        clients: impl IntoIterator<Item = (ClientId, I)>,
    ) -> Result<Vec<MembershipChange>, SaveCollectionError> {
        let compiled = self.compile(spec)?;
        let name = compiled.spec.name.clone();
        let at = match self.by_name.get(&name) {
            Some(at) => *at,
            None => self.all.iter().position(Option::is_none).unwrap_or(self.all.len()),
        };
        if at == self.all.len() {
            self.all.push(None);
            self.sizes.push(Size::default());
        }
        self.all[at] = Some(compiled);
        self.by_name.insert(name, at);
        self.index();
        let mut changes = Vec::new();
        for (client, inventory) in clients {
            self.ask(client, inventory.borrow(), [at].into(), &mut changes);
        }
        Ok(changes)
    }

    /// Whether a collection can be saved so. Nothing is changed.
    ///
    /// # Errors
    /// As [`Collections::save`] says.
    pub fn check(&self, spec: CollectionSpec) -> Result<(), SaveCollectionError> {
        self.compile(spec).map(drop)
    }

    /// The collections that name one.
    pub fn named_by(&self, name: &str) -> Vec<Box<str>> {
        let Some(at) = self.by_name.get(&normal(name)) else { return Vec::new() };
        self.dependents[*at].iter().filter_map(|by| self.name(*by)).collect()
    }

    /// Removes a collection nobody names.
    pub fn remove(&mut self, name: &str) -> Result<(), RemoveCollectionError> {
        let name = normal(name);
        let missing = || RemoveCollectionError::Missing(name.clone());
        let at = *self.by_name.get(&name).ok_or_else(missing)?;
        let by: Vec<Box<str>> =
            self.dependents[at].iter().filter_map(|by| self.name(*by)).collect();
        if !by.is_empty() {
            return Err(RemoveCollectionError::InUse { name, by });
        }
        self.by_name.remove(&name);
        self.all[at] = None;
        self.sizes[at] = Size::default();
        self.rows.values_mut().for_each(|row| row.clear(at));
        self.index();
        Ok(())
    }

    /// Takes in what a client reported: the inventory as it is now. Asks the rules that read what changed since
    /// `before`, and all of them of a client that is new.
    pub fn report(
        &mut self,
        client: ClientId,
        before: Option<&Inventory>,
        now: &Inventory,
    ) -> Vec<MembershipChange> {
        let mut changes = Vec::new();
        let asked = match before.filter(|_| self.rows.contains_key(&client)) {
            Some(before) => self.touched(before, now),
            None => self.order.iter().copied().collect(),
        };
        self.ask(client, now, asked, &mut changes);
        changes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Lets go of a client.
    pub fn forget(&mut self, client: ClientId) {
        if let Some(row) = self.rows.remove(&client) {
            for at in &self.order {
                count(&mut self.sizes[*at], row.member(*at), -1);
            }
        }
    }

    /// What is known of a client's memberships, to be kept by the site: with these it need not ask all rules of all
    /// clients again after a restart.
    pub fn row(&self, client: ClientId) -> Option<Vec<u8>> {
        let row = self.rows.get(&client)?;
        Some([&self.layout().0, row.bytes()].concat())
    }

    /// Takes in what [`Collections::row`] gave.
    ///
    /// # Errors
    /// The collections are others than they were then, or the bytes are none of ours: report the client anew.
    pub fn restore(&mut self, client: ClientId, bytes: &[u8]) -> Result<(), OtherLayout> {
        let row =
            bytes.strip_prefix(&self.layout().0).and_then(|bits| Row::read(bits, self.all.len()));
        let row = row.ok_or(OtherLayout { client })?;
        self.forget(client);
        for at in &self.order {
            count(&mut self.sizes[*at], row.member(*at), 1);
        }
        self.rows.insert(client, row);
        Ok(())
    }

    /// Names the collections as they are: any change of one makes another name.
    fn layout(&self) -> Hash {
        *self.layout.get_or_init(|| {
            let mut hasher = Hasher::new();
            for one in &self.all {
                let text = one.as_ref().map(|one| format!("{:?}", one.spec)).unwrap_or_default();
                hasher.update(&text.len().to_le_bytes()).update(text.as_bytes());
            }
            hasher.finish()
        })
    }

    /// Whether a client belongs to a collection; `None` where one of them does not exist.
    pub fn membership(&self, client: ClientId, collection: &str) -> Option<Membership> {
        let at = self.by_name.get(&normal(collection))?;
        Some(self.rows.get(&client)?.member(*at).into())
    }

    /// The collections a client belongs to.
    pub fn of(&self, client: ClientId) -> Vec<Box<str>> {
        let Some(row) = self.rows.get(&client) else { return Vec::new() };
        let mine = self.by_name.iter().filter(|(_, at)| row.member(**at) == Three::Yes);
        mine.map(|(name, _)| name.clone()).collect()
    }

    /// Who belongs to a collection.
    pub fn members<'a>(&'a self, collection: &str) -> impl Iterator<Item = ClientId> + use<'a> {
        let at = self.by_name.get(&normal(collection)).copied();
        let rows = self
            .rows
            .iter()
            .filter(move |(_, row)| at.is_some_and(|at| row.member(at) == Three::Yes));
        rows.map(|(client, _)| *client)
    }

    /// How many belong to a collection.
    pub fn size(&self, collection: &str) -> Option<Size> {
        self.by_name.get(&normal(collection)).map(|at| self.sizes[*at])
    }

    /// A collection as it was authored.
    pub fn get(&self, collection: &str) -> Option<&CollectionSpec> {
        let at = self.by_name.get(&normal(collection))?;
        self.all[*at].as_ref().map(|one| &one.spec)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(|name| &**name)
    }

    fn name(&self, at: usize) -> Option<Box<str>> {
        self.all.get(at)?.as_ref().map(|one| one.spec.name.clone())
    }

    fn compile(&self, mut spec: CollectionSpec) -> Result<Compiled, SaveCollectionError> {
        spec.name = normal(&spec.name);
        let name = spec.name.clone();
        let is_name = !name.is_empty()
            && name.trim() == &*name
            && name.chars().count() <= LONGEST_NAME
            && !name.chars().any(char::is_control);
        if !is_name {
            return Err(SaveCollectionError::Name { name });
        }
        let rule = spec.rule.as_deref().map(Rule::new).transpose();
        let rule = rule.map_err(|rule| SaveCollectionError::Rule { name: name.clone(), rule })?;
        if rule.is_none() && !spec.everybody && spec.members.is_empty() && spec.include.is_empty() {
            return Err(SaveCollectionError::Empty { name });
        }
        let find = |other: &str| {
            let other = normal(other);
            self.by_name.get(&other).copied().ok_or_else(|| SaveCollectionError::Missing {
                name: name.clone(),
                similar: said::nearest(self.names(), &other),
                missing: other,
            })
        };
        let refused = |other: &str| {
            if normal(other) == name {
                let way = vec![name.clone(), name.clone()];
                return Err(SaveCollectionError::Circle { name: name.clone(), way });
            }
            find(other)
        };
        let include =
            spec.include.iter().map(|other| refused(other)).collect::<Result<Vec<_>, _>>()?;
        let exclude =
            spec.exclude.iter().map(|other| refused(other)).collect::<Result<Vec<_>, _>>()?;
        let limit = spec.limit.as_deref().map(refused).transpose()?;
        let compiled = Compiled { spec, rule, include, exclude, limit };
        match self.by_name.get(&name).and_then(|at| self.circle(*at, &compiled)) {
            Some(way) => Err(SaveCollectionError::Circle { name, way }),
            None => Ok(compiled),
        }
    }

    /// The way from a collection to itself, if `new` took its place.
    fn circle(&self, at: usize, new: &Compiled) -> Option<Vec<Box<str>>> {
        let mut from: BTreeMap<usize, usize> = BTreeMap::new();
        let mut open: Vec<(usize, usize)> = new.needs().map(|need| (need, at)).collect();
        while let Some((next, by)) = open.pop() {
            if next == at {
                let mut way = vec![self.name(at)?];
                let mut back = by;
                while back != at {
                    way.push(self.name(back)?);
                    back = *from.get(&back)?;
                }
                way.push(self.name(at)?);
                way.reverse();
                return Some(way);
            }
            if from.insert(next, by).is_none()
                && let Some(Some(one)) = self.all.get(next)
            {
                open.extend(one.needs().map(|need| (need, next)));
            }
        }
        None
    }

    /// Makes the indexes again: who reads what, who hangs on whom.
    fn index(&mut self) {
        self.layout = OnceLock::new();
        let count = self.all.len();
        (self.readers, self.dependents) = (BTreeMap::new(), vec![Vec::new(); count]);
        let mut open = vec![0_usize; count];
        for (at, one) in self.all.iter().enumerate() {
            let Some(one) = one else { continue };
            for read in one.rule.iter().flat_map(Rule::reads) {
                self.readers.entry(read.clone()).or_default().push(at);
            }
            for need in one.needs().collect::<BTreeSet<_>>() {
                self.dependents[need].push(at);
                open[at] += 1;
            }
        }
        let is_there = |at: &usize| self.all[*at].is_some();
        let mut ready: Vec<usize> =
            (0..count).filter(is_there).filter(|at| open[*at] == 0).collect();
        self.order.clear();
        while let Some(at) = ready.pop() {
            self.order.push(at);
            for by in &self.dependents[at] {
                open[*by] -= 1;
                if open[*by] == 0 {
                    ready.push(*by);
                }
            }
        }
        self.place = vec![0; count];
        for (place, at) in self.order.iter().enumerate() {
            self.place[*at] = place;
        }
    }

    /// The collections whose rules read what differs.
    fn touched(&self, before: &Inventory, now: &Inventory) -> BTreeSet<usize> {
        let mut touched = BTreeSet::new();
        for key in before.differing(now) {
            for read in Read::touched_by(key) {
                touched.extend(self.readers.get(&read).into_iter().flatten().copied());
            }
        }
        let parts = before.parts_differing(now);
        if !parts.is_empty() {
            let readers = self.readers.iter().filter(|(read, _)| read.belongs_to(&parts));
            touched.extend(readers.flat_map(|(_, readers)| readers.iter().copied()));
        }
        touched
    }

    /// Asks the rules of `asked` of one client, and settles whatever hangs on them.
    fn ask(
        &mut self,
        client: ClientId,
        inventory: &Inventory,
        asked: BTreeSet<usize>,
        changes: &mut Vec<MembershipChange>,
    ) {
        let is_new = !self.rows.contains_key(&client);
        let mut row = self.rows.remove(&client).unwrap_or_default();
        row.grow(self.all.len());
        if is_new {
            for at in &self.order {
                count(&mut self.sizes[*at], Three::No, 1);
            }
        }
        let mut open: BTreeSet<(usize, usize)> = BTreeSet::new();
        for at in asked {
            let Some(one) = self.all[at].as_ref() else { continue };
            let answer = match &one.rule {
                Some(rule) => Three::from(&rule.ask(inventory)),
                None => Three::No,
            };
            row.set_rule(at, answer);
            open.insert((self.place[at], at));
        }
        while let Some((_, at)) = open.pop_first() {
            let Some(one) = self.all[at].as_ref() else { continue };
            let (was, now) = (row.member(at), one.belongs(client, at, &row));
            if was == now {
                continue;
            }
            row.set_member(at, now);
            count(&mut self.sizes[at], was, -1);
            count(&mut self.sizes[at], now, 1);
            let (collection, now) = (one.spec.name.clone(), now.into());
            changes.push(MembershipChange { collection, client, now });
            open.extend(self.dependents[at].iter().map(|by| (self.place[*by], *by)));
        }
        self.rows.insert(client, row);
    }
}

fn count(size: &mut Size, of: Three, by: isize) {
    let number = match of {
        Three::Yes => &mut size.members,
        Three::Unknown => &mut size.unknown,
        Three::No => return,
    };
    *number = number.saturating_add_signed(by);
}

impl Compiled {
    fn needs(&self) -> impl Iterator<Item = usize> {
        self.include.iter().chain(&self.exclude).chain(&self.limit).copied()
    }

    /// Whether a client belongs to it, given the rule's answer and all it hangs on. Whatever is unknown and matters
    /// makes it unknown: an exclusion that cannot be told keeps a client out.
    fn belongs(&self, client: ClientId, at: usize, row: &Row) -> Three {
        let named = self.spec.everybody || self.spec.members.contains(&client);
        let named = if named { Three::Yes } else { Three::No };
        let included = self.include.iter().map(|other| row.member(*other));
        let wanted = included.fold(named.or(row.rule(at)), Three::or);
        let excluded =
            self.exclude.iter().map(|other| row.member(*other)).fold(Three::No, Three::or);
        let limited = self.limit.map_or(Three::Yes, |limit| row.member(limit));
        wanted.and(excluded.not()).and(limited)
    }
}

impl From<Three> for Membership {
    fn from(three: Three) -> Self {
        match three {
            Three::Yes => Self::Member,
            Three::No => Self::Outside,
            Three::Unknown => Self::Unknown,
        }
    }
}

impl From<&Truth> for Three {
    fn from(truth: &Truth) -> Self {
        match truth {
            Truth::Yes => Self::Yes,
            Truth::No => Self::No,
            Truth::Unknown(_) => Self::Unknown,
        }
    }
}
