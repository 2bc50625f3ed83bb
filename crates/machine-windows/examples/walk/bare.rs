//! The least that sees everything: each key opened, its values and the keys below it asked for one by one.

use std::{io, ptr};

use windows_sys::Win32::{
    Foundation::{ERROR_MORE_DATA, ERROR_NO_MORE_ITEMS, ERROR_SUCCESS},
    System::Registry::{
        HKEY, HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE, HKEY_USERS, KEY_READ, KEY_WOW64_64KEY,
        REG_LINK, REG_OPTION_OPEN_LINK, RegCloseKey, RegEnumKeyExW, RegEnumValueW, RegOpenKeyExW,
    },
};

/// Room for any name, and for what values hold.
struct Buffers {
    name: Vec<u16>,
    data: Vec<u8>,
}

/// Walks what a snapshot does; answers how many keys and values it saw.
pub(crate) fn walk() -> io::Result<usize> {
    let mut buffers = Buffers { name: vec![0; 16_384], data: vec![0; 4096] };
    let user: Vec<u16> = ".DEFAULT\0".encode_utf16().collect();
    let mut seen = 0;
    for (root, name) in
        [(HKEY_LOCAL_MACHINE, &[0][..]), (HKEY_CURRENT_USER, &[0]), (HKEY_USERS, &user)]
    {
        seen += below(root, name, &mut buffers)?;
    }
    Ok(seen)
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn below(root: HKEY, name: &[u16], buffers: &mut Buffers) -> io::Result<usize> {
    let mut key: HKEY = ptr::null_mut();
    let access = KEY_READ | KEY_WOW64_64KEY;
    // SAFETY: the name ends with a zero, and the handle is on this stack.
    let opened =
        unsafe { RegOpenKeyExW(root, name.as_ptr(), REG_OPTION_OPEN_LINK, access, &raw mut key) };
    if opened != ERROR_SUCCESS {
        return Ok(0);
    }
    let mut seen = 1;
    for index in 0.. {
        match value(key, index, buffers) {
            ERROR_SUCCESS => seen += 1,
            // Names of counters, `Perflib\009`, stand in a place of their own and are no keys to walk.
            _ => break,
        }
    }
    for index in 0.. {
        let mut letters = u32::try_from(buffers.name.len()).unwrap_or(u32::MAX);
        let none = ptr::null_mut();
        // SAFETY: the key is open, and the buffer is as long as we say.
        let answer = unsafe {
            let name = buffers.name.as_mut_ptr();
            let (count, class) = (&raw mut letters, ptr::null_mut());
            RegEnumKeyExW(key, index, name, count, ptr::null(), class, ptr::null_mut(), none)
        };
        if answer != ERROR_SUCCESS {
            break;
        }
        let name = buffers.name[..=letters as usize].to_vec();
        seen += below(key, &name, buffers)?;
    }
    // SAFETY: the key was opened above.
    unsafe { RegCloseKey(key) };
    Ok(seen)
}

/// What the interface answers to a value being asked for; a link is one that ends a key.
#[expect(unsafe_code, reason = "the interface is unsafe")]
fn value(key: HKEY, index: u32, buffers: &mut Buffers) -> u32 {
    loop {
        let mut letters = u32::try_from(buffers.name.len()).unwrap_or(u32::MAX);
        let mut bytes = u32::try_from(buffers.data.len()).unwrap_or(u32::MAX);
        let mut kind = 0;
        // SAFETY: the key is open, and both buffers are as long as we say.
        let answer = unsafe {
            let (name, data) = (buffers.name.as_mut_ptr(), buffers.data.as_mut_ptr());
            let kind = &raw mut kind;
            RegEnumValueW(
                key,
                index,
                name,
                &raw mut letters,
                ptr::null(),
                kind,
                data,
                &raw mut bytes,
            )
        };
        if answer != ERROR_MORE_DATA {
            return if kind == REG_LINK { ERROR_NO_MORE_ITEMS } else { answer };
        }
        buffers.data.resize((bytes as usize).max(buffers.data.len() * 2), 0);
    }
}
