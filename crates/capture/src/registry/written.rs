//! A registry written as Wine keeps one: what another look is compared with later.

use std::io::{self, Write};

use model::{MachinePath, RegistryKey, RegistryValue};

use super::Registry;

impl Registry {
    /// Writes all keys below `hive`, and itself, as [`Registry::read`] reads them.
    ///
    /// # Errors
    /// `out` fails.
    pub fn write(&self, hive: &RegistryKey, out: &mut dyn Write) -> io::Result<()> {
        let top = hive.place();
        let above = hive.as_str().split('\\').count();
        writeln!(out, "WINE REGISTRY Version 2")?;
        for (_, held) in self.keys.iter().filter(|(place, _)| place.is_within(&top)) {
            let names: Vec<&str> = held.key.as_str().split('\\').skip(above).collect();
            write!(out, "\n[")?;
            escaped(&names.join("\\"), &['[', ']'], out)?;
            writeln!(out, "] 0")?;
            for (name, value) in held.values.values() {
                if name.is_empty() {
                    write!(out, "@=")?;
                } else {
                    write!(out, "\"")?;
                    escaped(name, &['"'], out)?;
                    write!(out, "\"=")?;
                }
                write_value(value, out)?;
            }
        }
        Ok(())
    }

    /// Forgets the keys at these places, with all below them: nothing is known of them.
    pub fn forget(&mut self, unknown: &[MachinePath]) {
        if !unknown.is_empty() {
            self.keys.retain(|place, _| !unknown.iter().any(|one| place.is_within(one)));
        }
    }
}

fn write_value(value: &RegistryValue, out: &mut dyn Write) -> io::Result<()> {
    let RegistryValue { kind, data } = value;
    if let (&RegistryValue::DWORD, &[a, b, c, d]) = (kind, &data[..]) {
        return writeln!(out, "dword:{:08x}", u32::from_le_bytes([a, b, c, d]));
    }
    let is_text = [RegistryValue::TEXT, RegistryValue::EXPAND].contains(kind);
    if let Some(text) = is_text.then(|| value.as_text()).flatten() {
        match *kind {
            RegistryValue::TEXT => write!(out, "\"")?,
            kind => write!(out, "str({kind:x}):\"")?,
        }
        escaped(&text, &['"'], out)?;
        return writeln!(out, "\"");
    }
    write!(out, "hex({kind:x}):")?;
    for (index, byte) in data.iter().enumerate() {
        write!(out, "{}{byte:02x}", if index == 0 { "" } else { "," })?;
    }
    writeln!(out)
}

/// A text in which what would end a line or itself is told by its number.
fn escaped(text: &str, also: &[char], out: &mut dyn Write) -> io::Result<()> {
    for letter in text.chars() {
        match letter {
            '\\' => write!(out, "\\\\")?,
            letter if also.contains(&letter) => write!(out, "\\{letter}")?,
            letter if letter.is_control() => write!(out, "\\x{:04x}", u32::from(letter))?,
            letter => write!(out, "{letter}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::{MachinePath, RegistryKey, RegistryValue};
    use proptest::prelude::*;

    use super::Registry;

    fn back(registry: &Registry, hive: &str) -> Registry {
        let mut text = Vec::new();
        registry.write(&RegistryKey::new(hive).unwrap(), &mut text).unwrap();
        let mut read = Registry::default();
        read.read(hive, std::str::from_utf8(&text).unwrap()).unwrap();
        read
    }

    #[test]
    fn what_nobody_could_read_is_forgotten_with_all_below() {
        let key = |text: &str| RegistryKey::new(text).unwrap();
        let mut registry = Registry::default();
        registry.add(&key(r"HKLM\SAM\SAM\Domains"), []);
        registry.add(&key(r"HKLM\SAMPLE"), []);
        registry.forget(&[key(r"HKLM\SAM").place()]);
        assert!(!registry.has_key(&key(r"HKLM\SAM")) && registry.has_key(&key(r"HKLM\SAMPLE")));
        registry.forget(&[MachinePath::root()]);
        assert_eq!(registry.count(), 0);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            all in proptest::collection::vec(
                ("[^\\\\\0]{1,9}", "[^\0]{0,9}", 0_u32..12, proptest::collection::vec(any::<u8>(), 0..9)),
                0..9,
            ),
            texts in proptest::collection::vec("[^\0]{0,9}", 0..9),
        ) {
            let mut registry = Registry::default();
            registry.add(&RegistryKey::new("HKCU").unwrap(), []);
            for (key, name, kind, data) in all {
                let Ok(key) = RegistryKey::new(&format!(r"HKCU\a]\{key}")) else { continue };
                registry.add(&key, [(name, RegistryValue { kind, data })]);
            }
            for (number, text) in texts.iter().enumerate() {
                let key = RegistryKey::new(&format!(r"HKCU\{number}")).unwrap();
                let kinds = [RegistryValue::TEXT, RegistryValue::EXPAND, RegistryValue::DWORD];
                let values = kinds.map(|kind| (format!("{kind}"), RegistryValue::text(kind, text)));
                registry.add(&key, values);
            }
            prop_assert_eq!(back(&registry, "HKCU"), registry);
        }
    }
}
