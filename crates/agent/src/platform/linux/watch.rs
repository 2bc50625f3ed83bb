//! Folders in which something may happen: `inotify(7)`.

use std::{
    ffi::OsString,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use rustix::fs::inotify;

use super::{Waited, sessions};

/// Whoever is told of it.
#[derive(Debug)]
pub(crate) struct Watch {
    watch: OwnedFd,
    policy: Option<(i32, OsString)>,
}

impl Watch {
    /// Watches `news`, a file that is replaced, and who logs on to the machine with that root.
    pub(crate) fn new(news: Option<&Path>, root: &Path) -> io::Result<Self> {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let policy = news.and_then(|file| {
            let what = inotify::WatchFlags::CLOSE_WRITE | inotify::WatchFlags::MOVED_TO;
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            let number = inotify::add_watch(&watch, folder, what).ok()?;
            Some((number, file.file_name()?.to_owned()))
        });
        // Who comes and goes may be what something waits for.
        let coming = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE;
        let _ = inotify::add_watch(&watch, root.join(sessions::FOLDER), coming);
        Ok(Self { watch, policy })
    }

    /// Watches the folder of an attempt, as long as it is there.
    pub(crate) fn attempt(&mut self, folder: &Path) -> io::Result<()> {
        inotify::add_watch(&self.watch, folder, inotify::WatchFlags::MOVED_TO)?;
        Ok(())
    }

    /// An attempt is no more, and is not watched with it.
    #[expect(clippy::unused_self, reason = "as where what is watched keeps its name")]
    pub(crate) fn leave_attempt(&mut self) {}

    /// Takes in what happened; whether there is news.
    pub(crate) fn take(&mut self) -> bool {
        let mut block = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.watch, &mut block);
        let mut is_news = false;
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(std::ffi::CStr::to_bytes);
            is_news |= self.policy.as_ref().is_some_and(|(watch, file)| {
                *watch == event.wd() && name == Some(file.as_encoded_bytes())
            });
        }
        is_news
    }

    pub(crate) fn waited(&self) -> Vec<Waited<'_>> {
        vec![self.watch.as_fd()]
    }
}
