//! Which files were opened while an installer ran: it may look at a shared file, find it good, and not
//! write it. Where that file is missing, the package would be incomplete.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use model::MachinePath;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

pub use ::session::Opens;

/// A watch over file systems.
pub struct Watch {
    events: OwnedFd,
    buffer: Vec<u8>,
    /// What was seen.
    pub opens: BTreeMap<MachinePath, Opens>,
    /// The kernel said that events were lost.
    pub lost: bool,
}

impl Watch {
    /// Watches the file systems that hold `folders`.
    ///
    /// # Errors
    /// The kernel refuses: no right to, no fanotify, or a file system that cannot be watched.
    pub fn over(folders: &[OwnedFd]) -> io::Result<Self> {
        let (first, rest) = folders.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let events = crate::sys::watch_opens(first.as_fd())?;
        for folder in rest {
            crate::sys::mark(&events, folder.as_fd())?;
        }
        Ok(Self { events, buffer: vec![0; 64 << 10], opens: BTreeMap::new(), lost: false })
    }

    /// Takes events until `process` has ended, and then those that are left.
    ///
    /// # Errors
    /// The kernel's.
    pub fn until_end_of(&mut self, process: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            let mut waits = [
                PollFd::new(&self.events, PollFlags::IN),
                PollFd::from_borrowed_fd(process, PollFlags::IN),
            ];
            match poll(&mut waits, None) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let ended = !waits[1].revents().is_empty();
            self.drain()?;
            if ended {
                return Ok(());
            }
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        loop {
            let read = match rustix::io::read(&self.events, &mut self.buffer[..]) {
                Err(Errno::AGAIN) | Ok(0) => return Ok(()),
                Err(Errno::INTR) => continue,
                other => other?,
            };
            for event in crate::sys::events(&self.buffer[..read]) {
                self.lost |= event.overflowed;
                let Some(file) = event.file else { continue };
                let link = format!("/proc/self/fd/{}", file.as_raw_fd());
                let Ok(path) = rustix::fs::readlink(link, Vec::new()) else { continue };
                let Ok(path) = MachinePath::new(path.into_bytes()) else {
                    continue;
                };
                let opens = self.opens.entry(path).or_default();
                if event.executed {
                    opens.executed += 1;
                } else {
                    opens.opened += 1;
                }
            }
        }
    }
}
