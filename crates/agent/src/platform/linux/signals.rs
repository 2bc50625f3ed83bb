//! Signals as something to read: signalfd(2).

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd as _, FromRawFd as _},
};

use super::Waited;

/// Signals to an agent.
#[derive(Debug)]
pub(crate) struct Signals(File);

/// What somebody wants of an agent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    /// That it ends.
    pub(crate) end: bool,
    /// That the site is asked now.
    pub(crate) ask: bool,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        listen(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD]).map(Self)
    }

    pub(crate) fn take(&mut self) -> io::Result<Wishes> {
        let came = take(&mut self.0)?;
        Ok(Wishes {
            end: came
                .iter()
                .any(|signal| [libc::SIGTERM, libc::SIGINT].contains(&signal.cast_signed())),
            ask: came.contains(&libc::SIGHUP.cast_unsigned()),
        })
    }

    pub(crate) fn waited(&self) -> Waited<'_> {
        self.0.as_fd()
    }
}

/// From now on these signals are read from the file, and do nothing else. Programs started later are not affected.
#[expect(unsafe_code, reason = "neither std nor rustix has signalfd")]
pub(super) fn listen(signals: &[i32]) -> io::Result<File> {
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
pub(super) fn take(file: &mut File) -> io::Result<Vec<u32>> {
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
