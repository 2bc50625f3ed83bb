//! Registries of users who are not logged on, and of the profile new ones are made of: files, mounted while we run.
//!
//! `HKU\S-1-5-21-…` means a user's registry whether Windows has it open or not, and `HKU\Default` the one that becomes
//! that of whoever logs on for the first time. Ours are mounted under names that begin with [`MOUNT`], so that one a
//! crash left behind is known for what it is, and taken into use again.

use std::{
    collections::BTreeSet,
    env, io,
    path::{Path, PathBuf},
    ptr,
    sync::Mutex,
};

use install::Profile;
use model::{RegistryKey, Setting, SettingState, Users};
use windows_sys::Win32::{
    Foundation::{CloseHandle, ERROR_FILE_NOT_FOUND, ERROR_SUCCESS, HANDLE, LUID},
    Security::{
        AdjustTokenPrivileges, LUID_AND_ATTRIBUTES, LookupPrivilegeValueW, SE_PRIVILEGE_ENABLED,
        TOKEN_ADJUST_PRIVILEGES, TOKEN_PRIVILEGES,
    },
    System::{
        Registry::{
            HKEY, HKEY_USERS, KEY_READ, RegCloseKey, RegLoadKeyW, RegOpenKeyExW, RegUnLoadKeyW,
        },
        Threading::{GetCurrentProcess, OpenProcessToken},
    },
};

use crate::{names::wide, registry};

/// Begins the names of what we mounted.
const MOUNT: &str = "Packhorse-";
/// The profile new ones are made of.
pub(crate) const DEFAULT: &str = "Default";
/// Where Windows lists profiles.
const PROFILES: &str = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";
/// What the identifiers of people begin with: those of machines and domains, and of Entra.
const PEOPLE: [&str; 2] = ["S-1-5-21-", "S-1-12-1-"];
/// What it takes to mount.
const RIGHTS: [&str; 2] = ["SeRestorePrivilege", "SeBackupPrivilege"];

/// Names below `HKU` we mounted or found mounted by us.
static MOUNTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The name below `HKU` under which a user's registry is open now; it is mounted for that where it can be.
pub(crate) fn open_name(user: &str) -> io::Result<String> {
    if is_there(user) {
        return Ok(user.to_owned());
    }
    let name = format!("{MOUNT}{user}");
    if !is_there(&name) {
        let Some(file) = folder(user).map(|folder| folder.join("NTUSER.DAT")) else {
            return Ok(user.to_owned());
        };
        if !file.exists() {
            return Ok(user.to_owned());
        }
        mount(&name, &file)?;
    }
    if let Ok(mut mounted) = MOUNTED.lock() {
        mounted.insert(name.clone());
    }
    Ok(name)
}

/// Unmounts what we mounted.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub(crate) fn release() {
    let Ok(mut mounted) = MOUNTED.lock() else { return };
    for name in std::mem::take(&mut *mounted) {
        // SAFETY: the name ends with a zero. One that is still in use stays until the machine restarts.
        unsafe { RegUnLoadKeyW(HKEY_USERS, wide(&name).as_ptr()) };
    }
}

/// Users with a registry of their own but whoever runs us, and the profile new ones are made of.
pub(crate) fn profiles() -> Vec<Profile> {
    let own = env::var("USERPROFILE").unwrap_or_default();
    let mut all = Vec::new();
    let listed = RegistryKey::new(PROFILES).ok().and_then(|key| registry::list(&key).ok());
    for key in listed.into_iter().flatten() {
        let Setting::Key(key) = key else { continue };
        let user = key.name();
        if !PEOPLE.iter().any(|start| user.starts_with(start)) {
            continue;
        }
        let Some(folder) = folder(user).filter(|folder| is_other(folder, &own)) else { continue };
        if is_there(user) || folder.join("NTUSER.DAT").exists() {
            all.push(profile(Users::Existing, user, &folder));
        }
    }
    if let Some(folder) = folder(DEFAULT).filter(|folder| folder.join("NTUSER.DAT").exists()) {
        all.push(profile(Users::Future, DEFAULT, &folder));
    }
    all
}

fn is_other(folder: &Path, own: &str) -> bool {
    folder.to_string_lossy().to_lowercase() != own.trim_end_matches('\\').to_lowercase()
}

fn profile(users: Users, hive: &str, folder: &Path) -> Profile {
    let below = [
        "",
        r"\AppData\Roaming",
        r"\AppData\Local",
        r"\AppData\Roaming\Microsoft\Windows\Start Menu\Programs",
        r"\Desktop",
    ];
    let folder = folder.to_string_lossy();
    let folders = Users::FOLDERS
        .iter()
        .zip(below)
        .map(|(name, below)| (Box::from(*name), format!("{folder}{below}")))
        .collect();
    Profile { users, hive: hive.to_owned(), folders }
}

/// Where a user's profile is.
fn folder(user: &str) -> Option<PathBuf> {
    let key = RegistryKey::new(PROFILES).ok()?;
    let (key, value) = match user {
        DEFAULT => (key, "Default"),
        user => (key.child(user), "ProfileImagePath"),
    };
    match registry::look(&Setting::value(&key, value)) {
        Ok(Some(SettingState::Value(value))) => Some(expanded(&value.as_text()?).into()),
        _ => None,
    }
}

/// A text with `%VARIABLES%` as they are for us.
fn expanded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out += before;
        match after.split_once('%') {
            Some((name, tail)) if env::var(name).is_ok() => {
                out += &env::var(name).unwrap_or_default();
                rest = tail;
            }
            _ => {
                out.push('%');
                rest = after;
            }
        }
    }
    out + rest
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn is_there(name: &str) -> bool {
    let mut handle: HKEY = ptr::null_mut();
    // SAFETY: the name ends with a zero, and the handle is on this stack.
    match unsafe { RegOpenKeyExW(HKEY_USERS, wide(name).as_ptr(), 0, KEY_READ, &raw mut handle) } {
        ERROR_SUCCESS => {
            // SAFETY: the key was just opened for us.
            unsafe { RegCloseKey(handle) };
            true
        }
        // One we may not read is there all the same.
        code => code != ERROR_FILE_NOT_FOUND,
    }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn mount(name: &str, file: &Path) -> io::Result<()> {
    for right in RIGHTS {
        gain(right);
    }
    // SAFETY: both names end with a zero.
    let code = unsafe { RegLoadKeyW(HKEY_USERS, wide(name).as_ptr(), wide(file).as_ptr()) };
    if code == ERROR_SUCCESS {
        Ok(())
    } else {
        let reason = io::Error::from_raw_os_error(code.cast_signed());
        let said = format!("`{}` cannot be mounted: {reason}", file.display());
        Err(io::Error::new(reason.kind(), said))
    }
}

/// Switches on a right this program has; without it what needs it is refused, and says so.
#[expect(unsafe_code, reason = "the interface is unsafe")]
fn gain(right: &str) {
    let mut token: HANDLE = ptr::null_mut();
    // SAFETY: the handle is on this stack, and closed below.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES, &raw mut token) }
        == 0
    {
        return;
    }
    let mut luid = LUID::default();
    // SAFETY: the name ends with a zero, all structures are on this stack, and the token is open.
    unsafe {
        if LookupPrivilegeValueW(ptr::null(), wide(right).as_ptr(), &raw mut luid) != 0 {
            let privileges = TOKEN_PRIVILEGES {
                PrivilegeCount: 1,
                Privileges: [LUID_AND_ATTRIBUTES { Luid: luid, Attributes: SE_PRIVILEGE_ENABLED }],
            };
            AdjustTokenPrivileges(
                token,
                0,
                &raw const privileges,
                0,
                ptr::null_mut(),
                ptr::null_mut(),
            );
        }
        CloseHandle(token);
    }
}
