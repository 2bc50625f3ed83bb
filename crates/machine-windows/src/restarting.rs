//! The machine restarted at a moment, and that called off: who is logged on is told by Windows.

use std::{
    io,
    os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle},
    ptr,
};

use windows_sys::Win32::{
    Foundation::{ERROR_NOT_ALL_ASSIGNED, ERROR_SUCCESS, GetLastError},
    Security::{
        AdjustTokenPrivileges, LUID_AND_ATTRIBUTES, LookupPrivilegeValueW, SE_PRIVILEGE_ENABLED,
        TOKEN_ADJUST_PRIVILEGES, TOKEN_PRIVILEGES, TOKEN_QUERY,
    },
    System::{
        Shutdown::{
            AbortSystemShutdownW, InitiateSystemShutdownExW, SHTDN_REASON_FLAG_PLANNED,
            SHTDN_REASON_MAJOR_APPLICATION, SHTDN_REASON_MINOR_INSTALLATION,
        },
        Threading::{GetCurrentProcess, OpenProcessToken},
    },
};

use crate::{
    names::wide,
    services::{done, is},
};

/// The right to do so, which has to be asked for.
const RIGHT: &str = "SeShutdownPrivilege";
/// `ERROR_NO_SHUTDOWN_IN_PROGRESS`.
const NONE: u32 = 1116;
/// The interface counts to no more seconds: ten years.
const LONGEST: u32 = 315_360_000;

/// Has the machine restart after so many seconds; programs that are open are ended.
///
/// # Errors
/// We may not, or it is to restart already.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn restart_after(seconds: u32, why: &str) -> io::Result<()> {
    take_right()?;
    let reason = SHTDN_REASON_FLAG_PLANNED
        | SHTDN_REASON_MAJOR_APPLICATION
        | SHTDN_REASON_MINOR_INSTALLATION;
    // SAFETY: the text ends with a zero.
    done(unsafe {
        InitiateSystemShutdownExW(
            ptr::null(),
            wide(why).as_ptr(),
            seconds.min(LONGEST),
            1,
            1,
            reason,
        )
    })
}

/// Calls it off; nothing, where it is not to restart.
///
/// # Errors
/// We may not.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn call_off_restart() -> io::Result<()> {
    take_right()?;
    // SAFETY: no name means this machine.
    match done(unsafe { AbortSystemShutdownW(ptr::null()) }) {
        Err(error) if is(&error, NONE) => Ok(()),
        called => called,
    }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn take_right() -> io::Result<()> {
    let (mut token, mut right) = (ptr::null_mut(), TOKEN_PRIVILEGES::default());
    // SAFETY: what is written is on this stack, the name ends with a zero; the token is closed by who owns it.
    unsafe {
        let rights = TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY;
        done(OpenProcessToken(GetCurrentProcess(), rights, &raw mut token))?;
        let token = OwnedHandle::from_raw_handle(token);
        right.PrivilegeCount = 1;
        let mut one =
            LUID_AND_ATTRIBUTES { Attributes: SE_PRIVILEGE_ENABLED, ..right.Privileges[0] };
        done(LookupPrivilegeValueW(ptr::null(), wide(RIGHT).as_ptr(), &raw mut one.Luid))?;
        right.Privileges[0] = one;
        let (none, nowhere) = (ptr::null_mut(), ptr::null_mut());
        let token = token.as_raw_handle();
        done(AdjustTokenPrivileges(token, 0, &raw const right, 0, none, nowhere))?;
        // It answers that it did, also where it did not.
        match GetLastError() {
            ERROR_SUCCESS => Ok(()),
            ERROR_NOT_ALL_ASSIGNED => Err(io::ErrorKind::PermissionDenied.into()),
            code => Err(io::Error::from_raw_os_error(code.cast_signed())),
        }
    }
}
