//! Signals as something to read: signalfd(2).

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::FromRawFd as _,
};

/// From now on these signals are read from the file, and do nothing else. Programs started later are not affected.
#[expect(unsafe_code, reason = "neither std nor rustix has signalfd")]
pub(crate) fn listen(signals: &[i32]) -> io::Result<File> {
    // SAFETY: the set is plain data that lives on this stack; the descriptor is new, and ours alone.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        if libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let descriptor = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(File::from_raw_fd(descriptor))
    }
}

/// The signals that came.
pub(crate) fn take(file: &mut File) -> io::Result<Vec<u32>> {
    const SIZE: usize = size_of::<libc::signalfd_siginfo>();
    let mut signals = Vec::new();
    let mut block = [0; SIZE];
    loop {
        match file.read(&mut block) {
            // The number is the first field.
            Ok(SIZE) => signals.extend(block.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))),
            Ok(_) => return Ok(signals),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(signals),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
