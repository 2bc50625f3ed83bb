use model::{Comparison, Condition, Fact, Template, Value};
use native::System;
use package::{Action, Node};
use testkit::Sample;

use crate::support::{export, sample, template};

fn refusal(sample: &Sample, system: System) -> String {
    export(sample, system).unwrap_err().to_string()
}

#[test]
fn what_differs_by_machine_is_no_payload() {
    let mut sample = Sample::new("hello", "1");
    let tree = sample.tree("/opt/${machine.hostname}");
    sample.file(tree, "a", b"a");
    let tree = sample.tree("/opt/b");
    sample.file(tree, "a", b"a");
    sample.header.steps[1].when = Some(Condition::Holds(Value::Fact(Fact::Exists(template("/x")))));
    insta::assert_snapshot!(refusal(&sample, System::Deb), @"`hello 1` cannot become a .deb: step 1: `${machine.hostname}` differs by machine, and payload is the same on all of them; step 2: its condition differs by machine, and payload is the same on all of them: make two packages, or install the files by `run`");
}

#[test]
fn every_reason_is_named_at_once() {
    let mut sample = sample();
    sample.header.name = model::PackageName::new("hel_lo").unwrap();
    sample.header.version = model::Version::new("v1");
    let tree = sample.tree("/etc/hello");
    sample.file(tree, "hello.conf", b"b");
    sample.header.generated.push(template("/**/x"));
    insta::assert_snapshot!(refusal(&sample, System::Deb), @"`hel_lo v1` cannot become a .deb: a .deb cannot be called `hel_lo`: two characters at least, and no `_`; `v1` is no version of a .deb: a digit first, then letters, digits, `.`, `+`, `~`, `-`; `generated`: `/**/x` would search the whole machine; step 9: `/etc/hello/hello.conf` is installed by step 3 already");
}

#[test]
fn conditions_are_asked_where_they_can_be() {
    let condition = |package: &str| Condition::Compare {
        left: Value::Version(Box::new(Value::Fact(Fact::SystemPackage(package.into())))),
        comparison: Comparison::AtLeast,
        right: Value::Version(Box::new(Value::Text(Template::literal("2.0")))),
    };
    let mut sample = Sample::new("hello", "1");
    sample.step(Action::Remove { path: template("/etc/old") });
    sample.header.steps[0].when = Some(condition("libc6"));
    let (_, deb) = export(&sample, System::Deb).unwrap();
    let control = crate::support::member(&deb, "control.tar.xz");
    let postinst = control.iter().find(|(name, ..)| name == "./postinst").unwrap();
    let postinst = String::from_utf8(postinst.2.clone()).unwrap();
    assert!(postinst.contains(
        "if dpkg --compare-versions \"$(dpkg-query -W -f '${Version}' libc6 2>/dev/null || :)\" ge 2.0; then"
    ), "{postinst}");
    insta::assert_snapshot!(refusal(&sample, System::Rpm), @"`hello 1` cannot become a .rpm: step 1: its condition asks for a package, and rpm's database is locked while its scripts run");
}

#[test]
fn a_step_that_never_happens_is_left_out_and_said_to_be() {
    let mut sample = Sample::new("hello", "1");
    let tree = sample.tree("/opt/hello");
    sample.node(tree, "", Node::Directory, Sample::meta(0o755));
    sample.header.steps[0].when = Some(Condition::Compare {
        left: Value::Fact(Fact::Os),
        comparison: Comparison::Equal,
        right: Value::Text(Template::literal("windows")),
    });
    let (exported, _) = export(&sample, System::Rpm).unwrap();
    assert!(exported.remarks.iter().any(|remark| remark.step == Some(1)), "{exported:?}");
}
