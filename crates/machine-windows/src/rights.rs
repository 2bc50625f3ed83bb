//! Rights a process gives up, for good.

use std::{
    io,
    mem::size_of,
    os::windows::io::{AsRawHandle as _, OwnedHandle},
    ptr,
};

use windows_sys::Win32::{
    Security::{
        AdjustTokenPrivileges, CreateWellKnownSid, GetTokenInformation, LUID_AND_ATTRIBUTES,
        SE_PRIVILEGE_REMOVED, SID_AND_ATTRIBUTES, SetTokenInformation, TOKEN_ADJUST_DEFAULT,
        TOKEN_ADJUST_PRIVILEGES, TOKEN_MANDATORY_LABEL, TOKEN_PRIVILEGES, TOKEN_QUERY,
        TokenIntegrityLevel, TokenPrivileges, WinLowLabelSid,
    },
    System::{
        SystemServices::SE_GROUP_INTEGRITY,
        Threading::{GetCurrentProcess, OpenProcessToken},
    },
};

use crate::{handles::owned, services::done};

/// To pass through folders one may not list, which everybody has (`SE_CHANGE_NOTIFY_PRIVILEGE`).
const PASSING: u32 = 23;
/// No name of an account takes more room (`SECURITY_MAX_SID_SIZE`), in words of eight bytes.
const LONGEST: usize = 9;

/// From now on this process has no privileges, and may write to nothing that is not meant for what is trusted least: its integrity
/// is low ([MS-DTYP] 2.5.3.4, mandatory integrity control). Files it may read it reads, connections it makes.
///
/// # Errors
/// The machine does not take them; what it took is gone.
pub fn give_up_rights() -> io::Result<()> {
    let token = own_token()?;
    let lowered = lower(&token);
    drop_privileges(&token)?;
    lowered
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn own_token() -> io::Result<OwnedHandle> {
    let rights = TOKEN_QUERY | TOKEN_ADJUST_PRIVILEGES | TOKEN_ADJUST_DEFAULT;
    let mut token = ptr::null_mut();
    // SAFETY: the handle of this process needs no closing, and what is written is on this stack.
    done(unsafe { OpenProcessToken(GetCurrentProcess(), rights, &raw mut token) })?;
    owned(token)
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn lower(token: &OwnedHandle) -> io::Result<()> {
    let mut account = [0_u64; LONGEST];
    let mut length = u32::try_from(size_of::<[u64; LONGEST]>()).unwrap_or(0);
    let place = account.as_mut_ptr().cast();
    // SAFETY: there is as much room as we say.
    done(unsafe { CreateWellKnownSid(WinLowLabelSid, ptr::null_mut(), place, &raw mut length) })?;
    let label = TOKEN_MANDATORY_LABEL {
        Label: SID_AND_ATTRIBUTES { Sid: place, Attributes: SE_GROUP_INTEGRITY.cast_unsigned() },
    };
    let size = u32::try_from(size_of::<TOKEN_MANDATORY_LABEL>()).unwrap_or(0) + length;
    // SAFETY: the token is open; the label and what it leads to outlive the call.
    done(unsafe {
        SetTokenInformation(
            token.as_raw_handle(),
            TokenIntegrityLevel,
            (&raw const label).cast(),
            size,
        )
    })
}

#[expect(unsafe_code, reason = "the interface answers with a list behind its length")]
fn drop_privileges(token: &OwnedHandle) -> io::Result<()> {
    // There are fewer than forty, of twelve bytes each; in words of eight bytes, so that the list is aligned.
    let mut buffer = [0_u64; 256];
    let size = u32::try_from(size_of::<[u64; 256]>()).unwrap_or(0);
    let (mut needed, place) = (0, buffer.as_mut_ptr());
    // SAFETY: the token is open, and there is as much room as we say.
    done(unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenPrivileges,
            place.cast(),
            size,
            &raw mut needed,
        )
    })?;
    let all = place.cast::<TOKEN_PRIVILEGES>();
    // SAFETY: the list was written there, and is as long as it says.
    unsafe {
        let first = (&raw mut (*all).Privileges).cast::<LUID_AND_ATTRIBUTES>();
        for number in 0..(*all).PrivilegeCount as usize {
            let one = first.add(number);
            let luid = (*one).Luid;
            if luid.LowPart != PASSING || luid.HighPart != 0 {
                (*one).Attributes = SE_PRIVILEGE_REMOVED;
            }
        }
        done(AdjustTokenPrivileges(
            token.as_raw_handle(),
            0,
            all,
            0,
            ptr::null_mut(),
            ptr::null_mut(),
        ))
    }
}
