//! What only the machine knows.

use std::env;

use install::{Facts, Profile};
use model::MachinePath;
use windows_sys::Win32::{
    Storage::FileSystem::{GetDiskFreeSpaceExW, GetDiskFreeSpaceW},
    System::{
        LibraryLoader::{GetModuleHandleW, GetProcAddress},
        SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX},
    },
};

use crate::names::wide;

/// The facts of the machine we run on.
#[derive(Clone, Copy, Debug, Default)]
pub struct WindowsFacts;

/// Folders by variable, and what stands behind each: a variable of the environment and a path below it.
const FOLDERS: &[(&str, &str, &str)] = &[
    ("program-files", "ProgramFiles", ""),
    ("program-files-x86", "ProgramFiles(x86)", ""),
    ("common-files", "CommonProgramFiles", ""),
    ("common-files-x86", "CommonProgramFiles(x86)", ""),
    ("program-data", "ProgramData", ""),
    ("windows", "SystemRoot", ""),
    ("system", "SystemRoot", r"\system32"),
    ("system-x86", "SystemRoot", r"\syswow64"),
    ("fonts", "SystemRoot", r"\Fonts"),
    ("start-menu", "ProgramData", r"\Microsoft\Windows\Start Menu\Programs"),
    ("common-desktop", "PUBLIC", r"\Desktop"),
    ("public", "PUBLIC", ""),
    ("user-profile", "USERPROFILE", ""),
    ("app-data", "APPDATA", ""),
    ("local-app-data", "LOCALAPPDATA", ""),
    ("user-start-menu", "APPDATA", r"\Microsoft\Windows\Start Menu\Programs"),
    ("desktop", "USERPROFILE", r"\Desktop"),
];

impl Facts for WindowsFacts {
    fn os(&self) -> String {
        "windows".to_owned()
    }

    fn architecture(&self) -> String {
        env::consts::ARCH.to_owned()
    }

    fn distribution(&self) -> String {
        if is_wine() { "wine".to_owned() } else { "windows".to_owned() }
    }

    fn release(&self) -> String {
        version("CurrentVersion")
    }

    fn kernel(&self) -> String {
        version("CurrentBuildNumber")
    }

    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn memory(&self) -> u64 {
        let mut status = MEMORYSTATUSEX {
            dwLength: u32::try_from(size_of::<MEMORYSTATUSEX>()).unwrap_or(0),
            ..MEMORYSTATUSEX::default()
        };
        // SAFETY: the structure is on this stack and says how long it is.
        unsafe { GlobalMemoryStatusEx(&raw mut status) };
        status.ullTotalPhys
    }

    fn host_name(&self) -> String {
        env::var("COMPUTERNAME").unwrap_or_default()
    }

    fn folders(&self) -> Vec<(Box<str>, String)> {
        let folder = |(name, variable, below): &(&str, &str, &str)| {
            let value = env::var(variable).ok()?;
            Some((Box::from(*name), format!("{value}{below}")))
        };
        FOLDERS.iter().filter_map(folder).collect()
    }

    fn profiles(&self) -> Vec<Profile> {
        crate::hives::profiles()
    }

    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn free_space(&self, path: &MachinePath) -> Option<(u64, u64)> {
        let drive = *path.on_drive()?.first()?;
        let root = format!(r"{}:\", char::from(drive));
        let mut free = 0;
        // SAFETY: the name ends with a zero, and the number is on this stack.
        let done = unsafe {
            GetDiskFreeSpaceExW(
                wide(root).as_ptr(),
                &raw mut free,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        (done != 0).then_some((free, drive.into()))
    }

    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn block_size(&self, path: &MachinePath) -> u64 {
        let Some(drive) = path.on_drive().and_then(|bytes| bytes.first().copied()) else {
            return 4096;
        };
        let root = format!(r"{}:\", char::from(drive));
        let (mut sectors, mut bytes, mut free, mut all) = (0, 0, 0, 0);
        // SAFETY: the name ends with a zero, and the numbers are on this stack.
        let done = unsafe {
            GetDiskFreeSpaceW(
                wide(root).as_ptr(),
                &raw mut sectors,
                &raw mut bytes,
                &raw mut free,
                &raw mut all,
            )
        };
        if done == 0 { 4096 } else { u64::from(sectors) * u64::from(bytes) }
    }

    fn system_package(&self, _: &str) -> Option<String> {
        None
    }

    fn has_running_systemd(&self) -> bool {
        false
    }
}

fn version(name: &str) -> String {
    let key = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion";
    let Ok(key) = model::RegistryKey::new(key) else { return String::new() };
    match crate::registry::look(&model::Setting::value(&key, name)) {
        Ok(Some(model::SettingState::Value(value))) => value.as_text().unwrap_or_default(),
        _ => String::new(),
    }
}

/// Whether this is Wine, which has a function Windows has not.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn is_wine() -> bool {
    // SAFETY: both names end with a zero.
    unsafe {
        let library = GetModuleHandleW(wide("ntdll.dll").as_ptr());
        !library.is_null() && GetProcAddress(library, c"wine_get_version".as_ptr().cast()).is_some()
    }
}

/// Where programs keep what is for all users, as the registry says. Services of Wine 8 have another folder in their environment.
fn program_data() -> Option<String> {
    let key = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";
    let key = model::RegistryKey::new(key).ok()?;
    let found = crate::registry::look(&model::Setting::value(&key, "ProgramData")).ok()??;
    let model::SettingState::Value(value) = found else { return None };
    let drive = env::var("SystemDrive").unwrap_or_else(|_| "C:".to_owned());
    Some(value.as_text()?.replace("%SystemDrive%", &drive)).filter(|text| !text.contains('%'))
}

/// Has every program of this machine find the same folders, whoever started it. To be called first, before there are other threads.
#[expect(unsafe_code, reason = "another thread may not read the environment meanwhile")]
pub fn mend_environment() {
    const NAME: &str = "ProgramData";
    let Some(place) = program_data() else { return };
    if env::var(NAME).as_ref() != Ok(&place) {
        // SAFETY: as the caller says, nobody else runs.
        unsafe { env::set_var(NAME, place) };
    }
}
