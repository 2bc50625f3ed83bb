//! Logons that are under way: until the shell is there, and while Active Setup does for a user what is done once for each.

use std::{
    collections::BTreeSet,
    io,
    mem::size_of,
    os::windows::io::{AsHandle as _, AsRawHandle as _},
};

use model::{RegistryKey, Setting, SettingState};
use windows_sys::Win32::{
    Foundation::FILETIME,
    System::{
        Diagnostics::ToolHelp::{
            CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW,
            TH32CS_SNAPPROCESS,
        },
        SystemInformation::GetSystemTimeAsFileTime,
    },
};

use crate::{handles::owned, processes, registry, waiting::first};

/// It begins the shell of who logs on, and ends when that is there.
const STARTER: &str = "userinit.exe";
/// The shell; Active Setup is the first that it does.
const SHELL: &str = "explorer.exe";
/// Of a shell that began earlier, in hundreds of nanoseconds, Active Setup is over: what is started from it is somebody's work.
const YOUNG: u64 = 10 * 60 * 10_000_000;
/// What is done once for each user, as programs of 64 bits and of 32 have it said.
const COMPONENTS: [&str; 2] = [
    r"HKLM\SOFTWARE\Microsoft\Active Setup\Installed Components",
    r"HKLM\SOFTWARE\WOW6432Node\Microsoft\Active Setup\Installed Components",
];

/// What shows that somebody is being logged on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logon {
    /// The process.
    pub process: u32,
    /// When it began, in hundreds of nanoseconds since 1601.
    pub began: u64,
    /// The file name of its program.
    pub name: String,
    /// Whether it is a command of Active Setup.
    pub is_active_setup: bool,
}

impl Logon {
    /// For how many seconds it has been there.
    pub fn seconds(&self) -> u64 {
        now().saturating_sub(self.began) / 10_000_000
    }
}

/// The logon that is under way, if there is one.
///
/// # Errors
/// The machine does not say which processes it has.
pub fn logon() -> io::Result<Option<Logon>> {
    let all = listed()?;
    let known = |one: &Listed, is_active_setup| {
        let began = processes::began(one.process)?;
        Some(Logon { process: one.process, began, name: one.name.clone(), is_active_setup })
    };
    let is = |one: &&Listed, name: &str| one.name.eq_ignore_ascii_case(name);
    if let Some(starter) =
        all.iter().filter(|one| is(one, STARTER)).find_map(|one| known(one, false))
    {
        return Ok(Some(starter));
    }
    let shells: Vec<(u32, u64)> = all
        .iter()
        .filter(|one| is(one, SHELL))
        .filter_map(|one| Some((one.process, processes::began(one.process)?)))
        .filter(|(_, began)| now().saturating_sub(*began) < YOUNG)
        .collect();
    if shells.is_empty() {
        return Ok(None);
    }
    let programs = programs();
    let of_a_shell = all.iter().filter(|one| programs.contains(&one.name.to_lowercase()));
    Ok(of_a_shell.filter_map(|one| Some((one.parent, known(one, true)?))).find_map(
        |(parent, one)| {
            // A number is given again: a parent is older than its child.
            let is_one = |(shell, began): &(u32, u64)| *shell == parent && *began <= one.began;
            shells.iter().any(is_one).then_some(one)
        },
    ))
}

/// Waits until a process of a logon has ended.
///
/// # Errors
/// It cannot be waited for.
pub fn wait_for_logon(one: &Logon) -> io::Result<()> {
    match processes::exactly(one.process, one.began) {
        Some(process) => first(&[process.as_handle()]).map(drop),
        None => Ok(()),
    }
}

/// The programs Active Setup calls, by their file names in small letters.
fn programs() -> BTreeSet<String> {
    let keys = COMPONENTS.iter().filter_map(|place| RegistryKey::new(place).ok());
    let entries = keys.flat_map(|key| registry::list(&key).unwrap_or_default());
    let lines = entries.filter_map(|entry| {
        let Setting::Key(entry) = entry else { return None };
        match registry::look(&Setting::value(&entry, "StubPath")) {
            Ok(Some(SettingState::Value(value))) => value.as_text(),
            _ => None,
        }
    });
    lines.filter_map(|line| program(&line)).collect()
}

/// The program of a command line, by its file name in small letters.
fn program(line: &str) -> Option<String> {
    let line = line.trim();
    let path = match line.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => line.split_ascii_whitespace().next()?,
    };
    let name = path.rsplit(['\\', '/']).next().filter(|name| !name.is_empty())?.to_lowercase();
    Some(if name.contains('.') { name } else { name + ".exe" })
}

/// A process, as the machine lists it.
struct Listed {
    process: u32,
    parent: u32,
    name: String,
}

#[expect(unsafe_code, reason = "the interface fills a structure")]
fn listed() -> io::Result<Vec<Listed>> {
    // SAFETY: nothing is passed but numbers.
    let all = owned(unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) })?;
    let size = u32::try_from(size_of::<PROCESSENTRY32W>()).unwrap_or(0);
    let mut entry = PROCESSENTRY32W { dwSize: size, ..PROCESSENTRY32W::default() };
    let mut found = Vec::new();
    // SAFETY: the list is open, and the entry says how long it is.
    let mut is_one = unsafe { Process32FirstW(all.as_raw_handle(), &raw mut entry) } != 0;
    while is_one {
        let name = String::from_utf16_lossy(&entry.szExeFile);
        let name = name.split('\0').next().unwrap_or_default().to_owned();
        found.push(Listed {
            process: entry.th32ProcessID,
            parent: entry.th32ParentProcessID,
            name,
        });
        // SAFETY: the same.
        is_one = unsafe { Process32NextW(all.as_raw_handle(), &raw mut entry) } != 0;
    }
    Ok(found)
}

/// Now, in hundreds of nanoseconds since 1601.
#[expect(unsafe_code, reason = "the interface is unsafe")]
fn now() -> u64 {
    let mut now = FILETIME::default();
    // SAFETY: what is written is on this stack.
    unsafe { GetSystemTimeAsFileTime(&raw mut now) };
    u64::from(now.dwHighDateTime) << 32 | u64::from(now.dwLowDateTime)
}

#[cfg(test)]
mod tests {
    use super::{listed, program};

    #[test]
    fn the_program_of_a_command_line_is_its_first_word() {
        let of = |line: &str| program(line).unwrap();
        assert_eq!(of(r#""C:\Program Files\X\setup.exe" /user"#), "setup.exe");
        assert_eq!(of(r"%SystemRoot%\system32\unregmp2.exe /FirstLogon"), "unregmp2.exe");
        assert_eq!(of("Rundll32 x.dll,Entry"), "rundll32.exe");
        assert_eq!(program("  "), None);
    }

    #[test]
    fn this_process_is_listed_with_its_program() {
        let own = listed().unwrap().into_iter().find(|one| one.process == std::process::id());
        assert!(own.is_some_and(|own| own.name.to_lowercase().ends_with(".exe")));
    }
}
