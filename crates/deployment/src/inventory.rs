//! What a client reports of itself: hardware, system, packages, users, services.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode, bytes::ByteVec};
use model::Hash;
use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

use crate::wire;

/// The format this crate writes, and the newest it reads.
pub const INVENTORY_FORMAT: u32 = 1;

/// Something that can be known of a client. Names are in Unicode's normal form C, and upper and lower case differ.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode,
)]
#[serde(rename_all = "kebab-case")]
pub enum InventoryKey {
    /// One of a fixed list.
    #[n(0)]
    Machine(#[n(0)] MachineField),
    /// The version of a package of ours.
    #[n(1)]
    Package(#[n(0)] Box<str>),
    /// The version of a package the system's own package manager knows.
    #[n(2)]
    SystemPackage(#[n(0)] Box<str>),
    /// A user's account.
    #[n(3)]
    User(#[n(0)] Box<str>),
    /// The state of a service: `running`, `stopped`, `failed`.
    #[n(4)]
    Service(#[n(0)] Box<str>),
}

/// What every machine has one of.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode,
)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum MachineField {
    /// `machine.os`: `linux` or `windows`.
    #[n(0)]
    Os,
    /// `machine.arch`: `x86_64`, `aarch64`.
    #[n(1)]
    Arch,
    /// `machine.distribution`: `debian`.
    #[n(2)]
    Distribution,
    /// `machine.release`: `12`, a text.
    #[n(3)]
    Release,
    /// `machine.kernel`, a text.
    #[n(4)]
    Kernel,
    /// `machine.hostname`
    #[n(5)]
    HostName,
    /// `machine.memory`, in bytes.
    #[n(6)]
    Memory,
    /// `machine.cpus`, their number.
    #[n(7)]
    Cpus,
    /// `machine.processor`, its name.
    #[n(8)]
    Processor,
    /// `machine.vendor`
    #[n(9)]
    Vendor,
    /// `machine.model`
    #[n(10)]
    Model,
    /// `machine.disk`, bytes of the disk the system is on.
    #[n(11)]
    Disk,
    /// `machine.time_zone`: `Europe/Berlin`.
    #[n(12)]
    TimeZone,
}

/// What is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(untagged)]
pub enum InventoryValue {
    /// A text.
    #[n(0)]
    Text(#[n(0)] Box<str>),
    /// A whole number.
    #[n(1)]
    Number(#[n(0)] i64),
}

/// A part of an inventory. What a reported part does not have is not there; of a part that was never reported nothing
/// is known.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode,
)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum InventoryPart {
    /// Packages of ours.
    #[n(0)]
    Packages,
    /// The system's packages.
    #[n(1)]
    SystemPackages,
    /// Users.
    #[n(2)]
    Users,
    /// Services.
    #[n(3)]
    Services,
}

/// All a client reported of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Inventory {
    #[n(0)]
    parts: BTreeSet<InventoryPart>,
    #[n(1)]
    #[serde(skip)]
    values: BTreeMap<InventoryKey, InventoryValue>,
}

/// What leads from one inventory to the next.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct InventoryDelta {
    /// The inventory it leads from.
    #[n(0)]
    pub base: Hash,
    /// The inventory it leads to.
    #[n(1)]
    pub result: Hash,
    /// Parts that are reported now.
    #[n(2)]
    pub parts: BTreeSet<InventoryPart>,
    /// New and changed values.
    #[n(3)]
    pub set: BTreeMap<InventoryKey, InventoryValue>,
    /// Values that are gone.
    #[n(4)]
    pub gone: BTreeSet<InventoryKey>,
}

/// A report on the wire: whole, or what changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum InventoryReport {
    /// All of it.
    #[n(0)]
    Whole(#[n(0)] Inventory),
    /// What changed.
    #[n(1)]
    Delta(#[n(0)] InventoryDelta),
}

/// A report that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadInventoryError {
    /// Made by a newer agent.
    #[error(
        "the inventory has format {found}, and this site reads formats up to {known}: upgrade the site first"
    )]
    NewerFormat {
        /// The report's format.
        found: u32,
        /// The newest that is understood.
        known: u32,
    },
    /// Not what an agent wrote.
    #[error("the inventory is damaged: {reason}; the last one stays in force")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
}

/// A delta that leads from something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the delta leads from inventory {base}, and {held} is held: ask for a whole one")]
pub struct OtherBase {
    /// What it leads from.
    pub base: Hash,
    /// What there is; or what came of it, where that is not what was announced.
    pub held: Hash,
}

/// A name in the one form in which names are compared: Unicode's normal form C. Case counts.
pub fn normal(name: &str) -> Box<str> {
    if is_nfc(name) { name.into() } else { name.nfc().collect::<String>().into() }
}

impl InventoryKey {
    /// A package of ours.
    pub fn package(name: &str) -> Self {
        Self::Package(normal(name))
    }

    /// A package of the system.
    pub fn system_package(name: &str) -> Self {
        Self::SystemPackage(normal(name))
    }

    /// A user.
    pub fn user(name: &str) -> Self {
        Self::User(normal(name))
    }

    /// A service.
    pub fn service(name: &str) -> Self {
        Self::Service(normal(name))
    }

    /// The part it belongs to; what every machine has one of belongs to none.
    pub fn part(&self) -> Option<InventoryPart> {
        match self {
            Self::Machine(_) => None,
            Self::Package(_) => Some(InventoryPart::Packages),
            Self::SystemPackage(_) => Some(InventoryPart::SystemPackages),
            Self::User(_) => Some(InventoryPart::Users),
            Self::Service(_) => Some(InventoryPart::Services),
        }
    }

    /// Its name within its part.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Machine(_) => None,
            Self::Package(name)
            | Self::SystemPackage(name)
            | Self::User(name)
            | Self::Service(name) => Some(name),
        }
    }
}

impl Inventory {
    /// Says that a part is reported: what is not in it is not there.
    pub fn report(&mut self, part: InventoryPart) {
        self.parts.insert(part);
    }

    /// Takes note of a value; its part counts as reported.
    pub fn set(&mut self, key: InventoryKey, value: InventoryValue) {
        self.parts.extend(key.part());
        self.values.insert(key, value);
    }

    /// [`Inventory::set`] with a text, in normal form.
    pub fn text(&mut self, key: InventoryKey, text: &str) {
        self.set(key, InventoryValue::Text(normal(text)));
    }

    /// [`Inventory::set`] with a number.
    pub fn number(&mut self, key: InventoryKey, number: i64) {
        self.set(key, InventoryValue::Number(number));
    }

    /// Takes a value away.
    pub fn remove(&mut self, key: &InventoryKey) {
        self.values.remove(key);
    }

    /// A value, if there is one.
    pub fn get(&self, key: &InventoryKey) -> Option<&InventoryValue> {
        self.values.get(key)
    }

    /// Everything that is known, in order.
    pub fn values(&self) -> impl Iterator<Item = (&InventoryKey, &InventoryValue)> {
        self.values.iter()
    }

    /// Whether the part is reported.
    pub fn has(&self, part: InventoryPart) -> bool {
        self.parts.contains(&part)
    }

    /// The parts that are reported.
    pub fn parts(&self) -> impl Iterator<Item = InventoryPart> {
        self.parts.iter().copied()
    }

    /// All of one part, in order.
    pub fn of(&self, part: InventoryPart) -> impl Iterator<Item = &InventoryKey> {
        self.values.keys().filter(move |key| key.part() == Some(part))
    }

    /// The keys whose values differ.
    pub fn differing<'a>(&'a self, newer: &'a Self) -> impl Iterator<Item = &'a InventoryKey> {
        let changed = |key: &&InventoryKey| self.get(key) != newer.get(key);
        let gone = self.values.keys().filter(|key| newer.get(key).is_none());
        newer.values.keys().filter(changed).chain(gone)
    }

    /// The parts only one of both reports.
    pub fn parts_differing(&self, newer: &Self) -> BTreeSet<InventoryPart> {
        self.parts.symmetric_difference(&newer.parts).copied().collect()
    }

    /// Names the inventory: equal hashes, equal inventories.
    pub fn hash(&self) -> Hash {
        Hash::of(&wire::write(self))
    }

    /// What leads from `self` to `newer`.
    pub fn delta(&self, newer: &Self) -> InventoryDelta {
        let changed =
            |(key, value): &(&InventoryKey, &InventoryValue)| self.get(key) != Some(*value);
        let set = newer.values.iter().filter(changed);
        let gone = self.values.keys().filter(|key| newer.get(key).is_none());
        InventoryDelta {
            base: self.hash(),
            result: newer.hash(),
            parts: newer.parts.clone(),
            set: set.map(|(key, value)| (key.clone(), value.clone())).collect(),
            gone: gone.cloned().collect(),
        }
    }

    /// The inventory a delta leads to.
    ///
    /// # Errors
    /// It leads from another one, or to another one than it says.
    pub fn apply(&self, delta: &InventoryDelta) -> Result<Self, OtherBase> {
        let held = self.hash();
        if held != delta.base {
            return Err(OtherBase { base: delta.base, held });
        }
        let mut newer = self.clone();
        newer.parts.clone_from(&delta.parts);
        for gone in &delta.gone {
            newer.values.remove(gone);
        }
        newer.values.extend(delta.set.iter().map(|(key, value)| (key.clone(), value.clone())));
        let held = newer.hash();
        if held == delta.result { Ok(newer) } else { Err(OtherBase { base: delta.result, held }) }
    }
}

impl InventoryDelta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.base == self.result
    }
}

/// A report with the hash of its bytes.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Envelope {
    #[n(0)]
    format: u32,
    #[n(1)]
    hash: Hash,
    #[n(2)]
    report: ByteVec,
}

impl InventoryReport {
    /// The report as it is sent.
    pub fn write(&self) -> Vec<u8> {
        let report = wire::write(self);
        let hash = Hash::of(&report);
        wire::write(&Envelope { format: INVENTORY_FORMAT, hash, report: report.into() })
    }

    /// Reads what a client sent. Names are brought into normal form.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadInventoryError> {
        let damaged = |reason| ReadInventoryError::Damaged { reason };
        let envelope: Envelope = wire::read(bytes).map_err(damaged)?;
        if envelope.format > INVENTORY_FORMAT {
            let (found, known) = (envelope.format, INVENTORY_FORMAT);
            return Err(ReadInventoryError::NewerFormat { found, known });
        }
        if Hash::of(&envelope.report) != envelope.hash {
            return Err(damaged("its hash is not the one it states".to_owned()));
        }
        wire::read(&envelope.report).map_err(damaged)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inventory() -> impl Strategy<Value = Inventory> {
        let key = prop_oneof![
            "[a-c]{1,2}".prop_map(|name| InventoryKey::package(&name)),
            "[a-cé']{1,2}".prop_map(|name| InventoryKey::user(&name)),
            Just(InventoryKey::Machine(MachineField::Os)),
        ];
        proptest::collection::btree_map(key, "[0-9]{1,2}", 0..8).prop_map(|values| {
            let mut inventory = Inventory::default();
            for (key, value) in values {
                inventory.text(key, &value);
            }
            inventory
        })
    }

    proptest! {
        #[test]
        fn a_delta_leads_there_and_from_nowhere_else(old in inventory(), new in inventory(), other in inventory()) {
            let delta = old.delta(&new);
            prop_assert_eq!(old.apply(&delta).unwrap(), new.clone());
            prop_assert_eq!(delta.is_empty(), old == new);
            prop_assert_eq!(other.apply(&delta).is_ok(), other == old);
            for report in [InventoryReport::Whole(new), InventoryReport::Delta(delta)] {
                prop_assert_eq!(InventoryReport::read(&report.write()).unwrap(), report);
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(InventoryReport::read(&bytes).is_err());
        }
    }

    #[test]
    fn damage_and_the_future_are_refused() {
        let good = InventoryReport::Whole(Inventory::default()).write();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert!(InventoryReport::read(&bytes).is_err() || bytes[1] != good[1], "{at}");
        }
        let newer =
            wire::write(&Envelope { format: 2, hash: Hash::of(b""), report: Vec::new().into() });
        insta::assert_snapshot!(InventoryReport::read(&newer).unwrap_err(), @"the inventory has format 2, and this site reads formats up to 1: upgrade the site first");
    }

    #[test]
    fn q229950_names_have_one_form_and_case_counts() {
        assert_eq!(InventoryKey::user("Jose\u{301}"), InventoryKey::user("Jos\u{e9}"));
        assert_ne!(InventoryKey::user("SKY"), InventoryKey::user("sky"));
        assert_ne!(InventoryKey::user("I"), InventoryKey::user("ı"));
    }
}
