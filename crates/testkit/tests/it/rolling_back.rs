//! Going back: exactly, step by step, and again after it was interrupted.

use std::{fs, process::Command};

use model::{EditStep, LineEdit, Template};
use operate::Exit;
use package::Action;
use testkit::Sample;

use crate::root::{Root, same};

/// A version of an application: 25 files, some named like numbered backups, and ten settings in a file
/// of the machine. Each version drops one file of the version before and has one of its own.
fn version(number: u32) -> Sample {
    let mut sample = Sample::new("app", &format!("{number}.0"));
    let tree = sample.tree("/opt/app");
    sample.directory(tree, "");
    for name in ["app.001", "app.002", "app.003"] {
        sample.file(tree, name, format!("{name} of {number}").as_bytes());
    }
    for file in 3..24 {
        // Some files are the same in every version.
        let of = if file % 4 == 0 { 0 } else { number };
        sample.file(tree, &format!("file-{file}"), format!("{file} of {of}").as_bytes());
    }
    sample.file(tree, &format!("only-{number}"), b"only here");
    let settings = (0..10).map(|key| LineEdit::Ini {
        section: Template::literal("app"),
        key: Template::literal(format!("key{key}")),
        value: Some(Template::literal((key * number).to_string())),
    });
    sample.step(Action::Edit(EditStep {
        file: Template::literal("/etc/shared.ini"),
        edits: settings.collect(),
        create: false,
    }));
    sample
}

#[test]
fn q200374_four_roll_backs_return_every_build_before() {
    let root = Root::new();
    root.put("etc/shared.ini", "[others]\nkey1 = theirs\n\n[app]\nkey3 = before\n");
    fs::create_dir(root.path("opt/other")).unwrap();
    root.put("opt/other/app.001", "somebody else's");
    let pristine = root.whole();
    let mut recorded = vec![root.outside()];
    for number in 1..=4 {
        root.install(&version(number));
        recorded.push(root.outside());
    }
    assert_eq!(fs::read_dir(root.path("opt/app")).unwrap().count(), 25);
    assert!(!root.is_there("opt/app/only-3"), "what a version dropped is gone");
    for number in (0..4).rev() {
        let report = root.roll_back("app");
        assert_eq!(report.result, Exit::Done, "{}", report.lines());
        same(&recorded[number], &root.outside());
        if number > 0 {
            assert!(report.message.contains(&format!("back at {number}.0")), "{}", report.message);
            assert_eq!(root.verify("app").result, Exit::Done);
            let report = operate::list_packages(&root.target());
            let listed = &report.packages.unwrap()[0];
            assert_eq!(listed.version.to_string(), format!("{number}.0"));
        }
    }
    same(&pristine, &root.whole());
    assert_eq!(root.roll_back("app").result, Exit::Nothing);
    same(&pristine, &root.whole());
}

/// 300 files of one content in the first version, of another in the second.
fn large(number: u32) -> Sample {
    let mut sample = Sample::new("large", &format!("{number}.0"));
    let tree = sample.tree("/opt/large");
    sample.directory(tree, "");
    for file in 0..300 {
        sample.file(tree, &format!("{file:03}"), format!("{file} of {number}").as_bytes());
    }
    sample
}

fn updated() -> (Root, testkit::Picture) {
    let root = Root::new();
    root.install(&large(1));
    let earlier = root.outside();
    root.install(&large(2));
    (root, earlier)
}

#[test]
fn q186413_missing_kept_copies_are_found_before_the_first_change() {
    let (root, _) = updated();
    let before = root.outside();
    let saved = root.path("var/lib/packhorse/saved");
    fs::remove_dir_all(&saved).unwrap();
    let report = root.roll_back("large");
    assert_eq!(report.result, Exit::Failed, "{}", report.lines());
    assert!(report.message.contains("no longer kept"), "{}", report.message);
    same(&before, &root.outside());
    fs::create_dir(&saved).unwrap();
    let report = root.roll_back("large");
    assert_eq!(report.result, Exit::Failed, "an empty folder is no better: {}", report.lines());
    same(&before, &root.outside());
}

#[test]
fn q186413_damaged_kept_copies_are_found_before_the_first_change() {
    let (root, _) = updated();
    let mut kept: Vec<_> = fs::read_dir(root.path("var/lib/packhorse/saved"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    kept.sort();
    assert_eq!(kept.len(), 300);
    for path in [&kept[7], &kept[250]] {
        let mut content = fs::read(path).unwrap();
        content[0] ^= 1;
        fs::write(path, content).unwrap();
    }
    let before = root.outside();
    let report = root.roll_back("large");
    assert_eq!(report.result, Exit::Failed, "{}", report.lines());
    assert!(report.message.contains("damaged"), "{}", report.message);
    assert!(report.message.contains("/opt/large/"), "{}", report.message);
    same(&before, &root.outside());
}

/// Makes a file immutable, or mutable again.
fn immutable(root: &Root, below: &str, sign: char) {
    let flag = format!("{sign}i");
    let status = Command::new("chattr").arg(flag).arg(root.path(below)).status().unwrap();
    assert!(status.success(), "the file system of the tests' folder knows immutable files");
}

#[test]
fn q186413_a_locked_target_stops_the_roll_back_and_a_second_run_completes_it() {
    let (root, earlier) = updated();
    immutable(&root, "opt/large/150", '+');
    let report = root.roll_back("large");
    assert_eq!(report.result, Exit::Decision, "{}", report.lines());
    let all = report.lines();
    assert!(all.contains("/opt/large/150") && all.contains("packhorse recover"), "{all}");
    // Still locked: nothing can go on, and nothing gets worse.
    let error = operate::Target::open(root.folder(), false, &mut |_| {}).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("/opt/large/150"));
    immutable(&root, "opt/large/150", '-');
    let report = root.roll_back("large");
    assert_eq!(report.result, Exit::Done, "{}", report.lines());
    assert!(report.message.contains("back at 1.0"), "one roll-back, not two: {}", report.message);
    same(&earlier, &root.outside());
    assert_eq!(root.verify("large").result, Exit::Done);
}

#[test]
fn a_roll_back_under_a_later_package_is_refused_naming_it() {
    let root = Root::new();
    root.put("usr/lib/libx.so", "the first");
    for name in ["early", "late"] {
        let mut sample = Sample::new(name, "1");
        let tree = sample.tree("/usr/lib");
        sample.file(tree, "libx.so", name.as_bytes());
        root.install(&sample);
    }
    let before = root.outside();
    let report = root.roll_back("early");
    assert_eq!(report.result, Exit::Decision, "{}", report.lines());
    assert!(report.message.contains("late") && report.message.contains("/usr/lib/libx.so"));
    same(&before, &root.outside());
    assert_eq!(root.roll_back("late").result, Exit::Done);
    assert_eq!(root.roll_back("early").result, Exit::Done);
    assert_eq!(root.read("usr/lib/libx.so"), "the first");
}
