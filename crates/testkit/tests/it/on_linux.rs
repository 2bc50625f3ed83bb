use std::{fs, os::unix::fs::symlink, path::Path};

use machine_linux::{LinuxFacts, LinuxMachine};
use package::Node;
use testkit::{Picture, Sample};

use crate::support::{install_with, options, roll_back, uninstall};

struct Root {
    folder: tempfile::TempDir,
    machine: LinuxMachine,
}

impl Root {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for name in ["etc", "opt", "usr/lib", "usr/bin", "var/lib"] {
            fs::create_dir_all(at.join(name)).unwrap();
        }
        symlink("usr/lib", at.join("lib")).unwrap();
        fs::write(at.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        fs::write(at.join("etc/group"), "root:x:0:\n").unwrap();
        fs::write(at.join("etc/shadow"), "root:*:::::::\n").unwrap();
        let machine = LinuxMachine::new(at).unwrap();
        Self { folder, machine }
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.folder.path().join(below)
    }

    fn whole(&self) -> Picture {
        Picture::of(&self.machine, "/", &[])
    }

    fn install(&mut self, sample: &Sample) -> install::Outcome {
        let facts = LinuxFacts::of(&self.machine);
        install_with(&mut self.machine, &facts, sample, &options()).unwrap()
    }

    fn uninstall(&mut self, name: &str) -> install::Uninstalled {
        let facts = LinuxFacts::of(&self.machine);
        uninstall(&mut self.machine, &facts, name).unwrap().unwrap()
    }
}

fn same(before: &Picture, after: &Picture) {
    assert_eq!(before.differences(after), Vec::<String>::new());
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn sample() -> Sample {
    let mut sample = Sample::new("redis", "7.2.4");
    sample.variable("prefix", "/opt/redis");
    let tree = sample.tree("${prefix}");
    sample.directory(tree, "");
    sample.directory(tree, "bin");
    sample.file_with(tree, "bin/redis-server", &[7; 300_000], Sample::meta(0o755));
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
    let mut root = Root::new();
    let pristine = root.whole();
    let outcome = root.install(&sample());
    assert_eq!(outcome.counts.created, 2, "a folder with all it holds, and a library");
    assert_eq!(fs::read(root.path("opt/redis/bin/redis-server")).unwrap(), [7; 300_000]);
    assert_eq!(read(&root.path("usr/lib/libredis.so")), "library", "links on the way are followed");
    let paths = install::state_paths(&root.machine).unwrap();
    let (all, _) = install::installed(&root.machine, &paths).unwrap();
    assert_eq!(install::verify(&root.machine, &all[0].receipt).unwrap(), []);
    let gone = root.uninstall("redis");
    assert_eq!(gone.leftovers, []);
    same(&pristine, &root.whole());
}

/// A folder the package merely passes through keeps what it is, and stays when the package goes.
#[test]
fn a_carrier_is_made_where_nothing_is_and_left_alone_elsewhere() {
    let mut root = Root::new();
    fs::set_permissions(root.path("etc"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    let pristine = root.whole();
    let mut sample = Sample::new("app", "1");
    for (to, file) in [("/etc", "app.conf"), ("/srv", "data")] {
        let tree = sample.tree(to);
        sample.node(tree, "", Node::Carrier, Sample::meta(0o755));
        sample.file(tree, file, b"content");
    }
    root.install(&sample);
    assert_eq!(read(&root.path("etc/app.conf")), "content");
    assert_eq!(read(&root.path("srv/data")), "content");
    root.uninstall("app");
    same(&pristine, &root.whole());
}

#[test]
fn rolling_back_an_installation_leaves_no_trace() {
    let mut root = Root::new();
    let pristine = root.whole();
    root.install(&sample());
    roll_back(&mut root.machine, "redis", false).unwrap().unwrap();
    same(&pristine, &root.whole());
    assert!(roll_back(&mut root.machine, "redis", false).unwrap().is_none());
}
