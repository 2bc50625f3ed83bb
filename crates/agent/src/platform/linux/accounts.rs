//! Accounts programs run on, and what they find there.

use crate::attempt::RunAccount;

pub(crate) use machine_linux::account::Account;

/// Where programs are looked for, and nothing else of our own environment.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How the machine's shell is asked to do a line.
pub(crate) fn shell(line: &str) -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()]
}

/// What every program finds in its environment.
pub(crate) fn environment() -> Vec<(String, String)> {
    own(vec![("PATH", PATH.to_owned()), ("LANG", "C.UTF-8".to_owned())])
}

/// Where a program runs, and what it finds in its environment besides, on that account or on ours.
pub(crate) fn surroundings(account: Option<&Account>) -> (String, Vec<(String, String)>) {
    let Some(account) = account else {
        return ("/".to_owned(), own(vec![("HOME", "/root".to_owned())]));
    };
    let home = account.home.display().to_string();
    let mut environment =
        vec![("HOME", home.clone()), ("SHELL", account.shell.display().to_string())];
    environment.extend(["USER", "LOGNAME"].map(|name| (name, account.name.clone())));
    // Where the programs of who is logged on find each other (pam_systemd(8)).
    let runtime = format!("/run/user/{}", account.number);
    environment.push(("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={runtime}/bus")));
    environment.push(("XDG_RUNTIME_DIR", runtime));
    (home, own(environment))
}

/// The account as an attempt has it.
pub(crate) fn of_run(account: &Account) -> RunAccount {
    RunAccount { number: account.number, group: account.group, groups: account.groups.clone() }
}

fn own(environment: Vec<(&str, String)>) -> Vec<(String, String)> {
    environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
