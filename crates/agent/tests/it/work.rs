//! The thinnest path: a package in a distribution point, a policy in a file, an agent between them.

use serde_json::json;
use testkit::Sample;

use crate::support::{Machine, call, shell, with};

fn point(machine: &Machine, versions: &[&str]) -> String {
    let folder = machine.path("point");
    let point = store::Point::open(folder.to_str().unwrap(), Vec::new()).unwrap();
    for version in versions {
        let mut sample = Sample::new("hello", version);
        let tree = sample.tree("/opt/hello");
        sample.file(tree, "greeting", format!("hello {version}\n").as_bytes());
        let file = machine.path("hello.package");
        std::fs::write(&file, sample.bytes()).unwrap();
        let options = store::PublishOptions::default();
        store::publish(&point, &file, &options, &mut |_, _, _| {}).unwrap();
    }
    folder.display().to_string()
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
    assert_eq!(crate::support::lines(&out), 6);
    assert_eq!(machine.words("missing"), ["starting", "failed"]);
    let refused = machine.messages().into_iter().filter(|one| one["said"]["word"] == "refused");
    assert_eq!(refused.count(), 1);
}
