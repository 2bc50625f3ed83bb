//! State that was damaged, or that a newer version wrote.

use std::fs;

use change::{JournalRecord, Operation, TransactionHeader, frame};
use install::{ReceiptHeader, ReceiptRecord};
use model::{Architecture, Version};
use operate::{Exit, InstallSettings};
use testkit::Sample;

use crate::{
    root::{Root, same},
    support::{name, now},
};

fn package(package: &str) -> Sample {
    let mut sample = Sample::new(package, "1");
    let tree = sample.tree(&format!("/opt/{package}"));
    sample.directory(tree, "");
    sample.file(tree, "file", package.as_bytes());
    sample
}

fn flip(root: &Root, below: &str) {
    let mut bytes = fs::read(root.path(below)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(root.path(below), bytes).unwrap();
}

#[test]
fn a_damaged_receipt_harms_its_own_package_alone() {
    let root = Root::new();
    root.install(&package("one"));
    root.install(&package("two"));
    flip(&root, "var/lib/packhorse/receipts/one");
    let listed = operate::list_packages(&root.target());
    assert_eq!(listed.result, Exit::Failed);
    assert_eq!(listed.packages.as_ref().unwrap().len(), 1);
    assert!(listed.lines().contains("receipts/one` is damaged"), "{}", listed.lines());
    let report = root.install(&package("three"));
    assert!(report.notes.iter().any(|note| note.contains("receipts/one` is damaged")));
    root.uninstall_all_of("two");
    root.uninstall_all_of("three");
    for report in [root.uninstall("one"), root.verify("one"), root.roll_back("one")] {
        assert_eq!(report.result, Exit::Failed, "{}", report.lines());
        assert!(report.lines().contains("receipts/one` is damaged"), "{}", report.lines());
    }
    let refused = root.install_with(&package("one"), &InstallSettings::default());
    assert_eq!(refused.result, Exit::Failed, "{}", refused.lines());
    let again = InstallSettings { again: true, ..InstallSettings::default() };
    let report = root.install_with(&package("one"), &again);
    assert_eq!(report.result, Exit::Done, "{}", report.lines());
    assert_eq!(root.verify("one").result, Exit::Done);
    assert_eq!(root.read("opt/one/file"), "one");
}

#[test]
fn a_receipt_of_a_newer_format_is_refused_with_both_versions() {
    let root = Root::new();
    root.install(&package("one"));
    let header = ReceiptHeader {
        format: install::RECEIPT_FORMAT + 1,
        name: name("newer"),
        version: Version::new("1"),
        architecture: Architecture::Any,
        number: 99,
        installed: now(),
        variables: std::collections::BTreeMap::new(),
        configuration: Vec::new(),
        generated: Vec::new(),
        hooks: Vec::new(),
        replaced: None,
        summary: String::new(),
    };
    // What follows the header is nothing this version knows.
    let mut bytes = frame(&ReceiptRecord::Header(Box::new(header)));
    bytes.extend(frame(&(77_u32, "unheard of")));
    fs::write(root.path("var/lib/packhorse/receipts/newer"), bytes).unwrap();
    let before = root.whole();
    let reports = [
        root.install_with(&package("two"), &InstallSettings::default()),
        root.uninstall("one"),
        root.uninstall("newer"),
    ];
    for report in reports {
        assert_eq!(report.result, Exit::Failed, "{}", report.lines());
        let text = report.lines();
        assert!(text.contains("format 2") && text.contains("up to 1"), "{text}");
    }
    same(&before, &root.whole());
}

#[test]
fn a_journal_of_a_newer_format_is_refused_with_both_versions() {
    let root = Root::new();
    root.install(&package("one"));
    let header = TransactionHeader {
        format: change::JOURNAL_FORMAT + 1,
        number: 99,
        operation: Operation::Install,
        package: name("newer"),
        from: None,
        to: Some(Version::new("1")),
        began: now(),
    };
    let folder = root.path("var/lib/packhorse/transactions/open-99");
    fs::create_dir(&folder).unwrap();
    let mut bytes = frame(&JournalRecord::Header(header));
    bytes.extend(frame(&(77_u32, "unheard of")));
    fs::write(folder.join("journal"), bytes).unwrap();
    let before = root.whole();
    let error = operate::Target::open(root.folder(), false, &mut |_| {}).unwrap_err();
    assert_eq!(error.exit(), Exit::Failed);
    let text = operate::Report::of_error(error.exit(), &error).lines();
    assert!(text.contains("format 2") && text.contains("up to 1"), "{text}");
    same(&before, &root.whole());
}

#[test]
fn a_damaged_journal_is_found_before_anything_goes_back() {
    let root = Root::new();
    root.install(&package("one"));
    flip(&root, "var/lib/packhorse/transactions/1/journal");
    let before = root.whole();
    let report = root.roll_back("one");
    assert_eq!(report.result, Exit::Failed, "{}", report.lines());
    assert!(report.message.contains("transactions/1/journal` is damaged"), "{}", report.lines());
    same(&before, &root.whole());
    // Uninstalling goes by the receipt.
    root.uninstall_all_of("one");
}
