//! A registry held whole: as Wine keeps it on disk, in `system.reg` and `user.reg`, or key by key from one that is
//! walked; and what differs between two.

mod hive;
mod written;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map::Entry},
    iter::Peekable,
};

use model::{MachinePath, RegistryKey, RegistryValue, Setting};

pub use self::hive::{Hive, ReadHiveError};

/// All keys and values of a registry, by the place that is theirs whatever the case of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    keys: BTreeMap<MachinePath, Held>,
}

/// A key, and its values by what their names are whatever their case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    key: RegistryKey,
    values: BTreeMap<String, (Box<str>, RegistryValue)>,
}

/// What is at a place now and was there before; one of the two may be nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange<'r> {
    /// The key or value.
    pub setting: Setting,
    /// Whether it was there, and its value then, if it is no key.
    pub before: Option<Option<&'r RegistryValue>>,
    /// Whether it is there, and its value now, if it is no key.
    pub after: Option<Option<&'r RegistryValue>>,
}

/// A file that is no registry of Wine's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the registry is damaged: {what}")]
pub struct ReadRegistryError {
    line: usize,
    what: &'static str,
}

impl Registry {
    /// Adds what a file says below `hive`: `HKLM` for `system.reg`, `HKCU` for `user.reg`.
    pub fn read(&mut self, hive: &str, text: &str) -> Result<(), ReadRegistryError> {
        let mut lines = text.lines().enumerate();
        match lines.next() {
            Some((_, "WINE REGISTRY Version 2")) => {}
            _ => return Err(ReadRegistryError { line: 1, what: "it is not Wine's, version 2" }),
        }
        let mut key = None;
        while let Some((number, line)) = lines.next() {
            let damaged = |what| ReadRegistryError { line: number + 1, what };
            let mut line = line.to_owned();
            while line.starts_with(['"', '@']) && line.ends_with('\\') {
                line.pop();
                let (_, more) = lines.next().ok_or_else(|| damaged("it ends too early"))?;
                line.push_str(more.trim_start());
            }
            if let Some(rest) = line.strip_prefix('[') {
                let (name, _) =
                    quoted(rest, ']').ok_or_else(|| damaged("a key without its end"))?;
                let found = key_of(hive, &name).ok_or_else(|| damaged("no key's name"))?;
                key = Some((self.add_key(&found), found));
            } else if line == "#link" {
                // Another name of a key that stands elsewhere.
                if let Some((place, _)) = key.take() {
                    self.keys.remove(&place);
                }
            } else if line.starts_with(['"', '@']) {
                let Some((place, _)) = &key else { continue };
                let (name, rest) = match line.strip_prefix('"') {
                    Some(rest) => {
                        quoted(rest, '"').ok_or_else(|| damaged("a name without its end"))?
                    }
                    None => (Vec::new(), &line[1..]),
                };
                let name =
                    String::from_utf16(&name).map_err(|_| damaged("a name that is no text"))?;
                let rest = rest.strip_prefix('=').ok_or_else(|| damaged("no value"))?;
                let value = value(rest).ok_or_else(|| damaged("no value we know"))?;
                if let Some(held) = self.keys.get_mut(place) {
                    held.add([(name, value)]);
                }
            }
        }
        Ok(())
    }

    /// Adds a key with its values; keys above it come with it.
    pub fn add(
        &mut self,
        key: &RegistryKey,
        values: impl IntoIterator<Item = (String, RegistryValue)>,
    ) {
        let place = key.place();
        self.add_above(key, &place);
        let held = self.keys.entry(place).or_insert_with(|| Held::of(key.clone()));
        held.add(values);
    }

    /// Whether there is such a key.
    pub fn has_key(&self, key: &RegistryKey) -> bool {
        self.keys.contains_key(&key.place())
    }

    /// All keys, in the order of places.
    pub fn keys(&self) -> impl Iterator<Item = &RegistryKey> {
        self.keys.values().map(|held| &held.key)
    }

    /// A value of a key.
    pub fn value(&self, key: &RegistryKey, name: &str) -> Option<&RegistryValue> {
        let held = self.keys.get(&key.place())?;
        held.values.get(&RegistryKey::fold(name)).map(|(_, value)| value)
    }

    /// How many keys and values there are.
    pub fn count(&self) -> usize {
        self.keys.values().map(|held| 1 + held.values.len()).sum()
    }

    /// What is other in `after` than in this one, key by key in the order of places.
    pub fn changes<'r>(&'r self, after: &'r Self) -> Vec<SettingChange<'r>> {
        let mut changes = Vec::new();
        for (before, after) in paired(self.keys.iter(), after.keys.iter()) {
            let Some(held) = after.or(before) else { continue };
            if before.is_some() != after.is_some() {
                changes.push(SettingChange {
                    setting: Setting::Key(held.key.clone()),
                    before: before.map(|_| None),
                    after: after.map(|_| None),
                });
            }
            let of = |held: Option<&'r Held>| held.map(|held| held.values.iter());
            let (old, new) = (of(before), of(after));
            for (before, after) in paired(old.into_iter().flatten(), new.into_iter().flatten()) {
                let Some((name, _)) = after.or(before) else { continue };
                let value = |one: Option<&'r (Box<str>, RegistryValue)>| one.map(|one| &one.1);
                let (before, after) = (value(before), value(after));
                if before != after {
                    changes.push(SettingChange {
                        setting: Setting::value(&held.key, name),
                        before: before.map(Some),
                        after: after.map(Some),
                    });
                }
            }
        }
        changes
    }

    /// Adds a key; answers its place.
    fn add_key(&mut self, key: &RegistryKey) -> MachinePath {
        let place = key.place();
        self.add_above(key, &place);
        self.keys.entry(place.clone()).or_insert_with(|| Held::of(key.clone()));
        place
    }

    /// Adds the keys above one. Where a key is, those above it are.
    fn add_above(&mut self, key: &RegistryKey, place: &MachinePath) {
        let Some(mut above) = place.parent() else { return };
        if self.keys.contains_key(&above) {
            return;
        }
        let mut key = key.parent();
        while let Some(parent) = key {
            key = parent.parent();
            let next = above.parent().unwrap_or_else(MachinePath::root);
            match self.keys.entry(above) {
                Entry::Occupied(_) => return,
                Entry::Vacant(free) => drop(free.insert(Held::of(parent))),
            }
            above = next;
        }
    }
}

impl Held {
    fn of(key: RegistryKey) -> Self {
        Self { key, values: BTreeMap::new() }
    }

    fn add(&mut self, values: impl IntoIterator<Item = (String, RegistryValue)>) {
        self.values.extend(
            values
                .into_iter()
                .map(|(name, value)| (RegistryKey::fold(&name), (name.into(), value))),
        );
    }
}

/// What has the same place on both sides stands together, in the order of places.
fn paired<'r, K: Ord + 'r, V: 'r>(
    old: impl Iterator<Item = (&'r K, &'r V)>,
    new: impl Iterator<Item = (&'r K, &'r V)>,
) -> impl Iterator<Item = (Option<&'r V>, Option<&'r V>)> {
    let (mut old, mut new): (Peekable<_>, Peekable<_>) = (old.peekable(), new.peekable());
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        Some((before.map(|(_, value)| value), after.map(|(_, value)| value)))
    })
}

fn key_of(hive: &str, name: &[u16]) -> Option<RegistryKey> {
    let name = String::from_utf16(name).ok()?;
    if name.is_empty() {
        return RegistryKey::new(hive).ok();
    }
    // The set that is in force has a name of its own.
    let system = "System\\ControlSet001";
    let name = match name.get(..system.len()) {
        Some(start) if start.eq_ignore_ascii_case(system) => {
            format!("System\\CurrentControlSet{}", &name[system.len()..])
        }
        _ => name,
    };
    RegistryKey::new(&format!("{hive}\\{name}")).ok()
}

/// A text up to `end`, its escapes resolved, and what follows.
fn quoted(text: &str, end: char) -> Option<(Vec<u16>, &str)> {
    let mut words = Vec::new();
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == end {
            return Some((words, &text[at + letter.len_utf8()..]));
        }
        if letter != '\\' {
            words.extend(letter.encode_utf16(&mut [0; 2]).iter());
            continue;
        }
        let (_, kind) = letters.next()?;
        let mut digits = |radix: u32, most: usize, first: u32| {
            let mut number = first;
            for _ in 0..most {
                let Some(digit) = letters.peek().and_then(|(_, letter)| letter.to_digit(radix))
                else {
                    break;
                };
                letters.next();
                number = number * radix + digit;
            }
            u16::try_from(number).unwrap_or(u16::MAX)
        };
        words.push(match kind {
            'a' => 7,
            'b' => 8,
            'e' => 27,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            'x' => digits(16, 4, 0),
            '0'..='7' => digits(8, 2, kind.to_digit(8)?),
            other => u16::try_from(u32::from(other)).ok()?,
        });
    }
    None
}

fn value(text: &str) -> Option<RegistryValue> {
    let of_text = |kind: u32, text: &str| {
        let (words, _) = quoted(text.strip_prefix('"')?, '"')?;
        let data = words.into_iter().chain([0]).flat_map(u16::to_le_bytes).collect();
        Some(RegistryValue { kind, data })
    };
    if text.starts_with('"') {
        return of_text(RegistryValue::TEXT, text);
    }
    if let Some(number) = text.strip_prefix("dword:") {
        let number = u32::from_str_radix(number, 16).ok()?;
        return Some(RegistryValue {
            kind: RegistryValue::DWORD,
            data: number.to_le_bytes().into(),
        });
    }
    if let Some(rest) = text.strip_prefix("str(") {
        let (kind, rest) = rest.split_once("):")?;
        return of_text(u32::from_str_radix(kind, 16).ok()?, rest);
    }
    let rest = text.strip_prefix("hex")?;
    let (kind, rest) = match rest.strip_prefix('(') {
        Some(rest) => {
            let (kind, rest) = rest.split_once("):")?;
            (u32::from_str_radix(kind, 16).ok()?, rest)
        }
        None => (RegistryValue::BINARY, rest.strip_prefix(':')?),
    };
    let bytes = rest.split(',').map(str::trim).filter(|byte| !byte.is_empty());
    let data = bytes.map(|byte| u8::from_str_radix(byte, 16).ok()).collect::<Option<_>>()?;
    Some(RegistryValue { kind, data })
}

#[cfg(test)]
mod tests {
    use model::{RegistryKey, RegistryValue};

    use super::Registry;

    const TEXT: &str = "WINE REGISTRY Version 2\n;; All keys relative to REGISTRY\\\\Machine\n\n#arch=win64\n\n\
        [Software\\\\X\\\\a\\[b\\]] 1795240878\n#time=1dd797db99e53d8\n@=\"C:\\\\x \\\"y\\\"\"\n\
        \"d\"=dword:0000000a\n\"e\"=str(2):\"%P%\\x20ac\"\n\"m\"=str(7):\"a\\0b\\0\"\n\
        \"h\"=hex(20001):00,\\\n  ff\n\"z\"=hex(0):\n\n[System\\\\ControlSet001\\\\Services\\\\S] 1\n\n\
        [System\\\\CurrentControlSet] 1\n#link\n\"SymbolicLinkValue\"=hex(6):5c,00\n";

    #[test]
    fn what_differs_is_told_in_the_order_of_places() {
        let key = |text: &str| RegistryKey::new(text).unwrap();
        let text = |text: &str| RegistryValue::text(RegistryValue::TEXT, text);
        let value = |name: &str, said: &str| (name.to_owned(), text(said));
        let mut before = Registry::default();
        before.add(&key(r"HKLM\A\Gone"), [value("x", "1")]);
        before.add(&key(r"HKLM\A\Stays"), [value("same", "1"), value("other", "1")]);
        let mut after = Registry::default();
        after.add(&key(r"hklm\a\stays"), [value("SAME", "1"), value("other", "2")]);
        after.add(&key(r"HKLM\B"), []);
        let changes = before.changes(&after);
        let told: Vec<_> = changes
            .iter()
            .map(|one| (one.setting.to_string(), one.before.is_some(), one.after.is_some()))
            .collect();
        insta::assert_debug_snapshot!(told, @r#"
        [
            (
                "key `HKLM\\A\\Gone`",
                true,
                false,
            ),
            (
                "value `x` of `HKLM\\A\\Gone`",
                true,
                false,
            ),
            (
                "value `other` of `HKLM\\a\\stays`",
                true,
                true,
            ),
            (
                "key `HKLM\\B`",
                false,
                true,
            ),
        ]
        "#);
        assert!(after.changes(&after.clone()).is_empty());
    }

    #[test]
    fn every_form_of_value_is_read() {
        let mut registry = Registry::default();
        registry.read("HKLM", TEXT).unwrap();
        let key = RegistryKey::new(r"HKLM\Software\X\a[b]").unwrap();
        let value = |name: &str| registry.value(&key, name).unwrap().clone();
        assert_eq!(value("").as_text().unwrap(), r#"C:\x "y""#);
        assert_eq!(value("D"), RegistryValue { kind: 4, data: vec![10, 0, 0, 0] });
        assert_eq!(value("e"), RegistryValue::text(2, "%P%€"));
        assert_eq!(value("m").as_list().unwrap(), ["a", "b"]);
        assert_eq!(value("h"), RegistryValue { kind: 0x20001, data: vec![0, 0xFF] });
        assert_eq!(value("z"), RegistryValue { kind: 0, data: vec![] });
        let service = RegistryKey::new(r"HKLM\System\CurrentControlSet\Services\S").unwrap();
        assert!(registry.has_key(&service));
        let error = Registry::default().read("HKLM", "x").unwrap_err();
        insta::assert_snapshot!(error, @"line 1 of the registry is damaged: it is not Wine's, version 2");
    }
}
