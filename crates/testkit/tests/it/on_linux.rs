use std::fs;

use operate::Exit;
use package::Node;
use testkit::Sample;

use crate::root::{Root, same};

fn sample() -> Sample {
    let mut sample = Sample::new("redis", "7.2.4");
    sample.variable("prefix", "/opt/redis");
    let tree = sample.tree("${prefix}");
    sample.directory(tree, "");
    sample.directory(tree, "bin");
    sample.file_with(tree, "bin/redis-server", &vec![7; 300_000], Sample::meta(0o755));
    sample.node(
        tree,
        "bin/redis",
        Node::Symlink("redis-server".parse().unwrap()),
        Sample::meta(0o777),
    );
    sample.node(
        tree,
        "bin/redis-twin",
        Node::HardLink { tree, path: b"bin/redis-server".to_vec() },
        Sample::meta(0o755),
    );
    sample.directory(tree, "empty");
    let lib = sample.tree("/lib/libredis.so");
    sample.file(lib, "", b"library");
    sample
}

#[test]
fn what_came_goes_without_a_trace() {
    let root = Root::new();
    let pristine = root.whole();
    let report = root.install(&sample());
    assert_eq!(report.counts.unwrap().created, 2, "a folder with all it holds, and a library");
    assert_eq!(fs::read(root.path("opt/redis/bin/redis-server")).unwrap(), vec![7; 300_000]);
    assert_eq!(root.read("usr/lib/libredis.so"), "library", "links on the way are followed");
    assert_eq!(root.verify("redis").result, Exit::Done);
    root.uninstall_all_of("redis");
    same(&pristine, &root.whole());
}

#[test]
fn rolling_back_an_installation_leaves_no_trace() {
    let root = Root::new();
    let pristine = root.whole();
    root.install(&sample());
    assert_eq!(root.roll_back("redis").result, Exit::Done);
    same(&pristine, &root.whole());
    assert_eq!(root.roll_back("redis").result, Exit::Nothing);
}
