//! Everything that reads foreign bytes, as functions that must only ever refuse: no panic, no endless loop,
//! no memory beyond what the input justifies.
//!
//! `cargo fuzz run TARGET` in this folder feeds them for as long as one likes; the crate's own test feeds them
//! the kept corpus and thousands of its mutations on every run.

mod foreign;

use std::io::Cursor;

use capture::SnapshotReader;
use change::{
    FrameReader, Intent, JournalRecord, Observe as _,
    edit::{self, Edit},
};
use install::{Receipt, ReceiptRecord};
use model::MachinePath;
use package::{Header, NoRecall, PackageReader};
use testkit::SimDisk;

/// A reader of foreign bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its corpus folder.
pub const TARGETS: [(&str, Target); 23] = [
    ("package", package_file),
    ("header", header),
    ("receipt", receipt),
    ("journal", journal),
    ("state", state),
    ("snapshot", snapshot),
    ("changes", changes),
    ("script", script_text),
    ("files-meta", files_meta),
    ("rules", rules),
    ("edit", text_edit),
    ("index", foreign::index),
    ("manifest", foreign::manifest),
    ("release", foreign::release),
    ("delta", foreign::delta),
    ("hive", foreign::hive),
    ("deb", foreign::deb),
    ("rpm", foreign::rpm),
    ("line", site::take_anything),
    ("trust", foreign::trust_metadata),
    ("policy", foreign::policy),
    ("inventory", foreign::inventory),
    ("parcel", foreign::parcel),
];

/// A package file or installer: opened, verified, and read although it may be damaged.
pub fn package_file(bytes: &[u8]) {
    let Ok(mut reader) = PackageReader::open(Cursor::new(bytes)) else { return };
    let sound = reader.verify(&mut |_, _| ()).is_ok();
    drop(package::explain(reader.header()));
    let whole = reader.records().all(|record| record.is_ok());
    let mut contents = reader.contents();
    let read = loop {
        match contents.next_record() {
            Ok(Some(_)) => {}
            Ok(None) => break true,
            Err(_) => break false,
        }
        let pieces = loop {
            match contents.piece(&mut NoRecall) {
                Ok(Some(_)) => {}
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        if !pieces {
            break false;
        }
    };
    assert!(!sound || (whole && read), "what is sound can be read");
}

/// The head of a package, below its checksums.
pub fn header(bytes: &[u8]) {
    if let Ok(header) = minicbor::decode::<Header>(bytes) {
        drop(package::explain(&header));
    }
    drop(minicbor::decode::<Intent>(bytes));
    drop(minicbor::decode::<ReceiptRecord>(bytes));
    drop(minicbor::decode::<JournalRecord>(bytes));
}

/// A receipt, with every record it lets go.
pub fn receipt(bytes: &[u8]) {
    let (disk, at) = holding("/receipt", bytes);
    let Ok(receipt) = Receipt::open(&disk, at) else { return };
    drop(receipt.records(&disk, 0, |_| true));
}

/// A journal, forward and backward.
pub fn journal(bytes: &[u8]) {
    let (disk, at) = holding("/journal", bytes);
    let Ok(mut reader) = FrameReader::open(&disk, at) else { return };
    let mut count = 0;
    while let Ok(Some(_)) = reader.forward::<JournalRecord>() {
        count += 1;
    }
    let mut back = 0;
    while let Ok(Some(_)) = reader.backward::<JournalRecord>() {
        back += 1;
    }
    assert!(back >= count, "what was read forward is there backward: {count}, {back}");
}

/// A machine with such a journal, recovered: it is refused or done.
pub fn state(bytes: &[u8]) {
    let mut disk = SimDisk::new();
    disk.put("/etc/hosts", b"127.0.0.1 localhost\n");
    disk.put("/var/lib/packhorse/transactions/open-1/journal", bytes);
    let Ok(paths) = install::state_paths(&disk) else { return };
    drop(install::recover(&mut disk, &paths));
    let hosts = MachinePath::new("/etc").and_then(|etc| etc.join("hosts"));
    assert!(hosts.is_ok_and(|hosts| disk.look(&hosts).is_ok()), "the machine can be looked at");
}

/// A snapshot.
pub fn snapshot(bytes: &[u8]) {
    let Ok(mut reader) = SnapshotReader::open(bytes) else { return };
    while let Ok(Some(_)) = reader.next_record() {}
}

/// A change set.
pub fn changes(bytes: &[u8]) {
    drop(capture::read_changes(bytes));
}

/// A script: parsed, checked by being printed and parsed again, formatted, explained.
pub fn script_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(formatted) = script::format(text) {
        assert_eq!(script::format(&formatted).ok().as_ref(), Some(&formatted), "formatted twice");
    }
    let Ok(read) = script::parse(text) else { return };
    drop(script::explain(&read));
    let again = script::parse(&script::print(&read));
    assert_eq!(again.as_ref().ok(), Some(&read), "printed and read again");
}

/// A `files.meta`.
pub fn files_meta(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(read) = script::parse_files_meta(text) else { return };
    let again = script::parse_files_meta(&script::print_files_meta(&read));
    assert_eq!(again.as_ref().ok(), Some(&read), "printed and read again");
}

/// Noise rules and reports.
pub fn rules(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    drop(capture::parse_rules("fuzz", text).map(|rules| capture::Rules::new(vec![rules])));
    drop(capture::Report::from_toml(text));
    drop(script::parse_condition(text));
}

/// A text somebody else wrote, edited: done twice is done once, and taken back is as before.
pub fn text_edit(bytes: &[u8]) {
    let (words, text) = bytes.split_at(bytes.len().min(12));
    let word = |at: usize| -> Vec<u8> {
        let kept = words.iter().skip(at * 4).take(4).copied();
        kept.filter(|byte| !matches!(byte, b'\n' | b'\r' | 0)).collect()
    };
    let edits = [
        Edit::Add { line: word(0), after: Some(word(1)) },
        Edit::Remove { line: word(0) },
        Edit::Ini { section: word(0), key: word(1), value: Some(word(2)) },
        Edit::Assignment { key: word(0), value: Some(word(1)) },
        Edit::PathList { key: word(0), folder: word(1), first: words.len() % 2 == 0 },
    ];
    for one in edits {
        let before = edit::Before::of(text, &one);
        let once = edit::apply(text, &one);
        drop(edit::take_back(&once, &one, &before));
    }
}

fn holding(path: &str, bytes: &[u8]) -> (SimDisk, MachinePath) {
    let mut disk = SimDisk::new();
    disk.put(path, bytes);
    (disk, MachinePath::new(path).unwrap_or_else(|_| MachinePath::root()))
}
