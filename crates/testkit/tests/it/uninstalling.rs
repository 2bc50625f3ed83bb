//! Uninstalling gives back exactly what was replaced, and leaves what others made.

use std::{fs, os::unix::fs::symlink, process::Command};

use change::{Machine, Observe, RawMeta};
use model::Template;
use operate::Exit;
use package::Node;
use testkit::Sample;

use crate::root::{Root, same};

/// An access control list as the kernel keeps it: owner, user 1000, group, mask, others; acl(5).
fn access_list() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, u32::MAX), (2, 4, 1000), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[test]
fn q174329_what_was_replaced_comes_back_exactly() {
    let root = Root::new();
    let mut machine = root.machine();
    for file in 0..25_u32 {
        let below = format!("usr/lib/file-{file}");
        root.put(&below, &format!("theirs, {file}"));
        let path = format!("/{below}").parse().unwrap();
        let found = machine.look(&path).unwrap().unwrap();
        let mut meta = RawMeta {
            mode: 0o600 + u16::try_from(file % 8).unwrap(),
            user: 1000 + file,
            group: 2000 + file,
            ..found.meta
        };
        meta.modified.seconds = 1_600_000_000 + i64::from(file);
        meta.modified.nanoseconds = 123_456_000 + file;
        if file < 3 {
            meta.mode = 0o640;
            meta.xattrs.insert(b"system.posix_acl_access"[..].into(), access_list().into());
        }
        if (3..5).contains(&file) {
            meta.xattrs.insert(b"user.origin"[..].into(), b"theirs\0and binary"[..].into());
        }
        machine.set_meta(&path, &meta).unwrap();
    }
    symlink("file-1", root.path("usr/lib/link-1")).unwrap();
    symlink("/nowhere/at all", root.path("usr/lib/link-2")).unwrap();
    let pristine = root.whole();
    let mut sample = Sample::new("app", "1");
    let tree = sample.tree("/usr/lib");
    for file in 0..25 {
        sample.file(tree, &format!("file-{file}"), b"ours");
    }
    sample.file(tree, "link-1", b"a file where a link was");
    sample.node(tree, "link-2", Node::Symlink(Template::literal("elsewhere")), Sample::meta(0o777));
    let report = root.install(&sample);
    assert_eq!(report.counts.unwrap().replaced, 27);
    assert_eq!(root.read("usr/lib/file-24"), "ours");
    root.uninstall_all_of("app");
    same(&pristine, &root.whole());
}

fn program(generated: &[&str]) -> Sample {
    let mut sample = Sample::new("app", "1");
    let tree = sample.tree("/opt/app");
    sample.directory(tree, "");
    sample.file(tree, "program", b"program");
    sample.header.generated = generated.iter().map(|pattern| pattern.parse().unwrap()).collect();
    sample
}

/// What people and the program made since: documents, a cache, a link to somewhere else.
fn live_in(root: &Root) {
    fs::create_dir_all(root.path("home/me")).unwrap();
    root.put("home/me/letter", "mine");
    fs::create_dir_all(root.path("opt/app/cache/deep")).unwrap();
    fs::create_dir(root.path("opt/app/documents")).unwrap();
    for document in 0..3 {
        root.put(&format!("opt/app/documents/{document}.txt"), "precious");
    }
    for file in 0..40 {
        root.put(&format!("opt/app/cache/deep/{file}"), "cached");
    }
    symlink("/home", root.path("opt/app/home")).unwrap();
}

#[test]
fn q200620_everything_made_since_stays_and_is_listed() {
    let root = Root::new();
    root.install(&program(&[]));
    live_in(&root);
    let report = root.uninstall("app");
    assert_eq!(report.result, Exit::Leftovers, "{}", report.lines());
    assert_eq!(report.leftovers.len(), 3 + 40 + 1);
    assert!(report.lines().contains("/opt/app/documents/2.txt"));
    assert!(!root.is_there("opt/app/program"));
    assert_eq!(root.read("opt/app/documents/0.txt"), "precious");
    assert_eq!(root.read("home/me/letter"), "mine");
    assert_eq!(fs::read_link(root.path("opt/app/home")).unwrap().to_str(), Some("/home"));
}

#[test]
fn q200620_what_the_program_is_declared_to_make_goes_with_it() {
    let root = Root::new();
    root.install(&program(&["/opt/app/cache/**"]));
    live_in(&root);
    let report = root.uninstall("app");
    assert_eq!(report.result, Exit::Leftovers, "{}", report.lines());
    assert_eq!(report.leftovers.len(), 3 + 1, "{}", report.lines());
    assert!(!root.is_there("opt/app/cache/deep"));
    assert_eq!(root.read("opt/app/documents/0.txt"), "precious");
    assert_eq!(root.read("home/me/letter"), "mine");
}

#[test]
fn what_people_changed_stays() {
    let root = Root::new();
    root.put("usr/lib/replaced", "before");
    let mut sample = program(&[]);
    let tree = sample.tree("/usr/lib");
    sample.file(tree, "replaced", b"ours");
    root.install(&sample);
    root.put("opt/app/program", "improved");
    root.put("usr/lib/replaced", "changed since");
    let report = root.uninstall("app");
    assert_eq!(report.result, Exit::Leftovers, "{}", report.lines());
    assert_eq!(report.leftovers.len(), 2, "{}", report.lines());
    assert_eq!(root.read("opt/app/program"), "improved");
    assert_eq!(root.read("usr/lib/replaced"), "changed since");
}

#[test]
fn q228324_a_large_tree_goes_whole_though_a_file_in_it_is_open() {
    let root = Root::new();
    let pristine = root.whole();
    let mut sample = Sample::new("large", "1");
    let tree = sample.tree("/opt/large");
    sample.directory(tree, "");
    for folder in 0..500 {
        sample.directory(tree, &format!("{folder}"));
        for file in 0..40 {
            sample.file(tree, &format!("{folder}/{file}"), b"");
        }
    }
    root.install(&sample);
    let open = root.path("opt/large/250/20");
    let mut reader = Command::new("sh")
        .args(["-c", "exec 3<\"$1\"; echo open; read line", "sh"])
        .arg(&open)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 5];
    std::io::Read::read_exact(reader.stdout.as_mut().unwrap(), &mut line).unwrap();
    let mut target = root.target();
    let mut show = operate::Show::new(true);
    let report = operate::uninstall_package(&mut target, &crate::support::name("large"), &mut show);
    let held = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter(|path| path.starts_with(root.path("opt/large")))
        .count();
    drop(reader.stdin.take());
    reader.wait().unwrap();
    assert_eq!(report.result, Exit::Done, "{}", report.lines());
    assert_eq!(held, 0);
    drop(target);
    same(&pristine, &root.whole());
}
