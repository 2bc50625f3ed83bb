//! Packages of every released format, good and damaged, kept for ever. A reader that cannot read them is wrong.

use std::{fs, io::Cursor, path::PathBuf};

use package::{OpenError, PackageReader};

use crate::payload::{File, file, open, read};

#[expect(clippy::disallowed_methods, reason = "fixtures are files; the crate itself reads none")]
fn fixture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"));
    fs::read(folder.join(format!("{name}.package"))).unwrap()
}

/// What is wrong with a fixture, as whoever opens and verifies it is told.
fn fault(name: &str) -> String {
    match PackageReader::open(Cursor::new(fixture(name))) {
        Err(error) => error.to_string(),
        Ok(mut package) => package.verify(&mut |_, _| {}).unwrap_err().to_string(),
    }
}

fn paths(files: &[File]) -> Vec<String> {
    let path = |file: &File| String::from_utf8(file.path.clone()).unwrap();
    files.iter().map(path).collect()
}

#[test]
fn format_1_is_read() {
    let bytes = fixture("1-good");
    let package = open(&bytes);
    insta::assert_snapshot!(package.identity(), @"8d841282064c476f8796ac6301697a82f124d74d0e686385441cad16e79b7044");
    assert_eq!(package.layout().stub_length, 7);
    assert_eq!(package.header().summary, "a package for tests");
    let files = read(&bytes);
    assert_eq!(
        paths(&files),
        ["bin/tool", "data", "data.again", "empty", "picture.png", "sparse", "text"]
    );
    let lines: Vec<String> =
        (0..9000_u64).map(|number| (number * number % 9973).to_string()).collect();
    let lines = lines.join("\n") + "\n";
    assert_eq!(files[1], file("data", lines.clone()));
    assert_eq!(files[2], file("data.again", lines));
    assert_eq!((files[5].holes.len(), files[5].bytes.len()), (2, 20_000));
    assert_eq!(files[6], file("text", "some text\n".repeat(200)));
}

#[test]
fn faults_of_format_1_are_found() {
    insta::assert_snapshot!(fault("1-cut-off"), @"this is no package, or its end is missing: 18027 bytes that do not end with a package's trailer");
    insta::assert_snapshot!(fault("1-trailing-garbage"), @"this is no package, or its end is missing: 21034 bytes that do not end with a package's trailer");
    insta::assert_snapshot!(fault("1-flipped-in-stub"), @"the package is damaged: the whole at byte 0: its hash does not fit; get a fresh copy");
    insta::assert_snapshot!(fault("1-flipped-in-preamble"), @"the package is damaged: the whole at byte 7: it does not start as a package; get a fresh copy");
    insta::assert_snapshot!(fault("1-flipped-in-content"), @"the package is damaged: the whole at byte 0: its hash does not fit; get a fresh copy");
    insta::assert_snapshot!(fault("1-flipped-in-index"), @"the package is damaged: the index at byte 20754: its hash does not fit; get a fresh copy");
    insta::assert_snapshot!(fault("1-flipped-in-length"), @"the package is damaged: the trailer at byte 20907: its check does not fit; get a fresh copy");
    insta::assert_snapshot!(fault("1-flipped-in-whole-hash"), @"the package is damaged: the trailer at byte 20907: its check does not fit; get a fresh copy");
}

/// A package of a later format is refused by its number, not called damaged.
#[test]
fn a_newer_format_is_named() {
    let mut bytes = fixture("1-good");
    let trailer = bytes.len() - 120;
    bytes[trailer] = 2;
    let check = model::Hash::of(&bytes[trailer..trailer + 104]);
    bytes[trailer + 104..trailer + 112].copy_from_slice(&check.0[..8]);
    let error = PackageReader::open(Cursor::new(bytes)).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 2, known: 1 }));
}
