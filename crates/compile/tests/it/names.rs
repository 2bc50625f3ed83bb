use std::{collections::BTreeSet, fs, os::unix::ffi::OsStringExt as _};

use crate::sandbox::{Sandbox, extract, stderr};

/// 500 names that share long beginnings, of every script and encoding, come out as they went in (Q189313).
#[test]
fn q189313_long_and_odd_names_stay_whole() {
    let sandbox = Sandbox::with_tree();
    let mut names = BTreeSet::new();
    for number in 0..125_u32 {
        names.insert(format!("{}{number:03}", "n".repeat(19)).into_bytes());
        names.insert(format!("{} {number:03} .txt", "長い名前".repeat(5)).into_bytes());
        names.insert(format!("{}{number:03}", "e\u{301}".repeat(80)).into_bytes());
        // Shift-JIS: the second byte of each pair is a backslash.
        let mut shift_jis = b"\x83\x5c\x94\x5c".repeat(62);
        shift_jis.extend(format!("{number:03}").bytes());
        names.insert(shift_jis);
    }
    assert_eq!(names.len(), 500);
    assert!(names.iter().any(|name| name.len() > 250));
    fs::create_dir_all(sandbox.payload(b"")).unwrap();
    for name in &names {
        fs::write(sandbox.payload(name), name).unwrap();
    }
    let out = sandbox.path("extracted");
    let output = extract(&sandbox.installer(), &out);
    assert!(output.status.success(), "{}", stderr(&output));
    let found: BTreeSet<Vec<u8>> = fs::read_dir(out.join("opt"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_vec())
        .collect();
    assert!(found == names);
    for entry in fs::read_dir(out.join("opt")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(fs::read(&path).unwrap(), path.file_name().unwrap().to_owned().into_vec());
    }
}

/// Two trees that put a file at one place: an error, and neither file (Q189313).
#[test]
fn q189313_names_that_collide_are_an_error() {
    let sandbox = Sandbox::new(
        "[[step]]\ninstall-tree = \"files/opt\"\nto = \"/opt\"\n\n[[step]]\ninstall-file = \"files/other\"\nto = \"/opt/a\"\n",
    );
    sandbox.file("project/files/opt/a", "one");
    sandbox.file("project/files/other", "two");
    let output = extract(&sandbox.installer(), &sandbox.path("extracted"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/opt/a` comes twice"), "{}", stderr(&output));
    let left = fs::read_dir(sandbox.path("")).unwrap().count();
    assert_eq!(left, 2, "the project and the installer");
}
