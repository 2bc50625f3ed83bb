//! Processes, by a number that may be given out again and the moment they began, which may not.

use std::{
    ffi::OsStr,
    io,
    os::windows::{
        io::{AsHandle as _, AsRawHandle as _, BorrowedHandle, OwnedHandle},
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::{ERROR_ACCESS_DENIED, FILETIME},
    System::{
        Console::{CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent},
        Threading::{
            CREATE_BREAKAWAY_FROM_JOB, CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW,
            GetCurrentProcess, GetExitCodeProcess, GetProcessTimes, OpenProcess,
            PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE,
            QueryFullProcessImageNameW, SetProcessWorkingSetSize,
        },
    },
};

use crate::{
    handles::owned,
    services::{done, is},
    waiting::is_there,
};

/// When this process began, in hundreds of nanoseconds since 1601.
pub fn own_beginning() -> u64 {
    // SAFETY: it answers with a number that stands for us, and is never closed.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    let own = unsafe { BorrowedHandle::borrow_raw(GetCurrentProcess()) };
    beginning(own).unwrap_or(0)
}

/// When the process of that number began, if it has not ended.
pub fn began(process: u32) -> Option<u64> {
    let handle = open(process)?;
    let has_ended = is_there(handle.as_handle(), Duration::ZERO).ok()?;
    beginning(handle.as_handle()).filter(|_| !has_ended)
}

/// Exactly the process that began then: what is waited for until it ends. Nothing, where it is there no more.
pub fn exactly(process: u32, began: u64) -> Option<OwnedHandle> {
    let handle = open(process)?;
    (beginning(handle.as_handle()) == Some(began)).then_some(handle)
}

/// A process, whoever has the number now.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub(crate) fn open(process: u32) -> Option<OwnedHandle> {
    let rights = PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE;
    // SAFETY: nothing is passed but numbers.
    owned(unsafe { OpenProcess(rights, 0, process) }).ok()
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn beginning(process: BorrowedHandle<'_>) -> Option<u64> {
    let mut times = [FILETIME::default(); 4];
    let [began, ended, kernel, user] = &mut times;
    // SAFETY: the handle is open, and what is written is on this stack.
    done(unsafe { GetProcessTimes(process.as_raw_handle(), began, ended, kernel, user) }).ok()?;
    let [began, ..] = times;
    Some(u64::from(began.dwHighDateTime) << 32 | u64::from(began.dwLowDateTime))
}

/// With what a process ended that has.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub(crate) fn exit_code(process: BorrowedHandle<'_>) -> Option<i32> {
    let mut code = 0;
    // SAFETY: the handle is open, and what is written is on this stack.
    done(unsafe { GetExitCodeProcess(process.as_raw_handle(), &raw mut code) }).ok()?;
    Some(code.cast_signed())
}

/// The file name of the program a process runs.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn name(process: u32) -> Option<String> {
    let handle = open(process)?;
    let mut words = vec![0; 1 << 15];
    let mut length = u32::try_from(words.len()).unwrap_or(0);
    // SAFETY: the handle is open, and there is as much room as we say.
    done(unsafe {
        QueryFullProcessImageNameW(
            handle.as_raw_handle(),
            PROCESS_NAME_WIN32,
            words.as_mut_ptr(),
            &raw mut length,
        )
    })
    .ok()?;
    let path = String::from_utf16_lossy(words.get(..length as usize)?);
    Some(path.rsplit('\\').next().unwrap_or(&path).to_owned())
}

/// Starts a program that goes on whatever becomes of us: it has a console of its own that nobody sees, and is in no job of ours
/// where that lets it go.
///
/// # Errors
/// It cannot be started.
pub fn detached<'a>(program: &Path, words: impl IntoIterator<Item = &'a OsStr>) -> io::Result<()> {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let alone = CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP;
    match command.creation_flags(alone | CREATE_BREAKAWAY_FROM_JOB).spawn() {
        // The job we are in lets nobody go.
        Err(error) if is(&error, ERROR_ACCESS_DENIED) => {
            command.creation_flags(alone).spawn().map(drop)
        }
        started => started.map(drop),
    }
}

/// Asks console programs to end that share our console: those of the group that began with the process of that number.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn ask_to_end(group: u32) {
    // SAFETY: nothing is passed but numbers.
    unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, group) };
}

/// Of what this process has in memory nothing is kept there that it does not use again: it comes back as it is used.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn rest() {
    // SAFETY: the handle is this process, and needs no closing; these sizes say just that (`SetProcessWorkingSetSize`).
    let _ = unsafe { SetProcessWorkingSetSize(GetCurrentProcess(), usize::MAX, usize::MAX) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_number_and_when_it_began() {
        let own = std::process::id();
        assert_eq!(began(own), Some(own_beginning()));
        assert!(exactly(own, own_beginning()).is_some());
        assert!(exactly(own, own_beginning() + 1).is_none());
        assert!(name(own).is_some_and(|name| name.to_lowercase().ends_with(".exe")));
    }
}
