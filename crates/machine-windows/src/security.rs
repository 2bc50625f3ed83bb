//! What is for administrators and the machine itself, and for nobody else.

use std::{io, path::Path, ptr};

use windows_sys::Win32::{
    Foundation::LocalFree,
    Security::{
        ACL,
        Authorization::{
            ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1, SE_FILE_OBJECT,
            SetNamedSecurityInfoW,
        },
        DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl, PROTECTED_DACL_SECURITY_INFORMATION,
        PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES,
    },
};

#[cfg(feature = "observe")]
use windows_sys::Win32::{Foundation::ERROR_ALREADY_EXISTS, Storage::FileSystem::CreateDirectoryW};

#[cfg(feature = "observe")]
use crate::services::is;
use crate::{names::wide, registry::code, services::done};

/// All rights for the machine itself and for administrators, on what is in it too; nothing is inherited from above.
const PRIVATE: &str = "D:P(A;OICI;GA;;;SY)(A;OICI;GA;;;BA)";
/// The same for its owner too, whoever that is.
#[cfg(feature = "observe")]
const OWNERS: &str = "D:P(A;OICI;FA;;;OW)(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)";

/// Who may do what with something.
#[derive(Debug)]
pub(crate) struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    /// Administrators and the machine itself everything, nobody else anything.
    pub(crate) fn private() -> io::Result<Self> {
        Self::of(PRIVATE)
    }

    /// What a text says in the descriptors' language ([MS-DTYP] 2.5.1).
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn of(text: &str) -> io::Result<Self> {
        let mut descriptor = ptr::null_mut();
        // SAFETY: the text ends with a zero, and the pointer that is written is on this stack.
        done(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                wide(text).as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        })?;
        Ok(Self(descriptor))
    }

    /// As what is made wants it. It leads to this, and is not used after it.
    pub(crate) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0),
            lpSecurityDescriptor: self.0,
            bInheritHandle: 0,
        }
    }

    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn list(&self) -> io::Result<*mut ACL> {
        let (mut is_there, mut list, mut is_default) = (0, ptr::null_mut(), 0);
        // SAFETY: the descriptor is whole, and what is written is on this stack.
        done(unsafe {
            GetSecurityDescriptorDacl(self.0, &raw mut is_there, &raw mut list, &raw mut is_default)
        })?;
        Ok(list)
    }
}

impl Drop for Descriptor {
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn drop(&mut self) {
        // SAFETY: the interface made it, and says to free it so.
        unsafe { LocalFree(self.0) };
    }
}

/// Makes a folder only its owner and administrators may look into; one that is there stays as it is.
///
/// # Errors
/// It cannot be made.
#[cfg(feature = "observe")]
#[expect(unsafe_code, reason = "std makes folders as the one above says")]
pub(crate) fn make_own(folder: &Path) -> io::Result<()> {
    if let Some(above) = folder.parent() {
        std::fs::create_dir_all(above)?;
    }
    let descriptor = Descriptor::of(OWNERS)?;
    let attributes = descriptor.attributes();
    // SAFETY: the name ends with a zero; the attributes and what they lead to outlive the call.
    match done(unsafe { CreateDirectoryW(wide(folder).as_ptr(), &raw const attributes) }) {
        Err(error) if is(&error, ERROR_ALREADY_EXISTS) => Ok(()),
        other => other,
    }
}

/// Takes from others what they may do with a folder and with all that is in it.
///
/// # Errors
/// It is not there, or not ours to say.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn make_private(folder: &Path) -> io::Result<()> {
    let descriptor = Descriptor::private()?;
    let list = descriptor.list()?;
    let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
    // SAFETY: the name ends with a zero, and the list lives as long as its descriptor.
    code(unsafe {
        SetNamedSecurityInfoW(
            wide(folder).as_ptr(),
            SE_FILE_OBJECT,
            what,
            ptr::null_mut(),
            ptr::null_mut(),
            list,
            ptr::null(),
        )
    })
}
