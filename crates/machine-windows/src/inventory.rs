//! What is on the machine besides what we know of: programs others installed, and services.

use std::{collections::BTreeMap, io, ptr};

use model::{RegistryKey, Setting, SettingState};
use windows_sys::Win32::{
    Foundation::ERROR_MORE_DATA,
    System::Services::{
        ENUM_SERVICE_STATUS_PROCESSW, EnumServicesStatusExW, OpenSCManagerW, SC_ENUM_PROCESS_INFO,
        SC_MANAGER_CONNECT, SC_MANAGER_ENUMERATE_SERVICE, SERVICE_RUNNING, SERVICE_STATE_ALL,
        SERVICE_STOPPED, SERVICE_WIN32,
    },
};

use crate::{
    registry,
    services::{Handle, done, is, opened, text_at},
};

/// Where programs say that they are there: those of 64 bits, and those of 32.
const PROGRAMS: [&str; 2] = [
    r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall",
    r"HKLM\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall",
];
/// The end of a service that ended as nobody asked it to, and that of one that never ran.
const NO_ERROR: [u32; 2] = [0, 1077];

/// Programs that people see among those that are installed, with their versions.
///
/// # Errors
/// The registry cannot be read.
pub fn installed_programs() -> io::Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for place in PROGRAMS {
        let key = RegistryKey::new(place).map_err(io::Error::other)?;
        for entry in registry::list(&key)? {
            let Setting::Key(entry) = entry else { continue };
            let text = |name: &str| match registry::look(&Setting::value(&entry, name)) {
                Ok(Some(SettingState::Value(value))) => value.as_text(),
                _ => None,
            };
            let is_set = |name: &str| match registry::look(&Setting::value(&entry, name)) {
                Ok(Some(SettingState::Value(value))) => value.data.iter().any(|byte| *byte != 0),
                _ => false,
            };
            // Parts of others are not seen.
            if is_set("SystemComponent") || is_set("ParentKeyName") {
                continue;
            }
            if let Some(name) = text("DisplayName").filter(|name| !name.trim().is_empty()) {
                all.insert(name, text("DisplayVersion").unwrap_or_default());
            }
        }
    }
    Ok(all)
}

/// Services and what they do: `running`, `stopped`, `failed`.
///
/// # Errors
/// The service manager does not say.
#[expect(unsafe_code, reason = "the interface answers with pointers into a buffer")]
pub fn all_services() -> io::Result<BTreeMap<String, &'static str>> {
    let rights = SC_MANAGER_CONNECT | SC_MANAGER_ENUMERATE_SERVICE;
    // SAFETY: no name is passed.
    let manager: Handle = opened(unsafe { OpenSCManagerW(ptr::null(), ptr::null(), rights) })?;
    let mut all = BTreeMap::new();
    // In words of eight bytes, so that the structures at its start are aligned.
    let mut buffer = vec![0_u64; 8 << 10];
    let mut at = 0;
    loop {
        let size = u32::try_from(buffer.len() * 8).unwrap_or(u32::MAX);
        let (mut needed, mut count) = (0, 0);
        // SAFETY: the buffer is aligned and as long as we say, and the numbers are on this stack.
        let answer = done(unsafe {
            EnumServicesStatusExW(
                manager.0,
                SC_ENUM_PROCESS_INFO,
                SERVICE_WIN32,
                SERVICE_STATE_ALL,
                buffer.as_mut_ptr().cast(),
                size,
                &raw mut needed,
                &raw mut count,
                &raw mut at,
                ptr::null(),
            )
        });
        let start = buffer.as_ptr().cast::<ENUM_SERVICE_STATUS_PROCESSW>();
        // SAFETY: there are so many structures at the start, and their names are texts in the buffer.
        let found = unsafe { std::slice::from_raw_parts(start, count as usize) };
        for one in found {
            let status = &one.ServiceStatusProcess;
            let state = match status.dwCurrentState {
                SERVICE_STOPPED if NO_ERROR.contains(&status.dwWin32ExitCode) => "stopped",
                SERVICE_STOPPED => "failed",
                SERVICE_RUNNING => "running",
                _ => "stopped",
            };
            // SAFETY: as before.
            all.insert(unsafe { text_at(one.lpServiceName) }, state);
        }
        match answer {
            Ok(()) => return Ok(all),
            Err(error) if is(&error, ERROR_MORE_DATA) => {
                if count == 0 {
                    buffer.resize(needed as usize / 8 + buffer.len() + 1, 0);
                }
            }
            Err(error) => return Err(error),
        }
    }
}
