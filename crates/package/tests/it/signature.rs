//! Installers for Windows that were signed after they were made (§3.5).

use std::io::Cursor;

use package::PackageReader;

use crate::payload::{file, settings, write};

const SUM: usize = 0x98 + 64;
const ENTRY: usize = 0x98 + 144;

/// The start of a program for 64 bits.
fn program() -> Vec<u8> {
    let mut bytes = vec![0x90; 0x400];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c..0x40].copy_from_slice(&0x80_u32.to_le_bytes());
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    bytes[0x98..0x9a].copy_from_slice(&0x20b_u16.to_le_bytes());
    bytes[ENTRY..ENTRY + 8].fill(0);
    bytes
}

fn installer(text: &str) -> Vec<u8> {
    write(&[file("a", text.as_bytes().to_vec())], &program(), settings()).1
}

/// What signing makes of a file: filled up to eight bytes, a table behind, its place and a sum in the head.
fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let place = u32::try_from(bytes.len()).unwrap();
    bytes[SUM..SUM + 4].copy_from_slice(&0x1234_5678_u32.to_le_bytes());
    bytes[ENTRY..ENTRY + 4].copy_from_slice(&place.to_le_bytes());
    bytes[ENTRY + 4..ENTRY + 8].copy_from_slice(&64_u32.to_le_bytes());
    bytes.extend([0x5a; 64]);
    bytes
}

fn is_whole(bytes: &[u8]) -> bool {
    let opened = PackageReader::open(Cursor::new(bytes));
    opened.is_ok_and(|mut package| package.verify(&mut |_, _| {}).is_ok())
}

#[test]
fn a_signed_installer_is_whole_whatever_its_length() {
    for length in 0..16 {
        let bytes = installer(&"x".repeat(length));
        assert!(is_whole(&bytes));
        assert!(is_whole(&signed(bytes)), "{length}");
    }
}

#[test]
fn all_but_what_signing_writes_is_covered() {
    let bytes = signed(installer("some text"));
    let table = bytes.len() - 64;
    let package = bytes[..table].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    for at in (0..package).filter(|at| !(SUM..SUM + 4).contains(at)) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        // A table that ends elsewhere, or starts elsewhere, is none.
        assert!(!is_whole(&changed), "byte {at}");
    }
    let mut cut = bytes;
    cut.truncate(table + 32);
    assert!(!is_whole(&cut));
}
