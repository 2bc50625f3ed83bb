//! A database coming to be.

use std::collections::BTreeMap;

use package::Header;

use super::{
    database::{Database, Value},
    places::{Directories, Texts},
};
use crate::Remark;

/// It is of 64 bits.
const WIDE: i32 = 256;
/// Its key path is a row of `Registry`.
const BY_REGISTRY: i32 = 4;
/// Components a feature may have: no Windows Installer takes more than 1,600.
const PER_FEATURE: usize = 1000;
/// A feature that goes where the one above it goes, and cannot be left out.
const FOLLOWS: i32 = 2 + 16;
/// The feature that is all.
const ALL: &str = "All";

/// Everything but content, as it is found out.
pub(super) struct Draft<'h> {
    pub(super) header: &'h Header,
    pub(super) texts: Texts<'h>,
    pub(super) directories: Directories,
    pub(super) database: Database,
    pub(super) remarks: Vec<Remark>,
    pub(super) refusals: Vec<Remark>,
    /// In the order of the records; `None` for what is no packed file.
    pub(super) files: Vec<Option<PackedFile>>,
    /// Keys of files by where they go, with their components.
    pub(super) installed: BTreeMap<(String, Vec<String>), (String, String)>,
    components: Vec<ComponentRow>,
    counts: BTreeMap<&'static str, usize>,
    /// What tells this product from others, whatever its version.
    seed: String,
}

/// A file of a cabinet.
#[derive(Clone, Debug)]
pub(super) struct PackedFile {
    pub(super) key: String,
    pub(super) length: u64,
    /// Seconds since 1970.
    pub(super) modified: i64,
}

struct ComponentRow {
    guid: String,
    directory: String,
    attributes: i32,
    key_path: Option<String>,
}

/// A component: its key, and which it is.
#[derive(Clone, Debug)]
pub(super) struct Component(pub(super) String, usize);

impl<'h> Draft<'h> {
    pub(super) fn new(header: &'h Header) -> Self {
        let mut database = Database::default();
        database.row("Directory", ["TARGETDIR".into(), Value::Nothing, "SourceDir".into()]);
        Self {
            header,
            texts: Texts::of(header),
            directories: Directories::default(),
            database,
            remarks: Vec::new(),
            refusals: Vec::new(),
            files: Vec::new(),
            installed: BTreeMap::new(),
            components: Vec::new(),
            counts: BTreeMap::new(),
            seed: header.name.as_str().to_owned(),
        }
    }

    pub(super) fn remark(&mut self, step: impl Into<Option<usize>>, text: impl Into<String>) {
        self.remarks.push(Remark::new(step, text));
    }

    pub(super) fn refuse(&mut self, step: impl Into<Option<usize>>, text: impl Into<String>) {
        self.refusals.push(Remark::new(step, text));
    }

    /// A key of its own: the letter and a number.
    pub(super) fn next(&mut self, letter: &'static str) -> String {
        let count = self.counts.entry(letter).or_default();
        *count += 1;
        format!("{letter}{count}")
    }

    /// A component; `seed` tells it from the product's others in every version.
    pub(super) fn component(&mut self, seed: &str, directory: &str, attributes: i32) -> Component {
        self.components.push(ComponentRow {
            guid: guid(&["component", &self.seed, seed]),
            directory: directory.to_owned(),
            attributes: attributes | WIDE,
            key_path: None,
        });
        let number = self.components.len();
        Component(format!("c{number}"), number - 1)
    }

    /// The file by which it is known whether a component is there.
    pub(super) fn key_path(&mut self, component: &Component, file: &str) {
        if let Some(row) = self.components.get_mut(component.1) {
            row.key_path = Some(file.to_owned());
        }
    }

    /// The row of `Registry` by which it is known whether a component is there.
    pub(super) fn registry_key_path(&mut self, component: &Component, row: &str) {
        self.key_path(component, row);
        if let Some(row) = self.components.get_mut(component.1) {
            row.attributes |= BY_REGISTRY;
        }
    }

    /// The rows of components, and of the features they are in.
    pub(super) fn finish_components(&mut self, title: &str) {
        let feature = |key: &str, above: Option<&str>, attributes: i32| {
            let title = if above.is_none() { title } else { key };
            let (nothing, hidden, level) = (Value::Nothing, Value::from(0), Value::from(1));
            let attributes = Value::from(attributes);
            let (key, above, title) = (key.into(), above.into(), title.into());
            [key, above, title, nothing.clone(), hidden, level, nothing, attributes]
        };
        self.database.row("Feature", feature(ALL, None, 0));
        for (number, component) in self.components.iter().enumerate() {
            let part = match number / PER_FEATURE {
                0 => ALL.to_owned(),
                part => format!("Part{}", part + 1),
            };
            if number > 0 && number % PER_FEATURE == 0 {
                self.database.row("Feature", feature(&part, Some(ALL), FOLLOWS));
            }
            let key = format!("c{}", number + 1);
            self.database.row("FeatureComponents", [part.into(), (&key).into()]);
            let row = [
                key.into(),
                (&component.guid).into(),
                (&component.directory).into(),
                component.attributes.into(),
                Value::Nothing,
                component.key_path.as_ref().into(),
            ];
            self.database.row("Component", row);
        }
    }
}

/// An identifier made of words: the same words make the same one.
pub(super) fn guid(words: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("packhorse msi 1");
    for word in words {
        hasher.update(&(word.len() as u64).to_le_bytes());
        hasher.update(word.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    // RFC 9562: version 8, which is the maker's own.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| &digits[range]);
    format!("{{{}}}", groups.join("-"))
}
