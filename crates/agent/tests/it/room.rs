//! Disks that are full.

use std::{fs, path::PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::support::{Machine, call, lines, shell};

/// A small disk in the place of a folder, until the end of the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(folder: PathBuf) -> Self {
        mount("small", &folder, "tmpfs", MountFlags::empty(), Some(c"size=512k,mode=700")).unwrap();
        Self(folder)
    }

    /// Takes all room but this, in bytes.
    fn fill_but(&self, left: u64) {
        let room = rustix::fs::statvfs(&self.0).unwrap();
        let free = room.f_bavail * room.f_frsize;
        let size = usize::try_from(free.saturating_sub(left)).unwrap();
        fs::write(self.0.join("filling"), vec![0x55; size]).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filling")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn on_a_full_disk_nothing_new_is_decided_and_it_goes_on_when_there_is_room() {
    let mut machine = Machine::new();
    let disk = SmallDisk::at(machine.state());
    let out = machine.out("ran");
    machine.deploy(&[call("first", &["true"])]);
    let agent = machine.start(&[]);
    machine.until_told("first", "done");
    disk.fill_but(0);
    machine.deploy(&[call("first", &["true"]), shell("second", &format!("echo x >> {out}"))]);
    machine.until("the wait", |machine| machine.status()["full"].is_array());
    let said = String::from_utf8(machine.ask(&["status"]).stdout).unwrap();
    assert!(said.contains("for room on the disk"), "{said}");
    assert_eq!(lines(&out), 0);
    disk.free();
    machine.until("room to be looked for", |machine| {
        machine.ask(&["check-in"]).status.success() && machine.status()["full"].is_null()
    });
    machine.until_told("second", "done");
    assert_eq!(machine.words("second"), ["starting", "done"]);
    assert_eq!(lines(&out), 1);
    agent.kill();
}

#[test]
fn a_result_waits_for_room_and_is_not_lost() {
    let mut machine = Machine::new();
    let disk = SmallDisk::at(machine.state());
    let (out, go) = (machine.out("ran"), machine.out("go"));
    machine.deploy(&[shell("one", &format!("echo x >> {out}; read x < {go}; seq 3000; exit 3"))]);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &go, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let agent = machine.start(&[]);
    machine.until("the program to run", |machine| {
        machine.status()["runs"][0]["state"] == "running" && lines(&out) == 1
    });
    disk.fill_but(0);
    fs::write(&go, "go\n").unwrap();
    let is_told =
        |machine: &Machine| machine.words("one").last().map(String::as_str) == Some("waiting");
    machine.until("want of room, or just enough of it", |machine| {
        machine.status()["full"].is_array() || is_told(machine)
    });
    disk.free();
    machine.until("the end", |machine| {
        machine.ask(&["check-in"]).status.success() && is_told(machine)
    });
    assert_eq!(machine.words("one"), ["starting", "waiting"], "and not: nobody saw how");
    agent.kill();
}
