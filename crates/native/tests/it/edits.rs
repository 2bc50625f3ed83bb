//! The program that edits files for maintainer scripts, against the engine.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use change::edit::{Before, Edit, TakeBack, apply, take_back};
use proptest::prelude::*;

const PROGRAM: &str = include_str!("../../src/shell/edit.awk");

/// What the program makes of a text; `None` where others changed what is ours.
fn run(text: &str, edit: &Edit, before: Option<&str>) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("awk");
    let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let optional = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(string).unwrap_or_default();
    match edit {
        Edit::Add { line, after } => {
            command.env("OP", "add").env("LINE", string(line)).env("AFTER", optional(after))
        }
        Edit::Remove { line } => command.env("OP", "remove").env("LINE", string(line)),
        Edit::Ini { section, key, value } => command
            .env("OP", if value.is_some() { "set" } else { "unset" })
            .env("INI", "1")
            .env("SECTION", string(section))
            .env("KEY", string(key))
            .env("VALUE", optional(value)),
        Edit::Assignment { key, value } => command
            .env("OP", if value.is_some() { "set" } else { "unset" })
            .env("KEY", string(key))
            .env("VALUE", optional(value)),
        Edit::PathList { key, folder, first } => command
            .env("OP", "path")
            .env("KEY", string(key))
            .env("VALUE", string(folder))
            .env("FOLDER", string(folder))
            .env("FIRST", if *first { "1" } else { "" }),
    };
    if let Some(before) = before {
        let path = folder.path().join("before");
        std::fs::write(&path, before).unwrap();
        command.env("UNDO", "1").env("BEFORE", path);
    }
    let mut child = command
        .env("LC_ALL", "C")
        .arg(PROGRAM)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    match output.status.code() {
        Some(0) => Some(String::from_utf8(output.stdout).unwrap()),
        Some(3) => None,
        other => panic!("{other:?}"),
    }
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[abc]",
        "#[abc]",
        "\\[[st]\\]",
        "[AB] ?= ?[12]{0,2}",
        "export [AB]=\"?[12]\"?",
        "PATH=\"/[xy](:/[xyz]){0,2}/?\"",
        "PATH=/[xy](:/[xyz]){0,2}/?( ?;)?",
    ]
}

fn text() -> impl Strategy<Value = String> {
    let end = prop_oneof![Just("\n"), Just("\r\n")];
    (end, proptest::collection::vec(line(), 0..8))
        .prop_map(|(end, lines)| lines.iter().flat_map(|line| [line.as_str(), end]).collect())
}

fn edit() -> impl Strategy<Value = Edit> {
    let bytes = |regex: &'static str| regex.prop_map(String::into_bytes);
    let some_line = || line().prop_filter("a line", |line| !line.is_empty());
    prop_oneof![
        (some_line(), proptest::option::of(some_line())).prop_map(|(line, after)| Edit::Add {
            line: line.into_bytes(),
            after: after.map(String::into_bytes)
        }),
        (some_line(), some_line())
            .prop_map(|(one, two)| Edit::Add { line: format!("{one}\n{two}").into(), after: None }),
        some_line().prop_map(|line| Edit::Remove { line: line.into_bytes() }),
        (bytes("[st]?"), bytes("[AB]"), proptest::option::of(bytes("[12]{1,2}")))
            .prop_map(|(section, key, value)| Edit::Ini { section, key, value }),
        (bytes("[AB]"), proptest::option::of(bytes("([12]{1,2}|\"1 2\")")))
            .prop_map(|(key, value)| Edit::Assignment { key, value }),
        (bytes("/[xyz]"), any::<bool>()).prop_map(|(folder, first)| Edit::PathList {
            key: b"PATH".to_vec(),
            folder,
            first
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn edits_are_the_engines(text in text(), edit in edit()) {
        let engine = String::from_utf8(apply(text.as_bytes(), &edit)).unwrap();
        prop_assert_eq!(run(&text, &edit, None).unwrap(), engine);
    }

    /// Others add lines meanwhile: what is ours goes, theirs stay, as when the engine takes it back.
    #[test]
    fn taking_back_is_the_engines(
        text in text(),
        edit in edit(),
        others in proptest::collection::vec("other[0-9]", 0..3),
    ) {
        let before = Before::of(text.as_bytes(), &edit);
        let mut now = String::from_utf8(apply(text.as_bytes(), &edit)).unwrap();
        // Whoever adds to a text ends lines as it does.
        let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        for other in &others {
            now.push_str(other);
            now.push_str(end);
        }
        let engine = match take_back(now.as_bytes(), &edit, &before) {
            TakeBack::Done(text) => Some(String::from_utf8(text).unwrap()),
            TakeBack::NotOurs => Some(now.clone()),
            TakeBack::Changed { .. } => None,
        };
        prop_assert_eq!(run(&now, &edit, Some(&text)), engine);
    }
}

#[test]
fn what_others_changed_stays() {
    let edit = Edit::Assignment { key: b"A".to_vec(), value: Some(b"1".to_vec()) };
    assert_eq!(run("A=2\n", &edit, Some("B=1\n")), None);
    assert_eq!(run("A=1\nC=3\n", &edit, Some("A=0\n")).unwrap(), "A=0\nC=3\n");
}
