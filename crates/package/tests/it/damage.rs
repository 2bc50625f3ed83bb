use std::io::Cursor;

use package::{NoRecall, OpenError, PackageReader};
use proptest::prelude::*;

use crate::payload::{File, file, noise, settings, write};

fn sample() -> Vec<u8> {
    let mut files: Vec<File> =
        (0..9).map(|at| file(&format!("f{at}"), noise(at % 4, 40_000))).collect();
    files.push(file("z", "\x7fELF and some text ".repeat(500)));
    write(&files, b"the program in front", settings()).1
}

/// Whether the package is found damaged, as whoever changes a machine asks.
fn is_refused(bytes: &[u8]) -> bool {
    match PackageReader::open(Cursor::new(bytes)) {
        Err(OpenError::Read { .. }) => panic!("memory cannot fail to be read"),
        Err(_) => true,
        Ok(mut package) => package.verify(&mut |_, _| {}).is_err(),
    }
}

/// Reads without verifying first: nothing may panic, hang or come out wrong.
fn read_anyway(bytes: &[u8]) {
    let Ok(mut package) = PackageReader::open(Cursor::new(bytes)) else { return };
    let mut contents = package.contents();
    while let Ok(Some(_)) = contents.next_record() {
        while let Ok(Some(_)) = contents.piece(&mut NoRecall) {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_flipped_bit_is_found(place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = sample();
        let place = place.index(bytes.len());
        bytes[place] ^= 1_u8 << bit;
        prop_assert!(is_refused(&bytes));
        read_anyway(&bytes);
    }

    #[test]
    fn any_cut_is_found(length in any::<prop::sample::Index>()) {
        let mut bytes = sample();
        bytes.truncate(length.index(bytes.len()));
        prop_assert!(is_refused(&bytes));
    }

    #[test]
    fn anything_behind_is_found(tail in proptest::collection::vec(any::<u8>(), 1..300)) {
        let mut bytes = sample();
        bytes.extend(tail);
        prop_assert!(is_refused(&bytes));
    }
}

#[test]
fn an_intact_package_is_taken() {
    assert!(!is_refused(&sample()));
}

#[test]
fn something_else_is_no_package() {
    let error = PackageReader::open(Cursor::new(noise(1, 5000))).map(drop).unwrap_err();
    insta::assert_snapshot!(error, @"this is no package, or its end is missing: 5000 bytes that do not end with a package's trailer");
    assert!(PackageReader::open(Cursor::new(b"")).is_err());
}
