//! Folders in which something may happen.

use std::{
    fs, io,
    os::windows::io::AsHandle as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use machine_windows::Folder;

use super::Waited;

/// Whoever is told of it.
#[derive(Debug)]
pub(crate) struct Watch {
    news: Option<News>,
    attempt: Option<Folder>,
}

/// A file that is replaced when there is news. What else happens beside it is none.
#[derive(Debug)]
struct News {
    file: PathBuf,
    folder: Folder,
    seen: Option<(SystemTime, u64)>,
}

impl News {
    fn now(file: &Path) -> Option<(SystemTime, u64)> {
        let found = fs::metadata(file).ok()?;
        Some((found.modified().ok()?, found.len()))
    }
}

impl Watch {
    /// Watches `news`, a file that is replaced.
    #[expect(clippy::unnecessary_wraps, reason = "as where watching has to be asked for")]
    pub(crate) fn new(news: Option<&Path>, _: &Path) -> io::Result<Self> {
        let news = news.and_then(|file| {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = Folder::watch(folder.unwrap_or(Path::new("."))).ok()?;
            Some(News { seen: News::now(file), file: file.to_owned(), folder })
        });
        Ok(Self { news, attempt: None })
    }

    /// Watches the folder of an attempt, in place of the one before.
    pub(crate) fn attempt(&mut self, folder: &Path) -> io::Result<()> {
        // One that is watched cannot be given another name.
        self.attempt = None;
        self.attempt = Some(Folder::watch(folder)?);
        Ok(())
    }

    /// An attempt is no more.
    pub(crate) fn leave_attempt(&mut self) {
        self.attempt = None;
    }

    /// Takes in what happened; whether there is news.
    pub(crate) fn take(&mut self) -> bool {
        if let Some(attempt) = &self.attempt {
            attempt.clear();
        }
        let Some(news) = &mut self.news else { return false };
        news.folder.clear();
        let now = News::now(&news.file);
        let is_news = now.is_some() && now != news.seen;
        news.seen = now;
        is_news
    }

    pub(crate) fn waited(&self) -> Vec<Waited<'_>> {
        let news = self.news.iter().map(|news| news.folder.as_handle());
        news.chain(self.attempt.as_ref().map(|attempt| attempt.as_handle())).collect()
    }
}
