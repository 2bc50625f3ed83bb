//! Programs that run for users, on their accounts.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Machine, shell, with};

/// What a login manager keeps of who is logged on (systemd-logind.service(8)).
fn log_on(machine: &Machine, number: u32, name: &str) {
    let folder = machine.root().join("run/systemd/sessions");
    fs::create_dir_all(&folder).unwrap();
    let text =
        format!("UID={number}\nUSER={name}\nCLASS=user\nSTATE=active\nREALTIME=1700000000000000\n");
    fs::write(folder.join(number.to_string()), text).unwrap();
}

fn machine() -> Machine {
    let machine = Machine::new();
    let etc = machine.root().join("etc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("passwd"), "anna:x:61234:61235::/nowhere:/bin/sh\n").unwrap();
    fs::write(etc.join("group"), "staff:x:61236:anna\n").unwrap();
    machine
}

fn for_users(deployment: Value, audience: &Value) -> Value {
    let own = with(deployment, "program.run-as", json!("user"));
    let once = with(own, "retry", json!({ "first": 1, "longest": 1, "attempts": 1 }));
    with(once, "audience", audience.clone())
}

#[test]
fn a_command_for_a_user_runs_on_that_account_once_the_user_is_logged_on() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut machine = machine();
    let who = "test \"$(id -u) $(id -g) $(id -G) $USER $HOME $PACKHORSE_USER $PWD\" = \"61234 61235 61235 61236 anna /nowhere anna /\"";
    let own = for_users(shell("own", who), &json!({ "users": ["anna"] }));
    let system = shell("system", "test \"$(id -u) $PACKHORSE_USER\" = \"0 anna\"");
    let system = with(system, "audience", json!("every-user"));
    machine.deploy(&[own, system]);
    machine.once(&[]);
    assert!(machine.words("own").is_empty(), "nobody is logged on");
    log_on(&machine, 61_234, "anna");
    machine.once(&[]);
    assert_eq!(machine.words("own"), ["starting", "done"], "{:?}", machine.messages());
    assert_eq!(machine.words("system"), ["starting", "done"], "{:?}", machine.messages());
    machine.once(&[]);
    assert_eq!(machine.words("own"), ["starting", "done"], "once");
}

#[test]
fn whoever_has_no_account_is_said_to_have_none() {
    let mut machine = machine();
    machine.deploy(&[for_users(shell("own", "true"), &json!("every-user"))]);
    log_on(&machine, 61_299, "otto");
    machine.once(&[]);
    let failed = machine.messages().into_iter().find(|one| one["said"]["word"] == "failed");
    let cause = failed.unwrap()["said"]["cause"].as_str().unwrap().to_owned();
    assert!(cause.contains("there is no account `otto` on this machine"), "{cause}");
}
