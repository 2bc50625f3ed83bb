//! `packhorse script`.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, process::Command};

const SCRIPT: &str = "format = 1\n\n[package]\nname = \"x\"\nversion = \"1\"\narchitecture = \"any\"\n\n\
                      [[step]]\ninstall-tree = \"files/opt/x\"\nto = \"/opt/x\"\n\n\
                      [program.install]\ndetect = 'exists(\"/opt/x\")'\n";

/// A project folder with a script and a file.
fn project(script: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("files/opt/x")).unwrap();
    fs::write(dir.path().join("files/opt/x/tool"), "#!/bin/sh\n").unwrap();
    fs::write(dir.path().join("package.toml"), script).unwrap();
    dir
}

/// The exit code, standard output and standard error, with the folder's name as `DIR`.
fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_packhorse"))
        .arg("script")
        .args(args)
        .arg(dir)
        .output()
        .unwrap();
    let said =
        |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(dir.to_str().unwrap(), "DIR");
    (output.status.code().unwrap(), said(output.stdout), said(output.stderr))
}

fn all(dir: &Path, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(dir, args);
    format!("{code}\n{stdout}--\n{stderr}")
}

#[test]
fn a_good_script_passes() {
    let dir = project(SCRIPT);
    insta::assert_snapshot!(all(dir.path(), &["check"]), @r"
    0
    DIR/package.toml: nothing is wrong
    --
    ");
    insta::assert_snapshot!(all(dir.path(), &["fmt", "--check"]), @r"
    0
    --
    ");
    insta::assert_snapshot!(all(dir.path(), &["explain"]), @r#"
    0
    x 1 for all machines
    1. install the folder `files/opt/x` to `/opt/x`
    - `install` is done where `exists("/opt/x")`
    --
    "#);
}

#[test]
fn mistakes_are_said_with_file_line_and_hint() {
    let dir = project(&SCRIPT.replace("files/opt/x", "files/opt/y").replace("detect", "detct"));
    insta::assert_snapshot!(all(dir.path(), &["check"]), @r"
    1
    DIR/package.toml: 1 error
    --
    DIR/package.toml:13:1: error: program `install`: it has no key `detct`
      hint: did you mean `detect`?
    ");
    insta::assert_snapshot!(all(dir.path(), &["check", "--json"]), @r#"
    1
    {
      "errors": 1,
      "notes": 0,
      "problems": [
        {
          "bytes": [
            140,
            145
          ],
          "column": 1,
          "file": "DIR/package.toml",
          "hint": "did you mean `detect`?",
          "line": 13,
          "message": "program `install`: it has no key `detct`",
          "place": {
            "part": {
              "program": "install"
            }
          },
          "severity": "error"
        }
      ],
      "warnings": 0
    }
    --
    "#);
    let dir = project(&SCRIPT.replace("files/opt/x", "files/opt/y"));
    fs::write(dir.path().join("files.meta"), "# files.meta 1\nfiles/a mode=9\n").unwrap();
    insta::assert_snapshot!(all(dir.path(), &["check"]), @r"
    1
    DIR/package.toml: 2 errors, 1 warning
    --
    DIR/files.meta:2:1: error: files.meta, line 2: `9` is no mode: three or four octal digits
      hint: like `mode=0755`
    DIR/package.toml: warning: a file in `files/opt/x` no step installs
      hint: install them, name them in `except`, or delete them
    DIR/package.toml:9:16: error: step 1 (`install-tree`): `files/opt/y`: no such folder in the project
      hint: put it there, or correct the path
    ");
    insta::assert_snapshot!(all(&dir.path().join("none"), &["check"]).replace(dir.path().to_str().unwrap(), "DIR"), @r"
    1
    --
    error: there is no `DIR/package.toml`
      hint: a project folder holds a package.toml; name it: `packhorse script check DIR/PROJECT`
    ");
    fs::write(dir.path().join("package.toml"), b"format = 1 # \xff\n").unwrap();
    insta::assert_snapshot!(all(dir.path(), &["check"]), @r"
    1
    --
    error: `DIR/package.toml` is not UTF-8: byte 13 begins no character
      hint: save `DIR/package.toml` as UTF-8; `head -c 13` shows where it breaks off
    ");
}

#[test]
fn files_are_laid_out_once() {
    let dir = project(&SCRIPT.replace(" = ", "="));
    fs::write(
        dir.path().join("files.meta"),
        "# files.meta 1\nfiles/b  modified=@0\nfiles/a modified=@0 mode=0644\n",
    )
    .unwrap();
    insta::assert_snapshot!(all(dir.path(), &["fmt", "--check"]), @r"
    1
    DIR/package.toml: is not laid out
    DIR/files.meta: is not laid out
    --
    ");
    insta::assert_snapshot!(all(dir.path(), &["fmt"]), @r"
    0
    DIR/package.toml: laid out
    DIR/files.meta: laid out
    --
    ");
    assert_eq!(fs::read_to_string(dir.path().join("package.toml")).unwrap(), SCRIPT);
    insta::assert_snapshot!(fs::read_to_string(dir.path().join("files.meta")).unwrap(), @r"
    # files.meta 1
    files/a modified=1970-01-01T00:00:00Z
    files/b modified=1970-01-01T00:00:00Z
    ");
    let before = fs::metadata(dir.path().join("package.toml")).unwrap();
    insta::assert_snapshot!(all(dir.path(), &["fmt"]), @r"
    0
    --
    ");
    let after = fs::metadata(dir.path().join("package.toml")).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "no temporary file stays");
}

/// A script of a newer format is refused by every command, and its file stays as it is (Q198900).
#[test]
fn q198900_a_newer_script_stays_untouched() {
    let newer = "format=2\n[[step]]\nplay=1\n[[step]]\nservice=\"a.service\"\nrestart=1\n[[step]]\nsing=1\n";
    let dir = project(newer);
    for args in [&["check"][..], &["fmt"], &["explain"]] {
        let (code, stdout, stderr) = run(dir.path(), args);
        assert_eq!((code, stdout.contains("laid out")), (1, false));
        for word in ["format 2", "format 1", "`play`", "`restart`", "`sing`"] {
            assert!(stderr.contains(word), "{stderr}");
        }
    }
    assert_eq!(fs::read_to_string(dir.path().join("package.toml")).unwrap(), newer);
}

#[test]
fn the_schema_is_printed_or_written() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_packhorse")).args(["script", "schema"]).output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["title"], "Packhorse script");
    let dir = project(SCRIPT);
    insta::assert_snapshot!(all(dir.path(), &["schema"]), @r"
    0
    DIR/package.schema.json: written
    for editors, begin package.toml with `#:schema ./package.schema.json`
    --
    ");
    assert_eq!(fs::read(dir.path().join("package.schema.json")).unwrap(), output.stdout);
}

#[test]
fn wrong_usage_is_two() {
    let dir = project(SCRIPT);
    assert_eq!(run(dir.path(), &["chek"]).0, 2);
    assert_eq!(run(dir.path(), &["check", "--colour"]).0, 2);
}
