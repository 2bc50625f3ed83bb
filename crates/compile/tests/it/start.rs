use std::{
    fs,
    io::pipe,
    process::{Command, Stdio},
};

use crate::sandbox::{Sandbox, noise};

/// A project of one tree with one file, which is larger than any pipe.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_tree();
    sandbox.file("project/files/opt/one", noise(1, 200_000));
    sandbox
}

#[test]
fn closed_streams_are_not_taken_for_files() {
    let sandbox = sandbox();
    let installer = sandbox.installer();
    let before = fs::read(&installer).unwrap();
    for (number, closed) in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"].into_iter().enumerate() {
        let out = sandbox.path(format!("out-{number}"));
        let status = Command::new("sh")
            .arg("-c")
            .arg(format!("exec \"$1\" --extract \"$2\" {closed}"))
            .args(["sh".as_ref(), installer.as_os_str(), out.as_os_str()])
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0), "{closed}");
        // Messages went nowhere, and not into what was opened first.
        assert_eq!(fs::read(out.join("opt/one")).unwrap(), noise(1, 200_000), "{closed}");
        assert_eq!(fs::read(&installer).unwrap(), before, "{closed}");
    }
}

#[test]
fn a_reader_that_leaves_stops_nothing() {
    let sandbox = sandbox();
    let installer = sandbox.installer();
    let out = sandbox.path("out");
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut child = Command::new(installer)
        .arg("--json")
        .arg("--extract")
        .arg(&out)
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    // Not killed by the signal, and all is there.
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(fs::read(out.join("opt/one")).unwrap(), noise(1, 200_000));
}
