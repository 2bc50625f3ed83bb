//! Accounts programs run on, and what they find there.

use std::{convert::Infallible, io, path::Path};

use crate::attempt::RunAccount;

/// Words by which the shell takes all that follows as one line, however it is quoted (`cmd /?`).
pub(super) const SHELL: [&str; 3] = ["/d", "/s", "/c"];

/// The account of a user. Programs run on none yet but the service's own.
#[derive(Clone, Debug)]
pub(crate) struct Account(Infallible);

impl Account {
    /// The account of this name.
    pub(crate) fn named(_: &Path, name: &str) -> io::Result<Option<Self>> {
        let text = format!(
            "`{name}` would have to run it: on Windows the agent runs programs for the machine only; deploy it to run as the system"
        );
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }
}

/// How the machine's shell is asked to do a line.
pub(crate) fn shell(line: &str) -> Vec<String> {
    let program = std::env::var("ComSpec").unwrap_or_else(|_| "cmd.exe".to_owned());
    std::iter::once(program)
        .chain(SHELL.map(str::to_owned))
        .chain(std::iter::once(line.to_owned()))
        .collect()
}

/// What every program finds in its environment: what the machine gives its services, and nothing of how we reach others.
pub(crate) fn environment() -> Vec<(String, String)> {
    let reach = crate::order::reach();
    let all = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    all.filter(|one| !reach.contains(one)).collect()
}

/// Where a program runs, and what it finds in its environment besides, on that account or on ours.
pub(crate) fn surroundings(account: Option<&Account>) -> (String, Vec<(String, String)>) {
    if let Some(Account(never)) = account {
        match *never {}
    }
    let drive = std::env::var("SystemDrive").unwrap_or_else(|_| "C:".to_owned());
    (format!(r"{drive}\"), Vec::new())
}

/// The account as an attempt has it.
pub(crate) fn of_run(account: &Account) -> RunAccount {
    match account.0 {}
}
