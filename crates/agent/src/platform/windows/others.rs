//! Another installer at work: Windows Installer, which lets one at a time. Waiting is the machine's: it costs nothing, and ends when
//! that one does.

use std::{
    io,
    path::{Path, PathBuf},
};

use machine_windows::INSTALLER;
use serde::Serialize;

/// Another installer at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Busy {
    /// Whose lock it is.
    pub what: &'static str,
    /// Its name.
    pub path: PathBuf,
    /// Who holds it: that is not told.
    pub process: Option<u32>,
    /// Its command name.
    pub name: String,
    /// For how many seconds it has been there.
    pub seconds: Option<u64>,
}

impl Busy {
    /// The sentence people read.
    pub fn sentence(&self) -> String {
        format!("{} is at work (`{}` is held)", self.what, self.path.display())
    }
}

/// Who is at work on the machine, if anybody.
pub fn busy(_: &Path) -> Option<Busy> {
    // What we may not look at is nothing we could wait for.
    machine_windows::is_held(INSTALLER).unwrap_or(false).then(|| Busy {
        what: "Windows Installer",
        path: INSTALLER.into(),
        process: None,
        name: String::new(),
        seconds: None,
    })
}

/// Waits until that one is done.
pub fn wait(busy: &Busy) -> io::Result<()> {
    machine_windows::wait_until_free(&busy.path.to_string_lossy())
}
