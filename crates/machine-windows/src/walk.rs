//! The registry walked from its hives: every key and value once, whichever of the two views it is seen in.
//!
//! Another name of a key, a link, is not followed: what 32-bit programs see stands below `WOW6432Node` once, and the
//! set of services in force is `CurrentControlSet`, as whoever names one does. Sets that are not in force are left out.

use std::{io, ptr};

use model::{RegistryKey, RegistryValue, Setting, SettingState};
use windows_sys::Win32::{
    Foundation::{ERROR_ACCESS_DENIED, ERROR_FILE_NOT_FOUND, ERROR_MORE_DATA, ERROR_NO_MORE_ITEMS},
    System::Registry::{
        HKEY, HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE, HKEY_USERS, KEY_READ, KEY_WOW64_64KEY,
        REG_LINK, REG_OPTION_OPEN_LINK, RegEnumKeyExW, RegEnumValueW, RegOpenKeyExW,
        RegQueryInfoKeyW,
    },
};

use crate::{
    names::wide,
    registry::{self, Key, code},
};

/// Where walks begin: the interface's root, the name of the key below it, and the key's name here.
const HIVES: [(HKEY, &str, &str); 3] = [
    (HKEY_LOCAL_MACHINE, "", "HKLM"),
    (HKEY_CURRENT_USER, "", "HKCU"),
    (HKEY_USERS, ".DEFAULT", r"HKU\.DEFAULT"),
];
/// Letters of the longest name of a value, and its zero ([Registry Element Size Limits]).
const NAME: usize = 16_384;
/// What the value is called that makes a key a link.
const LINK: &str = "SymbolicLinkValue";
/// Below `HKCU`, what leads to `HKU\\SID_Classes`: a hive of its own, `UsrClass.dat`.
const CLASSES: &str = r"Software\Classes";

/// A key with what it holds itself.
#[derive(Debug)]
pub struct WalkedKey {
    /// The key.
    pub key: RegistryKey,
    /// Its values by their names, in the order the interface has them.
    pub values: Vec<(String, RegistryValue)>,
}

/// A key or value that could not be read, and why: it may hold anything.
#[derive(Debug)]
pub struct Unread {
    /// The key, or the key the value is in.
    pub key: RegistryKey,
    /// Why.
    pub reason: io::Error,
}

/// Walks the registry; `visit` gets each key before those below it. Answers what could not be read.
///
/// # Errors
/// With what the interface says of a hive itself; what is below and refused is in the answer.
pub fn walk_registry(visit: &mut dyn FnMut(WalkedKey)) -> io::Result<Vec<Unread>> {
    let mut walk = Walk {
        name: vec![0; NAME],
        data: vec![0; 4096],
        set: current_set()?,
        unread: Vec::new(),
        visit,
    };
    for (root, below, name) in HIVES {
        let key = RegistryKey::new(name).map_err(io::Error::other)?;
        if let Some(open) = open(root, &wide(below))? {
            walk.key(&open, key);
        }
    }
    Ok(walk.unread)
}

struct Walk<'v> {
    name: Vec<u16>,
    data: Vec<u8>,
    /// The set of services in force: `ControlSet001`.
    set: String,
    unread: Vec<Unread>,
    visit: &'v mut dyn FnMut(WalkedKey),
}

impl Walk<'_> {
    fn key(&mut self, open_key: &Key, key: RegistryKey) {
        let looked =
            counts(open_key).and_then(|(keys, values)| Ok((keys, self.values(open_key, values)?)));
        let (keys, values) = match looked {
            Ok((keys, Some(values))) => (keys, values),
            // It stands elsewhere under its own name; but for the user's classes, whose own hive is no key of `HKCU`.
            Ok((_, None)) if is_classes(&key) => {
                return match led(HKEY_CURRENT_USER, &wide(CLASSES)) {
                    Ok(Some(led)) => self.key(&led, key),
                    Ok(None) => {}
                    Err(reason) => self.unread.push(Unread { key, reason }),
                };
            }
            Ok((_, None)) => return,
            Err(reason) => return self.unread.push(Unread { key, reason }),
        };
        let below = match self.below(open_key, keys) {
            Ok(below) => below,
            Err(reason) => {
                self.unread.push(Unread { key: key.clone(), reason });
                Vec::new()
            }
        };
        (self.visit)(WalkedKey { key: key.clone(), values });
        let holds_sets = key.as_str().eq_ignore_ascii_case(r"HKLM\SYSTEM");
        for name in below {
            let Ok(text) = String::from_utf16(&name[..name.len() - 1]) else {
                let reason = "it holds a key whose name is no text";
                let reason = io::Error::new(io::ErrorKind::InvalidData, reason);
                self.unread.push(Unread { key: key.clone(), reason });
                continue;
            };
            let inner = match () {
                () if holds_sets && text.eq_ignore_ascii_case(&self.set) => {
                    key.child("CurrentControlSet")
                }
                () if holds_sets && is_set(&text) => continue,
                () => key.child(&text),
            };
            match open(open_key.0, &name) {
                Ok(Some(opened)) => self.key(&opened, inner),
                // Gone since its name was read.
                Ok(None) => {}
                Err(reason) => self.unread.push(Unread { key: inner, reason }),
            }
        }
    }

    /// The values of a key, or `None` of a link.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn values(&mut self, key: &Key, most: u32) -> io::Result<Option<Vec<(String, RegistryValue)>>> {
        let mut all = Vec::with_capacity(most as usize);
        loop {
            let index = count(all.len());
            if index == most {
                return Ok(Some(all));
            }
            let (mut letters, mut kind) = (count(self.name.len()), 0);
            let mut bytes = count(self.data.len());
            // SAFETY: the key is open, and both buffers are as long as we say.
            let answer = unsafe {
                RegEnumValueW(
                    key.0,
                    index,
                    self.name.as_mut_ptr(),
                    &raw mut letters,
                    ptr::null(),
                    &raw mut kind,
                    self.data.as_mut_ptr(),
                    &raw mut bytes,
                )
            };
            match answer {
                ERROR_NO_MORE_ITEMS => return Ok(Some(all)),
                ERROR_MORE_DATA => {
                    let length = (bytes as usize).max(self.data.len() * 2);
                    self.data.resize(length, 0);
                }
                other => {
                    code(other)?;
                    let name = String::from_utf16(&self.name[..letters as usize])
                        .map_err(|_| io::Error::other("a value's name is no text"))?;
                    if kind == REG_LINK && name == LINK {
                        return Ok(None);
                    }
                    let data = self.data[..bytes as usize].to_vec();
                    all.push((name, RegistryValue { kind, data }));
                }
            }
        }
    }

    /// The names of the keys right below one, each with its zero.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn below(&mut self, key: &Key, most: u32) -> io::Result<Vec<Vec<u16>>> {
        let mut all: Vec<Vec<u16>> = Vec::with_capacity(most as usize);
        loop {
            let index = count(all.len());
            if index == most {
                return Ok(all);
            }
            let mut letters = count(self.name.len());
            // SAFETY: the key is open, and the buffer is as long as we say.
            let answer = unsafe {
                RegEnumKeyExW(
                    key.0,
                    index,
                    self.name.as_mut_ptr(),
                    &raw mut letters,
                    ptr::null(),
                    ptr::null_mut(),
                    ptr::null_mut(),
                    ptr::null_mut(),
                )
            };
            if answer == ERROR_NO_MORE_ITEMS {
                return Ok(all);
            }
            code(answer)?;
            all.push(self.name[..letters as usize].iter().copied().chain([0]).collect());
        }
    }
}

/// How many keys are right below one, and how many values it has.
#[expect(unsafe_code, reason = "the interface is unsafe")]
fn counts(key: &Key) -> io::Result<(u32, u32)> {
    let (mut keys, mut values) = (0, 0);
    // SAFETY: the key is open, the numbers are on this stack, and nothing else is asked for.
    let answer = unsafe {
        RegQueryInfoKeyW(
            key.0,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null(),
            &raw mut keys,
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut values,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    code(answer).map(|()| (keys, values))
}

fn is_classes(key: &RegistryKey) -> bool {
    let (root, below) = key.divided();
    root == "HKCU" && below.eq_ignore_ascii_case(CLASSES)
}

/// A key as itself, a link as the link it is; `None` where there is none.
fn open(root: HKEY, name: &[u16]) -> io::Result<Option<Key>> {
    opened(root, name, REG_OPTION_OPEN_LINK)
}

/// The key a link leads to.
fn led(root: HKEY, name: &[u16]) -> io::Result<Option<Key>> {
    opened(root, name, 0)
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn opened(root: HKEY, name: &[u16], options: u32) -> io::Result<Option<Key>> {
    let mut handle: HKEY = ptr::null_mut();
    let access = KEY_READ | KEY_WOW64_64KEY;
    // SAFETY: the name ends with a zero, and the handle is on this stack.
    let answer = unsafe { RegOpenKeyExW(root, name.as_ptr(), options, access, &raw mut handle) };
    match answer {
        ERROR_FILE_NOT_FOUND => Ok(None),
        ERROR_ACCESS_DENIED => Err(io::ErrorKind::PermissionDenied.into()),
        other => code(other).map(|()| Some(Key(handle))),
    }
}

/// The set of services in force, by its own name.
fn current_set() -> io::Result<String> {
    let key = RegistryKey::new(r"HKLM\SYSTEM\Select").map_err(io::Error::other)?;
    let number = match registry::look(&Setting::value(&key, "Current"))? {
        Some(SettingState::Value(value)) => value.data.first().copied().unwrap_or(1),
        // Wine has one set and says nothing of it.
        _ => 1,
    };
    Ok(format!("ControlSet{number:03}"))
}

/// Whether a key below `HKLM\SYSTEM` is a set of services.
fn is_set(name: &str) -> bool {
    name.len() == 13
        && name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("ControlSet"))
        && name[10..].bytes().all(|digit| digit.is_ascii_digit())
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
