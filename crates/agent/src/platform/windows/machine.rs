//! The machine we are on: there is no other.

use std::{
    convert::Infallible,
    env, fs, io,
    path::{Path, PathBuf},
};

use model::MachinePath;
use operate::{LocalFacts, LocalMachine};

/// Where an agent keeps what it must not lose, unless somebody says otherwise. Not in `Packhorse`: that folder is the change engine's,
/// which makes it whole and takes it away whole.
pub(crate) const STATE: &str = r"%ProgramData%\Packhorse-agent";
/// The file of a version.
pub(crate) const PROGRAM: &str = "packhorse-agent.exe";
/// Where the guardian is at home.
pub(crate) const HOME: &str = r"%ProgramFiles%\Packhorse-agent";

/// The version the guardian starts: a file has its name.
pub(crate) fn current(file: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(file)?.trim().to_owned())
}

/// What a program does first.
pub(crate) fn begin() {
    machine_windows::mend_environment();
}

/// The folder somebody said, with the variables of the machine in it.
#[expect(clippy::unnecessary_wraps, reason = "as a reader of arguments is")]
pub(crate) fn place(said: &str) -> Result<PathBuf, Infallible> {
    let mut path = said.to_owned();
    for (name, usual) in [("ProgramData", r"C:\ProgramData"), ("ProgramFiles", r"C:\Program Files")]
    {
        let value = env::var(name).unwrap_or_else(|_| usual.to_owned());
        path = path.replace(&format!("%{name}%"), &value);
    }
    Ok(path.into())
}

/// The usual state folder.
pub(crate) fn usual_state() -> PathBuf {
    let Ok(place) = place(STATE);
    place
}

/// Another of our folders, where programs keep what is for all users.
fn below(name: &str) -> PathBuf {
    let Ok(place) = place(&format!(r"%ProgramData%\Packhorse-{name}"));
    place
}

/// The root folder as it was said.
#[expect(clippy::unnecessary_wraps, reason = "as where it depends on the current folder")]
pub(crate) fn root(said: &Path) -> io::Result<PathBuf> {
    Ok(said.to_owned())
}

/// The machine.
pub(crate) fn open(root: &Path) -> io::Result<LocalMachine> {
    if root != Path::new("/") {
        let what = "on Windows only the machine itself is a root: leave `--root` out";
        return Err(io::Error::new(io::ErrorKind::Unsupported, what));
    }
    Ok(LocalMachine::new())
}

pub(crate) fn facts(_: &LocalMachine) -> LocalFacts {
    LocalFacts
}

/// What a machine calls itself.
pub(crate) fn name(_: &Path) -> String {
    env::var("COMPUTERNAME").unwrap_or_default()
}

/// Where it keeps content that may be of use again.
pub(crate) fn cache(_: &LocalMachine) -> PathBuf {
    below("cache")
}

/// Whom it believes, and what it has seen of them.
pub(crate) fn trust(_: &Path) -> [PathBuf; 2] {
    [below("trust").join("root.json"), below("trust").join("seen")]
}

/// Where a file of it is, as programs open it.
pub(crate) fn host(_: &LocalMachine, path: &MachinePath) -> Option<PathBuf> {
    machine_windows::host(path)
}
