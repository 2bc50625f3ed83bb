//! Other installers at work: seen, named, waited for at no cost.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
};

use crate::support::{Machine, lines, shell};

/// Holds a POSIX record lock as dpkg does, until told to end.
const RECORD: &str = "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f,fcntl.LOCK_EX); print('held',flush=True); sys.stdin.readline()";
/// Has a file open as pacman does, until told to end; the file stays.
const OPEN: &str =
    "import sys; f=open(sys.argv[1],'w'); print('held',flush=True); sys.stdin.readline()";

fn hold(script: &str, path: &std::path::Path) -> Child {
    let mut child = Command::new("python3")
        .args(["-c", script, path.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child
}

fn waits_for(path: &str, script: &str, what: &str) {
    let mut machine = Machine::new();
    let file = machine.root().join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "").unwrap();
    let mut holder = hold(script, &file);
    let out = machine.out("ran");
    machine.deploy(&[shell("one", &format!("echo x >> {out}"))]);
    let agent = machine.start(&[]);
    machine.until("the wait", |machine| machine.status()["waits-for"].is_array());
    let status = machine.status();
    let sentence = status["waits-for"][0].as_str().unwrap();
    let expected = format!("{what} is locked by `python3");
    assert!(sentence.starts_with(&expected), "{sentence}");
    assert!(sentence.contains(&format!("process {}, for ", holder.id())), "{sentence}");
    assert_eq!(lines(&out), 0);
    holder.stdin.take().unwrap().write_all(b"end\n").unwrap();
    holder.wait().unwrap();
    machine.until_told("one", "done");
    // It cost nothing: one attempt, and no word of a failure.
    assert_eq!(machine.words("one"), ["starting", "done"]);
    agent.kill();
}

#[test]
fn dpkg_is_waited_for() {
    waits_for("var/lib/dpkg/lock-frontend", RECORD, "dpkg");
}

#[test]
fn rpm_is_waited_for() {
    waits_for("var/lib/rpm/.rpm.lock", RECORD, "rpm");
}

#[test]
fn pacman_is_waited_for_and_what_it_left_behind_is_not() {
    // The file stays, as after a crash of pacman: whoever had it open is gone, and so is the lock.
    waits_for("var/lib/pacman/db.lck", OPEN, "pacman");
}
