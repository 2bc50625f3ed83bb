//! Histories that were cut, damaged, deleted, put back.

use std::fs;

use crate::support::{Machine, lines, shell};

/// A machine where five programs ran.
fn machine() -> (Machine, Vec<serde_json::Value>, String) {
    let mut machine = Machine::new();
    let out = machine.out("ran");
    let all: Vec<_> = (0..5)
        .map(|number| shell(&format!("d{number}"), &format!("echo {number} >> {out}")))
        .collect();
    machine.deploy(&all);
    machine.once(&[]);
    assert_eq!(lines(&out), 5);
    (machine, all, out)
}

fn histories(machine: &Machine) -> [std::path::PathBuf; 2] {
    [machine.state().join("history"), machine.state().join("second/history")]
}

#[test]
fn q229809_one_damaged_copy_is_mended_from_the_other() {
    let (machine, _, out) = machine();
    let [one, two] = histories(&machine);
    let whole = fs::read(&one).unwrap();
    for (path, bytes) in [
        (&one, Vec::new()),
        (&two, whole[..whole.len() / 2].to_vec()),
        (&one, whole.iter().map(|byte| byte ^ 0x55).collect()),
        (&two, [&whole[..60], &[0; 40], &whole[100..]].concat()),
    ] {
        fs::write(path, bytes).unwrap();
        machine.once(&[]);
        assert_eq!(lines(&out), 5, "nothing ran again");
        assert_eq!(machine.status()["history-lost"], false);
        assert!(fs::read(path).unwrap().len() > 100, "mended");
    }
    fs::remove_file(&two).unwrap();
    machine.once(&[]);
    assert_eq!(lines(&out), 5);
}

#[test]
fn q229809_with_both_copies_gone_nothing_runs_blindly() {
    let (machine, _, out) = machine();
    for path in histories(&machine) {
        fs::remove_file(path).unwrap();
    }
    machine.once(&[]);
    assert_eq!(lines(&out), 5, "nothing ran again");
    let status = machine.status();
    assert_eq!(status["history-lost"], true);
    let lost = machine.messages().into_iter().filter(|one| one["said"]["word"] == "history-lost");
    assert_eq!(lost.count(), 1);
}

#[test]
fn q229809_a_history_that_was_put_back_is_noticed_by_the_site() {
    let mut machine = Machine::new();
    let out = machine.out("ran");
    let one = shell("one", &format!("echo 1 >> {out}"));
    machine.deploy(std::slice::from_ref(&one));
    machine.once(&[]);
    let before = histories(&machine).map(|path| fs::read(path).unwrap());
    machine.deploy(&[one, shell("two", &format!("echo 2 >> {out}"))]);
    machine.once(&[]);
    assert_eq!(lines(&out), 2);
    for (path, bytes) in histories(&machine).iter().zip(before) {
        fs::write(path, bytes).unwrap();
    }
    machine.once(&[]);
    assert_eq!(lines(&out), 2, "nothing ran again");
    assert_eq!(machine.status()["history-lost"], true);
}
