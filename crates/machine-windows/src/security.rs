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

use crate::{names::wide, registry::code, services::done};

/// All rights for the machine itself and for administrators, on what is in it too; nothing is inherited from above.
const PRIVATE: &str = "D:P(A;OICI;GA;;;SY)(A;OICI;GA;;;BA)";

/// Who may do what with something.
#[derive(Debug)]
pub(crate) struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    /// Administrators and the machine itself everything, nobody else anything.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub(crate) fn private() -> io::Result<Self> {
        let mut descriptor = ptr::null_mut();
        // SAFETY: the text ends with a zero, and the pointer that is written is on this stack.
        done(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                wide(PRIVATE).as_ptr(),
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
