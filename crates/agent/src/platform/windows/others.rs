//! Others at work: Windows Installer, which lets one at a time, and whoever is being logged on. Waiting is the machine's: it costs
//! nothing, and ends when they do.

use std::{
    io,
    path::{Path, PathBuf},
};

use machine_windows::{INSTALLER, Logon};
use serde::Serialize;

/// Another installer at work, or a logon.
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
    /// The logon, if it is one.
    #[serde(skip)]
    logon: Option<Logon>,
}

impl Busy {
    /// The sentence people read.
    pub fn sentence(&self) -> String {
        match (self.process, self.seconds) {
            (Some(process), Some(seconds)) => {
                format!("{} (`{}`, process {process}, for {seconds} s)", self.what, self.name)
            }
            _ => format!("{} is at work (`{}` is held)", self.what, self.path.display()),
        }
    }
}

/// Who is at work on the machine, if anybody.
pub fn busy(_: &Path) -> Option<Busy> {
    // What we may not look at is nothing we could wait for.
    if machine_windows::is_held(INSTALLER).unwrap_or(false) {
        return Some(Busy {
            what: "Windows Installer",
            path: INSTALLER.into(),
            process: None,
            name: String::new(),
            seconds: None,
            logon: None,
        });
    }
    let logon = machine_windows::logon().ok().flatten()?;
    Some(Busy {
        what: if logon.is_active_setup {
            "Active Setup is at work for somebody who logs on"
        } else {
            "somebody is being logged on"
        },
        path: logon.name.clone().into(),
        process: Some(logon.process),
        name: logon.name.clone(),
        seconds: Some(logon.seconds()),
        logon: Some(logon),
    })
}

/// Waits until that one is done.
pub fn wait(busy: &Busy) -> io::Result<()> {
    match &busy.logon {
        Some(logon) => machine_windows::wait_for_logon(logon),
        None => machine_windows::wait_until_free(&busy.path.to_string_lossy()),
    }
}
