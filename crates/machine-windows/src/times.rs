//! How long the machine has been on, which start of it this is, and chance.

use std::{io, ptr, sync::OnceLock};

use windows_sys::Win32::{
    Foundation::ERROR_FILE_NOT_FOUND,
    Security::Cryptography::{BCRYPT_USE_SYSTEM_PREFERRED_RNG, BCryptGenRandom},
    System::{
        Registry::{
            HKEY_LOCAL_MACHINE, KEY_READ, KEY_WOW64_64KEY, KEY_WRITE, REG_OPTION_VOLATILE,
            REG_QWORD, RegCreateKeyExW, RegQueryValueExW, RegSetValueExW,
        },
        SystemInformation::GetTickCount64,
    },
};

use crate::{
    mutexes::Taken,
    names::wide,
    registry::{Key, code},
    services::is,
};

/// Keys that are gone once the machine is off: ours, and in it the one of this start. What others keep below ours may stay.
const KEYS: [&str; 2] = [r"SOFTWARE\Packhorse", r"SOFTWARE\Packhorse\Boot"];
/// Who writes it first is alone.
const ALONE: &str = r"Global\Packhorse boot";

/// Milliseconds since the machine started; they go on while it sleeps.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn since_start() -> u64 {
    // SAFETY: nothing is passed.
    unsafe { GetTickCount64() }
}

/// Any number; nothing, where the machine has none.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn random() -> Option<u64> {
    let mut bytes = [0; 8];
    let how = BCRYPT_USE_SYSTEM_PREFERRED_RNG;
    // SAFETY: there is room for eight bytes.
    let answer = unsafe { BCryptGenRandom(ptr::null_mut(), bytes.as_mut_ptr(), 8, how) };
    (answer == 0).then_some(u64::from_ne_bytes(bytes))
}

/// This start of the machine: a number nobody had before, until it is off.
///
/// # Errors
/// We may neither read nor write where it is kept.
pub fn this_start() -> io::Result<u64> {
    static KNOWN: OnceLock<u64> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(*known);
    }
    let found = kept()?;
    Ok(*KNOWN.get_or_init(|| found))
}

fn kept() -> io::Result<u64> {
    let _alone = Taken::make(ALONE)?;
    volatile(KEYS[0])?;
    let key = volatile(KEYS[1])?;
    if let Some(number) = number(&key)? {
        return Ok(number);
    }
    let fresh = random().ok_or_else(|| io::Error::other("the machine has no random numbers"))?;
    set_number(&key, fresh)?;
    Ok(fresh)
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn volatile(name: &str) -> io::Result<Key> {
    let mut key = ptr::null_mut();
    // SAFETY: the name ends with a zero, and the key that is written is on this stack.
    code(unsafe {
        RegCreateKeyExW(
            HKEY_LOCAL_MACHINE,
            wide(name).as_ptr(),
            0,
            ptr::null(),
            REG_OPTION_VOLATILE,
            KEY_READ | KEY_WRITE | KEY_WOW64_64KEY,
            ptr::null(),
            &raw mut key,
            ptr::null_mut(),
        )
    })?;
    Ok(Key(key))
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn number(key: &Key) -> io::Result<Option<u64>> {
    let (mut bytes, mut length) = ([0_u8; 8], 8);
    // SAFETY: the key is open, and there is as much room as we say.
    let answer = code(unsafe {
        RegQueryValueExW(
            key.0,
            ptr::null(),
            ptr::null(),
            ptr::null_mut(),
            bytes.as_mut_ptr(),
            &raw mut length,
        )
    });
    match answer {
        Ok(()) => Ok((length == 8).then_some(u64::from_le_bytes(bytes))),
        Err(error) if is(&error, ERROR_FILE_NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn set_number(key: &Key, number: u64) -> io::Result<()> {
    let bytes = number.to_le_bytes();
    // SAFETY: the key is open, and there are eight bytes.
    code(unsafe { RegSetValueExW(key.0, ptr::null(), 0, REG_QWORD, bytes.as_ptr(), 8) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_has_one_number() {
        assert_eq!(kept().unwrap(), kept().unwrap());
        assert_eq!(this_start().unwrap(), kept().unwrap());
    }
}
