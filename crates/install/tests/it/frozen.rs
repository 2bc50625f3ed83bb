//! State folders, journals and receipts of every format there was, whole and damaged, in `fixtures/`.
//!
//! They are never written again. Those of a new format are made by running this test once with
//! `PACKHORSE_FREEZE=1`.

#![expect(clippy::disallowed_methods, reason = "fixtures are files; the crate itself reads none")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use change::{FrameReader, Intent, JournalRecord, Machine, Observe, Operation, Paths, frame};
use install::{Options, ReadReceiptError, Receipt, ReceiptRecord, Silent};
use model::{AccountStep, EditStep, LineEdit, MachinePath, PackageName, Template, Time};
use package::{Action, Node};
use testkit::{Picture, Sample, SimDisk, SimFacts};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn now() -> Time {
    Time { seconds: 1_750_000_000, nanoseconds: 1 }
}

fn machine() -> SimDisk {
    let mut disk = SimDisk::new();
    disk.put("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n");
    disk.put("/etc/group", b"root:x:0:\n");
    disk.put("/etc/hosts", b"127.0.0.1 localhost\n");
    disk.put("/usr/lib/liba.so", b"an old library");
    disk.put("/usr/bin/old", b"old");
    disk.put("/var/lib/dpkg/status", b"");
    disk
}

fn sample() -> Sample {
    let mut sample = Sample::new("app", "1.0");
    sample.step(Action::Account(AccountStep::User {
        name: "app".into(),
        system: true,
        id: None,
        group: None,
        home: Template::literal("/opt/app"),
        shell: Template::literal("/bin/false"),
        comment: String::new(),
    }));
    let tree = sample.tree("/opt/app");
    sample.directory(tree, "");
    sample.file(tree, "one", b"one");
    sample.node(tree, "link", Node::Symlink("one".parse().unwrap()), Sample::meta(0o777));
    let twin = Node::HardLink { tree, path: b"one".to_vec() };
    sample.node(tree, "twin", twin, Sample::meta(0o644));
    let lib = sample.versioned_tree("/usr/lib", Some("1.5"));
    let mut meta = Sample::meta(0o755);
    meta.xattrs.insert(b"user.note"[..].into(), b"kept"[..].into());
    sample.file_with(lib, "liba.so", b"a new library", meta);
    sample.step(Action::Remove { path: Template::literal("/usr/bin/old") });
    sample.step(Action::Edit(EditStep {
        file: Template::literal("/etc/hosts"),
        edits: vec![
            LineEdit::Add { line: Template::literal("127.0.0.2 app"), after: None },
            LineEdit::Remove { line: Template::literal("127.0.0.1 localhost") },
        ],
        create: false,
    }));
    sample
}

fn installed() -> (SimDisk, Paths) {
    let mut disk = machine();
    let paths = install::state_paths(&disk).unwrap();
    install::open_state(&mut disk, &paths, now()).unwrap();
    let options = Options { began: now(), ..Options::default() };
    let package = &mut sample().open();
    install::install(&mut disk, &paths, package, &SimFacts, &options, &mut Silent).unwrap();
    (disk, paths)
}

const FILES: [&str; 3] = ["origin", "receipts/app", "transactions/1/journal"];

/// Writes the fixtures of the present format, when asked to.
fn freeze() {
    if std::env::var_os("PACKHORSE_FREEZE").is_none() {
        return;
    }
    let (disk, paths) = installed();
    let state = fixtures().join(format!("state-{}", change::JOURNAL_FORMAT));
    for file in FILES {
        let at = state.join(file);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, disk.read(&paths.state.join(file).unwrap()).unwrap()).unwrap();
    }
    fs::create_dir_all(state.join("saved")).unwrap();
    for name in disk.list(&paths.all_saved()).unwrap() {
        let content = disk.read(&paths.all_saved().join(&name).unwrap()).unwrap();
        fs::write(state.join("saved").join(String::from_utf8(name).unwrap()), content).unwrap();
    }
    let receipt = fs::read(state.join("receipts/app")).unwrap();
    let journal = fs::read(state.join("transactions/1/journal")).unwrap();
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        bytes
    };
    let write = |name: &str, bytes: &[u8]| fs::write(fixtures().join(name), bytes).unwrap();
    write("receipt-1-truncated", &receipt[..receipt.len() - 5]);
    write("receipt-1-flipped", &flipped(&receipt));
    write("receipt-1-unknown-record", &[frame(&(99_u32, "what")), receipt].concat());
    write("journal-1-torn", &journal[..journal.len() - 5]);
    write("journal-1-flipped", &flipped(&journal));
    write("journal-1-unknown-record", &[journal, frame(&(99_u32, "what"))].concat());
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(fixtures().join(name)).unwrap()
}

/// A machine with one file.
fn with(bytes: &[u8]) -> (SimDisk, MachinePath) {
    let mut disk = SimDisk::new();
    disk.put("/file", bytes);
    (disk, "/file".parse().unwrap())
}

#[test]
fn a_state_folder_of_format_1_still_uninstalls_without_a_trace() {
    freeze();
    let pristine = Picture::of(&machine(), "/", &[]);
    let (mut disk, paths) = installed();
    // What that version wrote takes the place of what this one writes.
    for file in FILES {
        let text = format!("{}/{file}", paths.state);
        disk.put(&text, &fixture(&format!("state-1/{file}")));
    }
    let kept: Vec<String> = fs::read_dir(fixtures().join("state-1/saved"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(kept.len(), 5);
    for name in kept {
        let path = paths.all_saved().join(&name).unwrap();
        let content = disk.read(&path).unwrap();
        assert_eq!(
            content,
            fixture(&format!("state-1/saved/{name}")),
            "names mean what they meant"
        );
    }
    let mut rolled_back = disk.clone();
    let app = PackageName::new("app").unwrap();
    let gone = install::uninstall(&mut disk, &paths, &app, &SimFacts, now(), &mut Silent)
        .unwrap()
        .unwrap();
    assert_eq!(gone.leftovers, []);
    install::close_state(&mut disk, &paths).unwrap();
    assert_eq!(pristine.differences(&Picture::of(&disk, "/", &[])), Vec::<String>::new());
    install::roll_back(&mut rolled_back, &paths, &app, false).unwrap().unwrap();
    install::close_state(&mut rolled_back, &paths).unwrap();
    assert_eq!(pristine.differences(&Picture::of(&rolled_back, "/", &[])), Vec::<String>::new());
}

#[test]
fn a_receipt_of_format_1_is_read_to_its_end() {
    let (disk, path) = with(&fixture("state-1/receipts/app"));
    let receipt = Receipt::open(&disk, path).unwrap();
    assert_eq!((receipt.header.format, receipt.header.version.to_string()), (1, "1.0".to_owned()));
    let mut kinds = [0; 4];
    receipt
        .records(&disk, 0, |record| {
            match record {
                ReceiptRecord::Claim(_) => kinds[0] += 1,
                ReceiptRecord::Edit(_) => kinds[1] += 1,
                ReceiptRecord::Removed { .. } => kinds[2] += 1,
                ReceiptRecord::Folder { .. } => kinds[3] += 1,
                _ => {}
            }
            true
        })
        .unwrap();
    assert_eq!(kinds, [6, 3, 1, 4]);
    let library = receipt.claim(&disk, &"/usr/lib/liba.so".parse().unwrap()).unwrap().unwrap();
    assert_eq!(library.version.unwrap().to_string(), "1.5");
    assert_eq!(&*library.meta.xattrs[&b"user.note"[..]], b"kept");
}

#[test]
fn a_journal_of_format_1_is_read_to_its_end() {
    let (disk, path) = with(&fixture("state-1/transactions/1/journal"));
    let mut reader = FrameReader::open(&disk, path).unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.forward::<JournalRecord>().unwrap() {
        records.push(record);
    }
    assert!(!reader.has_torn_end());
    let JournalRecord::Header(header) = &records[0] else { panic!("{:?}", records[0]) };
    assert_eq!((header.format, header.number, header.operation), (1, 1, Operation::Install));
    assert_eq!(records.last(), Some(&JournalRecord::Commit));
    let replaced =
        |record: &&JournalRecord| matches!(record, JournalRecord::Intent(Intent::Replace { .. }));
    assert_eq!(records.iter().filter(replaced).count(), 4);
}

#[test]
fn damaged_receipts_are_refused() {
    for name in ["receipt-1-truncated", "receipt-1-flipped", "receipt-1-unknown-record"] {
        let (disk, path) = with(&fixture(name));
        let error = Receipt::open(&disk, path).unwrap_err();
        let damaged =
            matches!(error, ReadReceiptError::Frames { .. } | ReadReceiptError::Shape { .. });
        assert!(damaged, "{name}: {error}");
    }
}

#[test]
fn damaged_journals_are_refused() {
    for name in ["journal-1-torn", "journal-1-flipped", "journal-1-unknown-record"] {
        let (mut disk, paths) = installed();
        disk.put(&format!("{}/transactions/1/journal", paths.state), &fixture(name));
        let before = Picture::of(&disk, "/", &[]);
        let app = PackageName::new("app").unwrap();
        let refused = install::roll_back(&mut disk, &paths, &app, false);
        assert!(refused.is_err(), "{name}");
        disk.sync().unwrap();
        assert_eq!(before.differences(&Picture::of(&disk, "/", &[])), Vec::<String>::new());
    }
}
