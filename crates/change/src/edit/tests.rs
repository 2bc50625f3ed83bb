use proptest::prelude::*;

use super::{Before, Edit, TakeBack, apply, apply_all, take_back};

fn add(line: &str) -> Edit {
    Edit::Add { line: line.into(), after: None }
}

fn path_list(folder: &str) -> Edit {
    Edit::PathList { key: "PATH".into(), folder: folder.into(), first: false }
}

fn ini(section: &str, key: &str, value: Option<&str>) -> Edit {
    Edit::Ini { section: section.into(), key: key.into(), value: value.map(Into::into) }
}

fn assignment(key: &str, value: Option<&str>) -> Edit {
    Edit::Assignment { key: key.into(), value: value.map(Into::into) }
}

fn applied(text: &str, edit: &Edit) -> String {
    String::from_utf8(apply(text.as_bytes(), edit)).unwrap()
}

fn done(text: &str, edit: &Edit, before: &Before) -> String {
    match take_back(text.as_bytes(), edit, before) {
        TakeBack::Done(text) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_are_added_once_and_in_their_place() {
    assert_eq!(applied("a\nb\n", &add("c")), "a\nb\nc\n");
    assert_eq!(applied("a\r\nb\r\n", &add("c")), "a\r\nb\r\nc\r\n");
    assert_eq!(applied("a\nb", &add("c")), "a\nb\nc\n");
    assert_eq!(applied("", &add("c")), "c\n");
    assert_eq!(applied("a\nc\nb\n", &add("c")), "a\nc\nb\n");
    let after = Edit::Add { line: "x".into(), after: Some("a".into()) };
    assert_eq!(applied("a\nb\n", &after), "a\nx\nb\n");
    assert_eq!(applied("b\n", &after), "b\nx\n");
    assert_eq!(applied("a\n\nb\n", &add("\n# ours\nc")), "a\n\nb\n\n# ours\nc\n");
    assert_eq!(applied("\u{feff}a\n", &add("a")), "\u{feff}a\n");
}

#[test]
fn keys_keep_the_layout_around_them() {
    let set = |text, section, key| applied(text, &ini(section, key, Some("9")));
    assert_eq!(set("[a]\nx=1\n\n[b]\nx=2\n", "b", "x"), "[a]\nx=1\n\n[b]\nx=9\n");
    assert_eq!(set("[a]\nx = 1\n\n[b]\n", "a", "y"), "[a]\nx = 1\ny = 9\n\n[b]\n");
    assert_eq!(set("[a]\nx = 1\n", "c", "y"), "[a]\nx = 1\n\n[c]\ny = 9\n");
    assert_eq!(set("[a]\n# x = 1\n  x  =  1  \n", "a", "x"), "[a]\n# x = 1\n  x  =  9  \n");
    assert_eq!(set("", "a", "x"), "[a]\nx = 9\n");
    let set = |text| applied(text, &assignment("A", Some("\"n\"")));
    assert_eq!(set("export A=1\nB=2\n"), "export A=\"n\"\nB=2\n");
    assert_eq!(set("a = 1\n"), "a = 1\nA = \"n\"\n");
    assert_eq!(set("A=1\nA=2\n"), "A=1\nA=\"n\"\n");
    assert_eq!(applied("A=1\nB=2\nA=3\n", &assignment("A", None)), "B=2\n");
}

/// The folder is in the list once after five installs, whatever the list looks like, and the list is
/// the old one after the uninstall (Q238141).
#[test]
fn q238141_path_lists_come_back_byte_by_byte() {
    for text in [
        "PATH=\"/usr/bin:/bin\"\n",
        "PATH=/usr/bin:/bin \n",
        "PATH=/usr/bin:/bin;\n",
        "export PATH='/usr/bin:/bin '\n",
        "PATH=\"/usr/bin:/bin:\"",
        "PATH=\r\nB=1\r\n",
        "B=1\n",
    ] {
        let edit = path_list("/opt/app/bin");
        let before = Before::of(text.as_bytes(), &edit);
        let mut now = text.to_owned();
        for _ in 0..5 {
            now = applied(&now, &edit);
            assert_eq!(now.matches("/opt/app/bin").count(), 1, "{now}");
        }
        assert_eq!(done(&now, &edit, &before), text);
    }
    for there in ["PATH=/opt/app/bin:/bin\n", "PATH=\"/bin:/opt/app/bin/\"\n"] {
        let edit = path_list("/opt/app/bin");
        assert_eq!(applied(there, &edit), there);
        let before = Before::of(there.as_bytes(), &edit);
        assert_eq!(take_back(there.as_bytes(), &edit, &before), TakeBack::NotOurs);
    }
}

/// Exactly our three lines go; lines of others and the order stay; an edited line is left and told of
/// (Q168772).
#[test]
fn q168772_lines_of_others_stay() {
    let edits = [add("a1"), add("a2"), add("a3")];
    let (text, kept) = apply_all(b"one\ntwo", &edits);
    let text = String::from_utf8(text).unwrap().replace("two\n", "admin\ntwo\nb1\n") + "b2\nlast\n";
    let mut now = text.clone().into_bytes();
    for (edit, before) in edits.iter().zip(&kept).rev() {
        let TakeBack::Done(text) = take_back(&now, edit, before) else { panic!("ours") };
        now = text;
    }
    assert_eq!(String::from_utf8(now).unwrap(), "one\nadmin\ntwo\nb1\nb2\nlast\n");
    let edited = text.replace("a2", "a2 # edited");
    let result = take_back(edited.as_bytes(), &edits[1], &kept[1]);
    assert_eq!(result, TakeBack::Changed { found: None });
}

/// Three packages each add a section to a file the first one made; each takes its own away (Q257967).
#[test]
fn q257967_sections_of_others_stay() {
    let edits = [ini("a", "k", Some("1")), ini("b", "k", Some("2")), ini("c", "k", Some("3"))];
    let (text, kept) = apply_all(b"", &edits);
    let mut now = String::from_utf8(text).unwrap();
    assert_eq!(now, "[a]\nk = 1\n\n[b]\nk = 2\n\n[c]\nk = 3\n");
    for (ours, rest) in [(0, "\n[b]\nk = 2\n\n[c]\nk = 3\n"), (2, "\n[b]\nk = 2\n"), (1, "")] {
        now = done(&now, &edits[ours], &kept[ours]);
        assert_eq!(now, rest);
    }
}

#[test]
fn a_value_others_changed_since_is_left_and_named() {
    let edit = assignment("vm.overcommit_memory", Some("1"));
    let before = Before::of(b"vm.overcommit_memory = 0\n", &edit);
    let result = take_back(b"vm.overcommit_memory = 2\n", &edit, &before);
    assert_eq!(result, TakeBack::Changed { found: Some(b"2".to_vec()) });
    assert_eq!(done("vm.overcommit_memory = 1\n", &edit, &before), "vm.overcommit_memory = 0\n");
}

#[test]
fn removed_lines_return_to_their_place() {
    let edit = Edit::Remove { line: "b".into() };
    let before = Before::of(b"a\nb\nc\nb", &edit);
    assert_eq!(applied("a\nb\nc\nb", &edit), "a\nc\n");
    assert_eq!(done("a\nc\n", &edit, &before), "a\nb\nc\nb");
    assert_eq!(done("new\na\nc\nend\n", &edit, &before), "new\na\nb\nc\nb\nend\n");
    assert_eq!(
        take_back(b"a\nb\nc\n", &edit, &before),
        TakeBack::Changed { found: Some(b"b".to_vec()) }
    );
}

#[test]
fn edits_no_line_could_hold_are_refused() {
    use model::{LineEdit, Template};
    let expand = |key: &str, value: &str| {
        let edit = LineEdit::Assignment {
            key: Template::literal(key),
            value: Some(Template::literal(value)),
        };
        Edit::expand(&edit, |_| None)
    };
    assert!(expand("A", "b c").is_ok());
    for key in ["", "A=", " A", "#A", "[A", "A\n"] {
        assert!(expand(key, "b").is_err(), "{key}");
    }
    assert!(expand("A", "b\nc").is_err());
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[abc]",
        "#[abc]",
        "\\[[st]\\]",
        "[AB] ?= ?[12 ]{0,2}",
        "export [AB]=\"?[12]\"?",
        "PATH=\"?/[xy](:/[xyz]){0,2}/?\"?[ ;]?",
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let end = prop_oneof![Just("\n"), Just("\r\n")];
    (any::<bool>(), end, proptest::collection::vec(line(), 0..8), any::<bool>()).prop_map(
        |(mark, end, lines, ended)| {
            let mut text = if mark { "\u{feff}".to_owned() } else { String::new() };
            text += &lines.join(end);
            if ended && !lines.is_empty() {
                text += end;
            }
            text.into_bytes()
        },
    )
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    "([12]{1,2}|\"1 2\")".prop_map(String::into_bytes)
}

fn edit() -> impl Strategy<Value = Edit> {
    let bytes = |regex: &'static str| regex.prop_map(String::into_bytes);
    prop_oneof![
        (line(), proptest::option::of(line())).prop_map(|(line, after)| Edit::Add {
            line: line.into_bytes(),
            after: after.map(String::into_bytes)
        }),
        (line(), line())
            .prop_map(|(one, two)| Edit::Add { line: format!("{one}\n{two}").into(), after: None }),
        line().prop_map(|line| Edit::Remove { line: line.into_bytes() }),
        (bytes("[st]?"), bytes("[AB]"), proptest::option::of(value()))
            .prop_map(|(section, key, value)| Edit::Ini { section, key, value }),
        (bytes("[AB]"), proptest::option::of(value()))
            .prop_map(|(key, value)| Edit::Assignment { key, value }),
        (bytes("/[xyz]"), any::<bool>()).prop_map(|(folder, first)| Edit::PathList {
            key: b"PATH".to_vec(),
            folder,
            first
        }),
    ]
}

/// Lines with their ends.
fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn made_twice_is_made_once(text in text(), edit in edit()) {
        let once = apply(&text, &edit);
        prop_assert_eq!(apply(&once, &edit), once);
    }

    #[test]
    fn taken_back_it_is_as_before(text in text(), edits in proptest::collection::vec(edit(), 1..4)) {
        let (mut now, kept) = apply_all(&text, &edits);
        for (edit, before) in edits.iter().zip(&kept).rev() {
            match take_back(&now, edit, before) {
                TakeBack::Done(text) => now = text,
                TakeBack::NotOurs => {}
                TakeBack::Changed { .. } => prop_assert!(false, "nobody changed it"),
            }
        }
        prop_assert_eq!(now, text);
    }

    /// Others write their own lines meanwhile, anywhere but inside a block of ours.
    #[test]
    fn others_keep_their_lines(
        lines in proptest::collection::vec("[abc]", 0..6),
        ours in proptest::collection::vec("[abcx]", 1..3),
        others in proptest::collection::vec((any::<proptest::sample::Index>(), "other[0-9]"), 0..5),
    ) {
        let text = joined(&lines);
        let edits: Vec<Edit> = ours.iter().map(|line| add(line)).collect();
        let (edited, kept) = apply_all(text.as_bytes(), &edits);
        let mut now: Vec<String> =
            String::from_utf8(edited).unwrap().lines().map(str::to_owned).collect();
        for (index, other) in &others {
            let at = index.index(now.len() + 1);
            now.insert(at, other.clone());
        }
        // What must be left: everything but the lines our edits added.
        let mut expected = now.clone();
        for (edit, before) in edits.iter().zip(&kept) {
            if let (Edit::Add { line, .. }, true) = (edit, before.changes) {
                let at = expected.iter().position(|other| other.as_bytes() == &line[..]).unwrap();
                expected.remove(at);
            }
        }
        let mut now = joined(&now).into_bytes();
        for (edit, before) in edits.iter().zip(&kept).rev() {
            if let TakeBack::Done(text) = take_back(&now, edit, before) {
                now = text;
            }
        }
        prop_assert_eq!(String::from_utf8(now).unwrap(), joined(&expected));
    }
}
