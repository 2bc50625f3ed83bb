//! The thinnest path: a package in a distribution point, a policy in a file, an agent between them.

use serde_json::json;
use testkit::Sample;

use crate::support::{Machine, call, lines, shell, with};

fn point(machine: &Machine, versions: &[&str]) -> String {
    point_at(machine, "point", versions)
}

fn point_at(machine: &Machine, name: &str, versions: &[&str]) -> String {
    let folder = machine.path(name);
    let point = store::Point::open(folder.to_str().unwrap(), Vec::new()).unwrap();
    for version in versions {
        publish(machine, &point, version);
    }
    folder.display().to_string()
}

fn publish(machine: &Machine, point: &store::Point, version: &str) {
    let mut sample = Sample::new("hello", version);
    let tree = sample.tree("/opt/hello");
    sample.file(tree, "greeting", format!("hello {version}\n").as_bytes());
    let file = machine.path("hello.package");
    std::fs::write(&file, sample.bytes()).unwrap();
    let options = store::PublishOptions::default();
    store::publish(point, &file, &options, &mut |_, _, _| {}).unwrap();
}

#[test]
fn a_package_is_installed_updated_and_told_and_nothing_is_done_twice() {
    let mut machine = Machine::new();
    let point = point(&machine, &["1", "2"]);
    let hello = |version: &str, id: &str| json!({ "id": id, "package": { "name": "hello", "version": version } });
    machine.deploy(&[hello("1", "first")]);
    machine.once(&["--point", &point]);
    let greeting = machine.root().join("opt/hello/greeting");
    assert_eq!(std::fs::read_to_string(&greeting).unwrap(), "hello 1\n");
    assert_eq!(machine.words("first"), ["starting", "done"]);
    machine.once(&["--point", &point]);
    machine.once(&["--point", &point]);
    assert_eq!(machine.words("first"), ["starting", "done"], "told once");
    machine.deploy(&[hello("2", "second")]);
    machine.once(&["--point", &point]);
    assert_eq!(std::fs::read_to_string(&greeting).unwrap(), "hello 2\n");
    let sequences: Vec<u64> =
        machine.messages().iter().map(|message| message["sequence"].as_u64().unwrap()).collect();
    assert!(sequences.iter().zip(1..).all(|(sequence, expected)| *sequence == expected));
}

#[test]
fn what_is_there_already_is_told_and_not_run() {
    let mut machine = Machine::new();
    let point = point(&machine, &["1"]);
    machine.deploy(&[json!({ "id": "one", "package": { "name": "hello", "version": "1" } })]);
    machine.once(&["--point", &point]);
    machine.deploy(&[json!({ "id": "two", "package": { "name": "hello", "version": "1" } })]);
    machine.once(&["--point", &point]);
    assert_eq!(machine.words("two"), ["done"]);
}

#[test]
fn q245170_one_bad_item_harms_itself_only() {
    let mut machine = Machine::new();
    let out = machine.out("ran");
    let good = |number: u32| shell(&format!("good-{number}"), &format!("echo {number} >> {out}"));
    let mut all: Vec<_> = (0..6).map(good).collect();
    all.insert(2, with(call("bad", &["true"]), "purpose", json!("sometimes")));
    all.insert(4, call("missing", &["/no/such/program"]));
    all[5] = with(all[5].clone(), "retry", json!({ "first": 1, "longest": 1, "attempts": 1 }));
    all[4] = with(all[4].clone(), "retry", json!({ "first": 1, "longest": 1, "attempts": 1 }));
    machine.deploy(&all);
    machine.once(&[]);
    assert_eq!(lines(&out), 6);
    assert_eq!(machine.words("missing"), ["starting", "failed"]);
    let refused = machine.messages().into_iter().filter(|one| one["said"]["word"] == "refused");
    assert_eq!(refused.count(), 1);
}

#[test]
fn q288218_what_cannot_be_read_is_not_withdrawn_not_even_after_a_restart() {
    let mut machine = Machine::new();
    let (came, went) = (machine.out("came"), machine.out("went"));
    let away = json!({ "run": { "command": { "shell": format!("echo x >> {went}") } } });
    let one = with(shell("one", &format!("echo x >> {came}")), "withdrawal", away);
    machine.deploy(std::slice::from_ref(&one));
    machine.once(&[]);
    machine.deploy(&[with(one, "purpose", json!("sometimes"))]);
    for _ in 0..3 {
        machine.once(&[]);
        assert_eq!((lines(&came), lines(&went)), (1, 0));
    }
    machine.deploy(&[]);
    machine.once(&[]);
    assert_eq!((lines(&came), lines(&went)), (1, 1), "now it is");
}

#[test]
fn a_window_that_cannot_be_read_is_a_window_also_after_a_restart() {
    let mut machine = Machine::new();
    let out = machine.out("ran");
    let one = with(shell("one", &format!("echo x >> {out}")), "windows", json!("inside"));
    machine.deploy_with(std::slice::from_ref(&one), &json!({ "windows": [{ "name": "night" }] }));
    for _ in 0..3 {
        machine.once(&[]);
        assert_eq!(lines(&out), 0);
    }
    machine.deploy(&[one]);
    machine.once(&[]);
    assert_eq!(lines(&out), 1);
}

#[test]
fn what_one_point_has_damaged_or_not_at_all_comes_from_the_next() {
    let mut machine = Machine::new();
    let bad = point_at(&machine, "bad", &["1"]);
    let good = point_at(&machine, "good", &["1"]);
    let gone = machine.path("gone").display().to_string();
    damage(std::path::Path::new(&bad));
    machine.deploy(&[json!({ "id": "one", "package": { "name": "hello", "version": "1" } })]);
    machine.once(&["--point", &gone, "--point", &bad, "--point", &good]);
    assert_eq!(machine.words("one"), ["starting", "done"], "{:?}", machine.messages());
    let greeting = machine.root().join("opt/hello/greeting");
    assert_eq!(std::fs::read_to_string(greeting).unwrap(), "hello 1\n");
    assert!(!machine.path("gone").exists(), "a folder that was not mounted");
}

#[test]
fn a_bucket_is_read_by_somebody_without_rights_and_checked_here() {
    let server = testkit::S3Server::start().unwrap();
    let mut machine = Machine::new();
    let there = "s3://packages/dp";
    publish(&machine, &store::Point::open(there, server.settings()).unwrap(), "1");
    let deployed = json!({ "id": "one", "package": { "name": "hello", "version": "1" } });
    machine.deploy(&[deployed]);
    let once = |machine: &Machine| {
        let mut command = machine.command(&["--point", there]);
        let output = command.arg("--once").envs(server.settings()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    once(&machine);
    assert_eq!(machine.words("one"), ["starting", "done"], "{:?}", machine.messages());
    let greeting = machine.root().join("opt/hello/greeting");
    assert_eq!(std::fs::read_to_string(&greeting).unwrap(), "hello 1\n");
    // What the server has is damaged, and nobody else has it.
    publish(&machine, &store::Point::open(there, server.settings()).unwrap(), "2");
    damage(&server.bucket().join("dp"));
    let two = json!({ "id": "two", "package": { "name": "hello", "version": "2" } });
    machine.deploy(&[with(two, "retry", json!({ "first": 1, "longest": 1, "attempts": 1 }))]);
    once(&machine);
    assert_eq!(machine.words("two"), ["starting", "failed"], "{:?}", machine.messages());
    assert_eq!(std::fs::read_to_string(&greeting).unwrap(), "hello 1\n");
}

/// Turns a byte in the middle of every larger file.
fn damage(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            damage(&path);
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

#[test]
fn a_policy_that_was_changed_and_not_numbered_is_noted_and_does_not_count() {
    let mut machine = Machine::new();
    machine.deploy(&[]);
    machine.once(&[]);
    let policy = machine.path("site/policy.json");
    std::fs::write(&policy, r#"{ "sequence": 1, "deployments": [{ "id": "late" }] }"#).unwrap();
    let output = machine.once(&[]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let note = status["notes"][0].as_str().unwrap_or_default();
    assert!(note.contains("counts once its number rises"), "{status}");
    assert!(machine.words("late").is_empty());
    // What is no document at all is refused, told once, and changes nothing.
    std::fs::write(&policy, "{ \"sequence\": 2, \"deployments\": [").unwrap();
    let output = machine.once(&[]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(status["policy"].as_str().unwrap_or_default().contains('1'), "{status}");
    let refused = machine.messages().into_iter().filter(|one| one["said"]["word"] == "refused");
    assert_eq!(refused.count(), 1);
}
