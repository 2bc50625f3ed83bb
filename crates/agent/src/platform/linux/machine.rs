//! The machine, or a folder in which one is.

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
};

use change::Observe as _;
use model::MachinePath;
use operate::{LocalFacts, LocalMachine};

/// Where an agent keeps what it must not lose, unless somebody says otherwise.
pub(crate) const STATE: &str = "/var/lib/packhorse-agent";
/// The file of a version.
pub(crate) const PROGRAM: &str = "packhorse-agent";
/// Where the guardian is at home.
pub(crate) const HOME: &str = "/opt/packhorse-agent";

/// The version the guardian starts: a link leads to it.
pub(crate) fn current(link: &Path) -> io::Result<String> {
    let link = std::fs::read_link(link)?;
    Ok(link.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// What a program does first.
pub(crate) fn begin() {}

/// The folder somebody said.
#[expect(clippy::unnecessary_wraps, reason = "as a reader of arguments is")]
pub(crate) fn place(said: &str) -> Result<PathBuf, Infallible> {
    Ok(said.into())
}

/// The root folder as it was said, from wherever.
pub(crate) fn root(said: &Path) -> io::Result<PathBuf> {
    std::path::absolute(said)
}

/// The machine of a root folder.
pub(crate) fn open(root: &Path) -> io::Result<LocalMachine> {
    LocalMachine::new(root)
}

pub(crate) fn facts(machine: &LocalMachine) -> LocalFacts {
    LocalFacts::of(machine)
}

/// What a machine calls itself.
pub(crate) fn name(root: &Path) -> String {
    if root == Path::new("/") {
        return rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    std::fs::read_to_string(root.join("etc/hostname")).unwrap_or_default().trim().to_owned()
}

/// Where it keeps content that may be of use again.
pub(crate) fn cache(machine: &LocalMachine) -> PathBuf {
    machine.root().join(store::Cache::FOLDER)
}

/// Whom it believes, and what it has seen of them.
pub(crate) fn trust(root: &Path) -> [PathBuf; 2] {
    [root.join("etc/packhorse/trust-root.json"), root.join("var/lib/packhorse/trust")]
}

/// Where a file of it is, as programs open it.
pub(crate) fn host(machine: &LocalMachine, path: &MachinePath) -> Option<PathBuf> {
    Some(machine.host(&machine.resolve(path).ok()?))
}
