//! Other installers at work: seen, named, waited for at no cost.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
};

use crate::support::{AGENT, Machine, Running, lines, shell};

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

/// Of this machine's files a machine of its own, whose changes nobody keeps: its first process is the second script.
const OUTSIDE: &str = r#"
mkdir "$1/memory"; mount -t tmpfs tmpfs "$1/memory"
cd "$1/memory"; mkdir upper work machine
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work machine
mount -t proc proc machine/proc; mount --rbind /dev machine/dev
mount -t tmpfs tmpfs machine/run; mkdir machine/run/dbus
mkdir -p "machine$1"; mount --bind "$1" "machine$1"
exec chroot machine /bin/sh -ec "$2" inside "$1"
"#;
/// A bus, `PackageKit`, and a package that is being installed until somebody says go; then the agent.
const INSIDE: &str = r#"
dbus-daemon --system --nopidfile --fork
/usr/lib/polkit-1/polkitd --no-debug > "$1/polkitd" 2>&1 &
gdbus wait --system --timeout 60 org.freedesktop.PolicyKit1
/usr/libexec/packagekitd > "$1/packagekitd" 2>&1 &
gdbus wait --system --timeout 60 org.freedesktop.PackageKit
mkfifo "$1/began" "$1/go"
mkdir -p /tmp/slow/DEBIAN
printf 'Package: slow\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: slow\n' > /tmp/slow/DEBIAN/control
printf '#!/bin/sh\necho > %s/began\ncat %s/go\n' "$1" "$1" > /tmp/slow/DEBIAN/postinst
chmod 755 /tmp/slow/DEBIAN/postinst
dpkg-deb --build /tmp/slow "$1/slow.deb" > /dev/null
pkcon -y --allow-untrusted install-local "$1/slow.deb" > "$1/pkcon" 2>&1 &
cat "$1/began" > /dev/null
exec "$1/agent" run --policy "$1/site/policy.json" --messages "$1/messages.jsonl" --root / --state "$1/state"
"#;

#[test]
fn package_kit_is_waited_for() {
    let mut machine = Machine::new();
    std::fs::copy(AGENT, machine.path("agent")).unwrap();
    let out = machine.out("ran");
    machine.deploy(&[shell("one", &format!("echo x >> {out}"))]);
    let folder = machine.path("");
    let folder = folder.to_str().unwrap().trim_end_matches('/');
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-ec", OUTSIDE]);
    let agent = Running(unshare.args(["outside", folder, INSIDE]).spawn().unwrap());
    machine.until("the wait", |machine| machine.status()["waits-for"].is_array());
    let status = machine.status();
    let sentence = status["waits-for"][0].as_str().unwrap();
    assert!(sentence.starts_with("PackageKit installs files for `pkcon` (process "), "{sentence}");
    assert_eq!(lines(&out), 0);
    std::fs::write(machine.path("go"), "go\n").unwrap();
    machine.until_told("one", "done");
    assert_eq!((machine.words("one"), lines(&out)), (vec!["starting".into(), "done".into()], 1));
    agent.kill();
}
