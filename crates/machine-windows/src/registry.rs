//! The registry: always as 64-bit programs see it, so that every key has one place.

use std::{io, ptr};

use model::{RegistryKey, RegistryValue, Setting, SettingState};
use windows_sys::Win32::{
    Foundation::{ERROR_FILE_NOT_FOUND, ERROR_MORE_DATA, ERROR_NO_MORE_ITEMS, ERROR_SUCCESS},
    System::Registry::{
        HKEY, HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE, HKEY_USERS, KEY_READ, KEY_WOW64_64KEY,
        KEY_WRITE, REG_OPTION_NON_VOLATILE, RegCloseKey, RegCreateKeyExW, RegDeleteKeyExW,
        RegDeleteValueW, RegEnumKeyExW, RegEnumValueW, RegFlushKey, RegOpenKeyExW,
        RegQueryValueExW, RegSetValueExW,
    },
};

use crate::{hives, names::wide};

/// An open key, closed with this.
pub(crate) struct Key(pub(crate) HKEY);

impl Drop for Key {
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn drop(&mut self) {
        // SAFETY: the key is ours and open.
        unsafe { RegCloseKey(self.0) };
    }
}

/// What a key or value is.
pub(crate) fn look(setting: &Setting) -> io::Result<Option<SettingState>> {
    let Some(key) = setting.key() else { return Ok(None) };
    let Some(open) = open(key, KEY_READ)? else { return Ok(None) };
    match setting {
        Setting::Value { name, .. } => Ok(value(&open, name)?.map(SettingState::Value)),
        _ => Ok(Some(SettingState::Key)),
    }
}

/// The values, then the keys right below a key.
pub(crate) fn list(key: &RegistryKey) -> io::Result<Vec<Setting>> {
    let Some(open) = open(key, KEY_READ)? else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for values in [true, false] {
        let mut index = 0;
        while let Some(name) = name_at(&open, index, values)? {
            all.push(if values {
                Setting::value(key, &name)
            } else {
                Setting::Key(key.child(&name))
            });
            index += 1;
        }
    }
    Ok(all)
}

/// Makes a key or value what `state` says, or takes it away; a key that holds anything stays.
pub(crate) fn set(setting: &Setting, state: Option<&SettingState>) -> io::Result<()> {
    match (setting, state) {
        (Setting::Key(key), Some(_)) => create(key).map(|_| ()),
        (Setting::Key(key), None) => delete_key(key),
        (Setting::Value { key, name }, Some(SettingState::Value(value))) => {
            set_value(&create(key)?, name, value)
        }
        (Setting::Value { key, name }, _) => delete_value(key, name),
        (Setting::Service(_) | Setting::Task(_), _) => Ok(()),
    }
}

/// Returns once a hive is on disk.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub(crate) fn flush(hive: &RegistryKey) -> io::Result<()> {
    if hive.divided().1.is_empty() {
        // SAFETY: a root's handle is always open.
        return code(unsafe { RegFlushKey(root_of(hive)) });
    }
    match open(hive, KEY_READ)? {
        // SAFETY: the key is open.
        Some(open) => code(unsafe { RegFlushKey(open.0) }),
        None => Ok(()),
    }
}

/// The hive a key is in: a root, or of `HKU` the user's.
pub(crate) fn hive_of(key: &RegistryKey) -> Option<RegistryKey> {
    let (root, below) = key.divided();
    let user = below.split('\\').next().filter(|user| root == "HKU" && !user.is_empty());
    match user {
        Some(user) => RegistryKey::new(&format!(r"HKU\{user}")).ok(),
        None => RegistryKey::new(root).ok(),
    }
}

fn root_of(key: &RegistryKey) -> HKEY {
    match key.divided().0 {
        "HKCU" => HKEY_CURRENT_USER,
        "HKU" => HKEY_USERS,
        _ => HKEY_LOCAL_MACHINE,
    }
}

/// Where a key is: a root, and the way from it. The registry of a user who is not logged on is mounted for that.
fn place(key: &RegistryKey) -> io::Result<(HKEY, Vec<u16>)> {
    let (root, below) = key.divided();
    if root != "HKU" || below.is_empty() {
        return Ok((root_of(key), wide(below)));
    }
    let (user, rest) = below.split_once('\\').unwrap_or((below, ""));
    let user = hives::open_name(user)?;
    let below = if rest.is_empty() { user } else { format!(r"{user}\{rest}") };
    Ok((HKEY_USERS, wide(below)))
}

pub(crate) fn code(code: u32) -> io::Result<()> {
    if code == ERROR_SUCCESS {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code.cast_signed()))
    }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
pub(crate) fn open(key: &RegistryKey, access: u32) -> io::Result<Option<Key>> {
    let (root, path) = place(key)?;
    let mut handle: HKEY = ptr::null_mut();
    // SAFETY: the name ends with a zero, and the handle is on this stack.
    let answer =
        unsafe { RegOpenKeyExW(root, path.as_ptr(), 0, access | KEY_WOW64_64KEY, &raw mut handle) };
    match answer {
        ERROR_FILE_NOT_FOUND => Ok(None),
        other => code(other).map(|()| Some(Key(handle))),
    }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn create(key: &RegistryKey) -> io::Result<Key> {
    let (root, path) = place(key)?;
    let mut handle: HKEY = ptr::null_mut();
    // SAFETY: the name ends with a zero, and the handle is on this stack.
    code(unsafe {
        RegCreateKeyExW(
            root,
            path.as_ptr(),
            0,
            ptr::null(),
            REG_OPTION_NON_VOLATILE,
            KEY_READ | KEY_WRITE | KEY_WOW64_64KEY,
            ptr::null(),
            &raw mut handle,
            ptr::null_mut(),
        )
    })?;
    Ok(Key(handle))
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn delete_key(key: &RegistryKey) -> io::Result<()> {
    if !list(key)?.is_empty() {
        return Err(io::ErrorKind::DirectoryNotEmpty.into());
    }
    let (root, path) = place(key)?;
    // SAFETY: the name ends with a zero.
    match unsafe { RegDeleteKeyExW(root, path.as_ptr(), KEY_WOW64_64KEY, 0) } {
        ERROR_FILE_NOT_FOUND => Ok(()),
        other => code(other),
    }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn delete_value(key: &RegistryKey, name: &str) -> io::Result<()> {
    let Some(open) = open(key, KEY_WRITE)? else { return Ok(()) };
    // SAFETY: the key is open and the name ends with a zero.
    match unsafe { RegDeleteValueW(open.0, wide(name).as_ptr()) } {
        ERROR_FILE_NOT_FOUND => Ok(()),
        other => code(other),
    }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn set_value(key: &Key, name: &str, value: &RegistryValue) -> io::Result<()> {
    let length = u32::try_from(value.data.len()).map_err(io::Error::other)?;
    // Even of no bytes at all the address must be one that can be read.
    let data = if value.data.is_empty() { &[0][..] } else { &value.data };
    // SAFETY: the key is open, the name ends with a zero, and the data is as long as we say.
    code(unsafe {
        RegSetValueExW(key.0, wide(name).as_ptr(), 0, value.kind, data.as_ptr(), length)
    })
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn value(key: &Key, name: &str) -> io::Result<Option<RegistryValue>> {
    let name = wide(name);
    let mut data: Vec<u8> = vec![0; 256];
    loop {
        let (mut kind, mut length) = (0, u32::try_from(data.len()).unwrap_or(u32::MAX));
        // SAFETY: the key is open, the name ends with a zero, and the buffer is as long as we say.
        let answer = unsafe {
            RegQueryValueExW(
                key.0,
                name.as_ptr(),
                ptr::null(),
                &raw mut kind,
                data.as_mut_ptr(),
                &raw mut length,
            )
        };
        match answer {
            ERROR_FILE_NOT_FOUND => return Ok(None),
            ERROR_MORE_DATA => data.resize(length.max(1) as usize, 0),
            other => {
                code(other)?;
                data.truncate(length as usize);
                return Ok(Some(RegistryValue { kind, data }));
            }
        }
    }
}

/// The name of the value or key at a position.
#[expect(unsafe_code, reason = "the interface is unsafe")]
fn name_at(key: &Key, index: u32, of_value: bool) -> io::Result<Option<String>> {
    // Values have names of up to 16,383 letters, keys of up to 255.
    let mut name = vec![0_u16; 16_384];
    let mut length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    let (none, buffer) = (ptr::null_mut(), name.as_mut_ptr());
    // SAFETY: the key is open, and the buffer is as long as we say.
    let answer = unsafe {
        if of_value {
            RegEnumValueW(
                key.0,
                index,
                buffer,
                &raw mut length,
                ptr::null(),
                ptr::null_mut(),
                none,
                ptr::null_mut(),
            )
        } else {
            RegEnumKeyExW(
                key.0,
                index,
                buffer,
                &raw mut length,
                ptr::null(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        }
    };
    match answer {
        ERROR_NO_MORE_ITEMS => Ok(None),
        other => {
            code(other)?;
            Ok(Some(String::from_utf16_lossy(&name[..length as usize])))
        }
    }
}
