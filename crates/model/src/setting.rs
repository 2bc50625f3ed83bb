//! What a machine keeps apart from its files, by name: registry keys and their values.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{MachinePath, Recovery};

/// A key of the registry in its one true place: `HKLM\SOFTWARE\X` is what 64-bit programs see, and what
/// 32-bit programs see as that stands below `HKLM\SOFTWARE\WOW6432Node`. Case is kept, and means nothing.
#[derive(Clone, Debug, Encode, Decode, Serialize, Deserialize)]
#[serde(transparent)]
#[cbor(transparent)]
pub struct RegistryKey(#[n(0)] Box<str>);

/// Text that is no registry key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no registry key: begin it with `HKLM\\`, `HKCU\\` or `HKU\\`, and leave no name empty"
)]
pub struct InvalidKey {
    text: String,
}

/// A registry value as it is stored: the number of its type, and its bytes, whatever they are.
#[derive(Clone, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct RegistryValue {
    /// The type's number: 1 is text, 4 a number of 32 bits; any other may come.
    #[n(0)]
    pub kind: u32,
    /// The bytes.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub data: Vec<u8>,
}

/// A place that holds a setting.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// A registry key, apart from what it holds.
    #[n(0)]
    Key(#[n(0)] RegistryKey),
    /// A value of a registry key; the default value has the empty name.
    #[n(1)]
    Value {
        /// The key.
        #[n(0)]
        key: RegistryKey,
        /// The name, case kept.
        #[n(1)]
        name: Box<str>,
    },
    /// A service or driver, as the service control manager knows it.
    #[n(2)]
    Service(#[n(0)] Box<str>),
    /// A scheduled task, by its place among the scheduler's: `\Vendor\Update`.
    #[n(3)]
    Task(#[n(0)] Box<str>),
}

/// What a setting is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingState {
    /// The key exists.
    #[n(0)]
    Key,
    /// The value.
    #[n(1)]
    Value(#[n(0)] RegistryValue),
    /// How the service is set up.
    #[n(2)]
    Service(#[n(0)] Box<ServiceSetup>),
    /// What the task does and when, as [`plain_task`](crate::plain_task) has it.
    #[n(3)]
    Task(#[n(0)] Box<str>),
}

/// How a Windows service or driver is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct ServiceSetup {
    /// `SERVICE_WIN32_OWN_PROCESS` is 16, a kernel driver 1: the number the service control manager has for it.
    #[n(0)]
    pub kind: u32,
    /// When it starts: boot 0, system 1, automatic 2, manual 3, disabled 4.
    #[n(1)]
    pub start: u32,
    /// What a failure to start does to the machine's start: ignored 0, normal 1, severe 2, critical 3.
    #[n(2)]
    pub error: u32,
    /// The command line or the driver's file.
    #[n(3)]
    pub program: String,
    /// What people see.
    #[n(4)]
    pub display_name: String,
    /// One sentence about it.
    #[n(5)]
    pub description: String,
    /// Who it runs as; empty is the machine itself.
    #[n(6)]
    pub account: String,
    /// Services, and groups behind a `+`, it needs.
    #[n(7)]
    pub dependencies: Vec<String>,
    /// The group it is started with.
    #[n(8)]
    pub group: String,
    /// Whether it starts after the others; `None` where the machine does not say, or for a driver.
    #[n(9)]
    pub delayed: Option<bool>,
    /// What follows when it fails, and the command line of that; `None` where the machine does not say, or for a driver.
    #[n(10)]
    pub recovery: Option<Box<(Recovery, String)>>,
}

const HIVES: [(&str, &str); 3] =
    [("HKLM", "HKEY_LOCAL_MACHINE"), ("HKCU", "HKEY_CURRENT_USER"), ("HKU", "HKEY_USERS")];

impl RegistryKey {
    /// Reads a key; long and short names of hives mean the same.
    pub fn new(text: &str) -> Result<Self, InvalidKey> {
        let refuse = || InvalidKey { text: text.to_owned() };
        let text = text.strip_suffix('\\').unwrap_or(text);
        let mut parts = text.split('\\');
        let first = parts.next().unwrap_or_default();
        let (hive, _) = HIVES
            .iter()
            .find(|(short, long)| {
                first.eq_ignore_ascii_case(short) || first.eq_ignore_ascii_case(long)
            })
            .ok_or_else(refuse)?;
        let mut key = (*hive).to_owned();
        for part in parts {
            if part.is_empty() || part.contains('\0') {
                return Err(refuse());
            }
            key.push('\\');
            key.push_str(part);
        }
        Ok(Self(key.into()))
    }

    /// The key as text, its hive by its short name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the service control manager keeps services and drivers, each in a key of its own.
    pub fn of_services() -> Self {
        Self(r"HKLM\SYSTEM\CurrentControlSet\Services".into())
    }

    /// The service that is kept in this very key.
    pub fn service(&self) -> Option<&str> {
        self.parent().is_some_and(|above| above == Self::of_services()).then(|| self.name())
    }

    /// The hive, `HKLM`, and the rest, without a backslash between.
    pub fn divided(&self) -> (&str, &str) {
        self.0.split_once('\\').unwrap_or((&self.0, ""))
    }

    /// The key above, or `None` for a hive.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('\\').map(|(parent, _)| Self(parent.into()))
    }

    /// The last name.
    pub fn name(&self) -> &str {
        self.0.rsplit('\\').next().unwrap_or_default()
    }

    /// The key of this name below.
    pub fn child(&self, name: &str) -> Self {
        Self(format!("{}\\{name}", self.0).into())
    }

    /// Whether this is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        let (own, other) = (self.folded(), other.folded());
        own.strip_prefix(&other).is_some_and(|rest| rest.is_empty() || rest.starts_with('\\'))
    }

    /// The place of the key, as [`Setting::path`] has it.
    pub fn place(&self) -> MachinePath {
        let mut path = Vec::with_capacity(self.0.len() + 32);
        path.extend(b"/registry\\");
        for name in self.0.split('\\') {
            path.push(b'/');
            push_part(&mut path, name);
            path.push(b'\\');
        }
        MachinePath::of_parts(path)
    }

    fn place_of_value(place: &MachinePath, name: &str) -> MachinePath {
        let mut path = Vec::with_capacity(place.as_bytes().len() + name.len() + 8);
        path.extend(place.as_bytes());
        path.extend(b"/=");
        push_part(&mut path, name);
        MachinePath::of_parts(path)
    }

    /// A name of a key or value as it is whatever its case.
    pub fn fold(name: &str) -> String {
        fold(name)
    }

    fn folded(&self) -> String {
        fold(&self.0)
    }
}

/// Names that differ in case alone are one name.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().flat_map(char::to_lowercase).collect()
}

/// A name as a part of a path, behind what is there already.
fn push_part(path: &mut Vec<u8>, name: &str) {
    let mut push = |byte: u8| match byte {
        b'%' => path.extend(b"%25"),
        b'/' => path.extend(b"%2f"),
        0 => path.extend(b"%00"),
        byte => path.push(byte.to_ascii_lowercase()),
    };
    if name.is_ascii() {
        name.bytes().for_each(&mut push);
    } else {
        fold(name).bytes().for_each(&mut push);
    }
}

impl PartialEq for RegistryKey {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.folded() == other.folded()
    }
}

impl Eq for RegistryKey {}

impl std::hash::Hash for RegistryKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl PartialOrd for RegistryKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RegistryKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // A key comes right before what it holds.
        self.folded().split('\\').cmp(other.folded().split('\\'))
    }
}

impl Setting {
    /// A value of a key.
    pub fn value(key: &RegistryKey, name: &str) -> Self {
        Self::Value { key: key.clone(), name: name.into() }
    }

    /// The place as a path, one and the same for names that differ in case alone: what journals and receipts
    /// find it by. No file has such a path on Windows.
    pub fn path(&self) -> MachinePath {
        let of_kind = |kind: &[u8], name: &str| {
            let mut path = kind.to_vec();
            push_part(&mut path, name);
            MachinePath::new(path).unwrap_or_else(|_| MachinePath::root())
        };
        match self {
            Self::Key(key) => key.place(),
            Self::Value { key, name } => RegistryKey::place_of_value(&key.place(), name),
            Self::Service(name) => of_kind(b"/services\\/", name),
            Self::Task(name) => of_kind(b"/tasks\\/", name),
        }
    }

    /// The key this is, or is in.
    pub fn key(&self) -> Option<&RegistryKey> {
        match self {
            Self::Key(key) | Self::Value { key, .. } => Some(key),
            Self::Service(_) | Self::Task(_) => None,
        }
    }
}

impl fmt::Display for RegistryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key `{key}`"),
            Self::Value { key, name } if name.is_empty() => write!(f, "default value of `{key}`"),
            Self::Value { key, name } => write!(f, "value `{name}` of `{key}`"),
            Self::Service(name) => write!(f, "service `{name}`"),
            Self::Task(name) => write!(f, "scheduled task `{name}`"),
        }
    }
}

impl fmt::Debug for RegistryValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type {:#x}, {} bytes", self.kind, self.data.len())?;
        if self.data.len() <= 64 { write!(f, " {:02x?}", self.data) } else { Ok(()) }
    }
}

impl RegistryValue {
    /// `REG_SZ`
    pub const TEXT: u32 = 1;
    /// `REG_EXPAND_SZ`
    pub const EXPAND: u32 = 2;
    /// `REG_BINARY`
    pub const BINARY: u32 = 3;
    /// `REG_DWORD`
    pub const DWORD: u32 = 4;
    /// `REG_MULTI_SZ`
    pub const LIST: u32 = 7;
    /// `REG_QWORD`
    pub const QWORD: u32 = 11;

    /// Text of type `kind`, ended by a zero.
    pub fn text(kind: u32, text: &str) -> Self {
        Self { kind, data: wide(text).chain([0]).flat_map(u16::to_le_bytes).collect() }
    }

    /// A list: each text ended by a zero, and a zero behind all.
    pub fn list<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let data = texts.into_iter().flat_map(|text| wide(text).chain([0])).chain([0]);
        Self { kind: Self::LIST, data: data.flat_map(u16::to_le_bytes).collect() }
    }

    /// The text, if this is text in the very form [`text`](Self::text) gives it.
    pub fn as_text(&self) -> Option<String> {
        let text = String::from_utf16(&self.words()?).ok()?;
        let text = text.strip_suffix('\0')?;
        (!text.contains('\0')).then(|| text.to_owned())
    }

    /// The texts, if this is a list in the very form [`list`](Self::list) gives it.
    pub fn as_list(&self) -> Option<Vec<String>> {
        let text = String::from_utf16(&self.words()?).ok()?;
        let mut texts: Vec<String> = text.split('\0').map(str::to_owned).collect();
        // What follows the last zero, and what stands between the last two.
        (texts.pop()?.is_empty() && texts.pop()?.is_empty()).then_some(texts)
    }

    fn words(&self) -> Option<Vec<u16>> {
        let (words, rest) = self.data.as_chunks::<2>();
        rest.is_empty().then(|| words.iter().map(|word| u16::from_le_bytes(*word)).collect())
    }
}

fn wide(text: &str) -> impl Iterator<Item = u16> {
    text.encode_utf16()
}

#[cfg(test)]
mod tests {
    use super::{RegistryKey, RegistryValue, Setting};

    #[test]
    fn keys_are_one_whatever_their_case() {
        let key = |text: &str| RegistryKey::new(text).unwrap();
        assert_eq!(key(r"HKEY_LOCAL_MACHINE\Software\X"), key(r"hklm\SOFTWARE\x\"));
        assert!(key(r"HKLM\A\B").is_within(&key(r"HKLM\a")));
        assert!(!key(r"HKLM\AB").is_within(&key(r"HKLM\A")));
        assert!(RegistryKey::new(r"HKLM\\X").is_err() && RegistryKey::new("X").is_err());
        let path = |name: &str| Setting::value(&key(r"HKLM\A/b"), name).path();
        assert_eq!(path("X"), path("x"));
        assert_ne!(path(""), Setting::Key(key(r"HKLM\A/b")).path());
        assert_ne!(path("c"), Setting::Key(key(r"HKLM\A/b\=c")).path());
    }

    /// Empty lists, empty texts within, and what has no end stay what they are (Q235782).
    #[test]
    fn q235782_odd_lists_are_no_lists() {
        let raw = |words: &[u16]| RegistryValue {
            kind: 7,
            data: words.iter().flat_map(|word| word.to_le_bytes()).collect(),
        };
        assert_eq!(RegistryValue::list(["a", "b"]).as_list().unwrap(), ["a", "b"]);
        assert_eq!(RegistryValue::list([]).as_list().unwrap(), Vec::<String>::new());
        assert_eq!(RegistryValue::list(["a", "", "b"]).as_list().unwrap(), ["a", "", "b"]);
        for odd in [&[][..], &[0x61, 0], &[0x61], &[0xD800, 0, 0]] {
            let value = raw(odd);
            let back = value.as_list().map(|list| RegistryValue::list(list.iter().map(|s| &**s)));
            assert!(back.is_none_or(|back| back == value), "{odd:?}");
        }
        for odd in [&[][..], &[0x61], &[0x61, 0, 0x62, 0], &[0, 0]] {
            assert_eq!(RegistryValue { kind: 1, ..raw(odd) }.as_text(), None, "{odd:?}");
        }
    }
}
