//! What went wrong in the field, and does not here.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::support::{AGENT, Machine, Running, lines, shell, with};

/// A guardian's home with the agent as version 1, at work, and the same with more behind it as version 2.
fn home(machine: &Machine) -> std::path::PathBuf {
    let home = machine.path("home");
    for (name, more) in [("1", ""), ("2", "another one")] {
        let folder = home.join("versions").join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut bytes = fs::read(AGENT).unwrap();
        bytes.extend_from_slice(more.as_bytes());
        let program = folder.join("packhorse-agent");
        fs::write(&program, bytes).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    symlink("versions/1", home.join("current")).unwrap();
    home
}

fn adopt(home: &Path, version: &str) -> std::process::Output {
    Command::new(AGENT).args(["adopt", version, "--home"]).arg(home).output().unwrap()
}

/// An upgrade that is wanted while a program runs waits for its end, and the agent makes way then.
#[test]
fn q283130_an_upgrade_never_cuts_off_what_runs() {
    let mut machine = Machine::new();
    let home = home(&machine);
    let (out, go) = (machine.out("starts"), machine.out("go"));
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &go, fifo, mode, 0).unwrap();
    machine.deploy(&[shell("one", &format!("echo x >> {out}; read x < {go}; echo y >> {out}"))]);
    let mut agent = machine.command(&[]);
    agent.env("PACKHORSE_GUARDIAN", &home).stdout(Stdio::null()).stderr(Stdio::inherit());
    let mut agent = Running(agent.spawn().unwrap());
    machine.until("the program to run", |machine| {
        machine.status()["runs"][0]["state"] == "running" && lines(&out) == 1
    });
    let adopted = adopt(&home, "2");
    assert!(adopted.status.success(), "{adopted:?}");
    // It is told again and again, and goes on.
    for _ in 0..50 {
        machine.ask(&["check-in"]);
        assert_eq!(machine.status()["runs"][0]["state"], "running");
        assert!(agent.0.try_wait().unwrap().is_none(), "the agent stays beside what runs");
    }
    fs::write(&go, "go\n").unwrap();
    machine.until_told("one", "done");
    assert!(agent.0.wait().unwrap().success(), "it makes way");
    assert_eq!(lines(&out), 2);
}

/// What an older site offers, or an older deployment that is run again, takes nobody back; who means it says so.
#[test]
fn q262677_nobody_goes_back_to_an_older_version_unasked() {
    let machine = Machine::new();
    let home = home(&machine);
    fs::remove_file(home.join("current")).unwrap();
    symlink("versions/2", home.join("current")).unwrap();
    let refused = adopt(&home, "1");
    assert_eq!(refused.status.code(), Some(9), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--older"), "{refused:?}");
    assert!(!home.join("upgrade").exists());
    let mut meant = Command::new(AGENT);
    meant.args(["adopt", "1", "--older", "--home"]).arg(&home);
    assert!(meant.output().unwrap().status.success());
    assert!(home.join("upgrade").exists());
}

/// Whatever is wrong with a version, it never becomes the one at work, and what works goes on.
#[test]
fn q287990_a_damaged_version_is_not_taken() {
    let machine = Machine::new();
    let home = home(&machine);
    let program = home.join("versions/2/packhorse-agent");
    let whole = fs::read(AGENT).unwrap();
    let beginning = whole[..65_536].to_vec();
    let mut head = whole.clone();
    head[0] ^= 1;
    for bytes in [beginning, head, Vec::new(), b"#!/bin/sh\nexit 1\n".to_vec()] {
        fs::write(&program, &bytes).unwrap();
        let refused = adopt(&home, "2");
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("does not work on this machine"));
        assert!(!home.join("upgrade").exists(), "nothing is under way");
    }
    assert_eq!(fs::read_link(home.join("current")).unwrap(), Path::new("versions/1"));
}

/// Runs a line of the shell as a user of no rights.
fn as_nobody(line: &str) -> bool {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).uid(65534).gid(65534).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap().success()
}

/// What an earlier version left open to everybody is closed, and that is said.
#[test]
fn q257364_what_others_could_write_is_closed_to_them() {
    let mut machine = Machine::new();
    let home = home(&machine);
    let out = machine.out("ran");
    machine.deploy(&[shell("one", &format!("echo x >> {out}"))]);
    machine.once(&[]);
    let open =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let state = machine.state();
    open(&machine.path(""), 0o755);
    let program = home.join("versions/1/packhorse-agent");
    let (history, runs) = (state.join("history"), state.join("runs"));
    for path in [&state, &runs, &history, &home, &home.join("versions/1"), &program] {
        open(path, 0o777);
    }
    let tries = [
        format!("echo damaged >> {}", history.display()),
        format!("cat {} > /dev/null", history.display()),
        format!("mkdir {}/two.0.1", runs.display()),
        format!("echo damaged > {}/policy.new", state.display()),
        format!("touch {}", program.display()),
        format!("touch {}/upgrade.new", home.display()),
    ];
    for line in &tries {
        let is_harmful = line.starts_with("echo damaged >>");
        assert!(is_harmful || as_nobody(line), "as it was: {line}");
    }
    let mut agent = machine.command(&[]);
    agent.env("PACKHORSE_GUARDIAN", &home).stdout(Stdio::null()).stderr(Stdio::inherit());
    let _agent = Running(agent.spawn().unwrap());
    machine.until("the agent to say so", |machine| {
        machine.status()["notes"].to_string().contains("was open to others, 777")
    });
    let notes = machine.status()["notes"].to_string();
    assert!(notes.contains("belonged to user 65534"), "{notes}");
    for line in &tries {
        assert!(!as_nobody(line), "{line}");
    }
    assert_eq!(fs::metadata(&program).unwrap().mode() & 0o777, 0o755);
    assert_eq!(lines(&out), 1, "its history is whole");
}

/// Whatever the agent's own environment says, programs are found where they belong.
#[test]
fn q244410_nothing_is_found_by_a_search_path_others_could_choose() {
    let mut machine = Machine::new();
    let planted = machine.path("planted");
    fs::create_dir(&planted).unwrap();
    let caught = machine.out("caught");
    let names = [
        "sh",
        "ls",
        "true",
        "dpkg",
        "rpm",
        "pacman",
        "systemctl",
        "systemd-run",
        "id",
        "cat",
        "packhorse-agent",
    ];
    for name in names {
        let program = planted.join(name);
        fs::write(&program, format!("#!/bin/sh\necho {name} >> {caught}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let out = machine.out("environment");
    let direct =
        json!({ "id": "two", "program": { "action": { "command": { "direct": ["true"] } } } });
    let one = shell("one", &format!("ls / > /dev/null; id > /dev/null; env > {out}"));
    machine
        .deploy(&[with(one, "retry", json!({ "first": 1, "longest": 1, "attempts": 1 })), direct]);
    let path = format!("{}:.:{}", planted.display(), std::env::var("PATH").unwrap());
    let with_path = |command: &mut Command| {
        command.env("PATH", &path).env("LD_LIBRARY_PATH", &planted).current_dir(&planted);
        command.output().unwrap()
    };
    let ran = with_path(machine.command(&["--once", "--json"]).stdout(Stdio::piped()));
    assert!(ran.status.success(), "{ran:?}");
    for words in [["status", "--json"], ["check-in", "--json"]] {
        with_path(Command::new(AGENT).args(words).arg("--state").arg(machine.state()));
    }
    assert_eq!(machine.words("one"), ["starting", "done"]);
    assert_eq!(machine.words("two"), ["starting", "done"]);
    assert_eq!(fs::read_to_string(&caught).unwrap_or_default(), "", "nothing of it ran");
    let environment = fs::read_to_string(&out).unwrap();
    assert!(
        !environment.contains("planted") && !environment.contains("LD_LIBRARY_PATH"),
        "{environment}"
    );
}
