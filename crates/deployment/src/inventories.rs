//! Inventories of very many clients in little memory.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{ClientId, Inventory, InventoryKey, InventoryPart, InventoryValue, Read};

/// Something a client has: a key with its value.
type Item = (InventoryKey, InventoryValue);

/// The inventories of a site's clients. What several clients have is held once; of each client there are the numbers of what it has,
/// as differences of ascending numbers, seven bits to a byte (LEB128): machines that are alike need a byte for each.
#[derive(Debug, Default)]
pub struct Inventories {
    numbers: HashMap<Arc<Item>, u32>,
    /// By number: what it is, and how many have it. A number nobody needs is given again.
    items: Vec<Option<(Arc<Item>, u32)>>,
    free: Vec<u32>,
    packed: BTreeMap<ClientId, Packed>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Packed {
    parts: Box<[InventoryPart]>,
    numbers: Box<[u8]>,
}

impl Packed {
    /// The numbers, ascending.
    fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        let mut bytes = self.numbers.iter();
        let mut last = 0;
        std::iter::from_fn(move || {
            let (mut step, mut shift) = (0, 0);
            loop {
                let byte = bytes.next()?;
                step |= u32::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            last += step;
            Some(last)
        })
    }
}

fn pack(numbers: &BTreeSet<u32>) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(numbers.len() + 8);
    let mut last = 0;
    for number in numbers {
        let mut step = number - last;
        last = *number;
        while step >= 0x80 {
            bytes.push(step.to_le_bytes()[0] | 0x80);
            step >>= 7;
        }
        bytes.push(step.to_le_bytes()[0]);
    }
    bytes.into()
}

impl Inventories {
    /// Takes note of what a client has; what was known of it before goes.
    pub fn take(&mut self, client: ClientId, inventory: &Inventory) {
        // First what is new, so that what stays keeps its number.
        let numbers: BTreeSet<u32> =
            inventory.values().map(|(key, value)| self.number(key, value)).collect();
        let parts = inventory.parts().collect();
        let packed = Packed { parts, numbers: pack(&numbers) };
        if let Some(before) = self.packed.insert(client, packed) {
            self.release(&before);
        }
    }

    /// Lets go of a client.
    pub fn forget(&mut self, client: ClientId) {
        if let Some(before) = self.packed.remove(&client) {
            self.release(&before);
        }
    }

    /// What is known of a client.
    pub fn of(&self, client: ClientId) -> Option<Inventory> {
        self.packed.get(&client).map(|packed| self.unpacked(packed, |_| true))
    }

    /// Of each client what rules that read `reads` need to know, and no more.
    pub fn for_rules<'a>(
        &'a self,
        reads: &[Read],
        clients: impl Iterator<Item = ClientId> + 'a,
    ) -> impl Iterator<Item = (ClientId, Inventory)> + 'a {
        let is_needed = |item: &Item| Read::touched_by(&item.0).any(|read| reads.contains(&read));
        let needed: Vec<bool> = self
            .items
            .iter()
            .map(|item| item.as_ref().is_some_and(|(item, _)| is_needed(item)))
            .collect();
        clients.map(move |client| {
            let inventory = self.packed.get(&client).map(|packed| {
                self.unpacked(packed, |number| needed.get(number).copied().unwrap_or(false))
            });
            (client, inventory.unwrap_or_default())
        })
    }

    fn unpacked(&self, packed: &Packed, is_needed: impl Fn(usize) -> bool) -> Inventory {
        let mut inventory = Inventory::default();
        for number in packed.numbers().map(|number| number as usize).filter(|one| is_needed(*one)) {
            if let Some(Some((item, _))) = self.items.get(number) {
                inventory.set(item.0.clone(), item.1.clone());
            }
        }
        for part in &packed.parts {
            inventory.report(*part);
        }
        inventory
    }

    /// The number of something, which somebody more has now.
    fn number(&mut self, key: &InventoryKey, value: &InventoryValue) -> u32 {
        let item = (key.clone(), value.clone());
        if let Some(number) = self.numbers.get(&item).copied() {
            if let Some(Some((_, users))) = self.items.get_mut(number as usize) {
                *users += 1;
            }
            return number;
        }
        let item = Arc::new(item);
        let number = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            u32::try_from(self.items.len() - 1).unwrap_or(u32::MAX)
        });
        self.items[number as usize] = Some((Arc::clone(&item), 1));
        self.numbers.insert(item, number);
        number
    }

    fn release(&mut self, packed: &Packed) {
        for number in packed.numbers() {
            let Some(place) = self.items.get_mut(number as usize) else { continue };
            let Some((item, users)) = place else { continue };
            *users -= 1;
            if *users == 0 {
                self.numbers.remove(item);
                *place = None;
                self.free.push(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{MachineField, Rule};

    fn inventory() -> impl Strategy<Value = Inventory> {
        let key = prop_oneof![
            "[a-f]{1,2}".prop_map(|name| InventoryKey::package(&name)),
            "[a-c]".prop_map(|name| InventoryKey::user(&name)),
            Just(InventoryKey::Machine(MachineField::Os)),
        ];
        let values = proptest::collection::btree_map(key, "[0-9]{1,2}", 0..12);
        (values, any::<bool>()).prop_map(|(values, services)| {
            let mut inventory = Inventory::default();
            for (key, value) in values {
                inventory.text(key, &value);
            }
            if services {
                inventory.report(InventoryPart::Services);
            }
            inventory
        })
    }

    proptest! {
        #[test]
        fn what_was_taken_is_what_is_known(
            steps in proptest::collection::vec((0..4_u8, proptest::option::of(inventory())), 0..30),
        ) {
            let mut all = Inventories::default();
            let mut model = BTreeMap::new();
            for (client, inventory) in steps {
                let client = ClientId([client; 16]);
                if let Some(inventory) = inventory {
                    all.take(client, &inventory);
                    model.insert(client, inventory);
                } else {
                    all.forget(client);
                    model.remove(&client);
                }
                for client in (0..4).map(|one| ClientId([one; 16])) {
                    prop_assert_eq!(all.of(client), model.get(&client).cloned());
                }
            }
            let held: std::collections::HashSet<_> =
                model.values().flat_map(|one| one.values().map(|(k, v)| (k.clone(), v.clone()))).collect();
            prop_assert_eq!(all.numbers.len(), held.len(), "what nobody has is not held");
            prop_assert_eq!(all.items.len(), held.len() + all.free.len());
        }

        #[test]
        fn rules_are_told_all_they_ask_for(one in inventory(), other in inventory()) {
            let mut all = Inventories::default();
            let clients = [ClientId([1; 16]), ClientId([2; 16])];
            all.take(clients[0], &one);
            all.take(clients[1], &other);
            for text in [
                "installed(\"a\") == \"1\" || machine.os != \"3\"",
                "packages.exists(name, name.startsWith(\"b\"))",
                "user_exists(\"a\") && service(\"x\") == \"running\"",
                "has(machine.os)",
            ] {
                let rule = Rule::new(text).unwrap();
                let told = all.for_rules(rule.reads(), clients.into_iter());
                for ((_, told), whole) in told.zip([&one, &other]) {
                    prop_assert_eq!(rule.ask(&told), rule.ask(whole), "{}", text);
                }
            }
        }
    }

    #[test]
    fn large_numbers_are_packed_too() {
        let numbers: BTreeSet<u32> = [0, 1, 127, 128, 16_384, u32::MAX].into();
        let packed = Packed { parts: Box::default(), numbers: pack(&numbers) };
        assert_eq!(packed.numbers().collect::<BTreeSet<_>>(), numbers);
    }
}
