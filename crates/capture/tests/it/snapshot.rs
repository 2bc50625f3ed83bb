use capture::{Names, ReadSnapshotError, Record, SnapshotHeader, SnapshotReader, SnapshotWriter};
use model::MachinePath;
use proptest::{collection, prelude::*};

use crate::sample::{file, path, record, time};

fn header() -> SnapshotHeader {
    SnapshotHeader { names: Names::parse(b"root:x:0:0::/:\n", b""), started: time(5) }
}

fn written(records: &[Record], unknown: &[MachinePath]) -> Vec<u8> {
    let mut writer = SnapshotWriter::start(Vec::new(), &header()).unwrap();
    for record in records {
        writer.add(record).unwrap();
    }
    writer.finish(unknown.to_vec()).unwrap()
}

fn read(bytes: &[u8]) -> Result<(Vec<Record>, Vec<MachinePath>), ReadSnapshotError> {
    let mut reader = SnapshotReader::open(bytes)?;
    assert_eq!(*reader.header(), header());
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(record);
    }
    Ok((records, reader.end().unwrap().unknown.clone()))
}

proptest! {
    #[test]
    fn every_record_comes_back(records in collection::vec(record(), 0..40)) {
        let unknown = [path("/proc"), path("/sys")];
        let (back, unknown_back) = read(&written(&records, &unknown)).unwrap();
        prop_assert_eq!(back, records);
        prop_assert_eq!(unknown_back, unknown);
    }

    #[test]
    fn damage_anywhere_is_found(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = written(&[file("/a", 1, 2, 3), file("/b", 4, 5, 6)], &[]);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(read(&bytes).is_err());
    }
}

#[test]
fn many_blocks_are_one_snapshot() {
    let records: Vec<Record> =
        (0..20_000).map(|n| file(&format!("/usr/{n:05}"), n, n, 50)).collect();
    assert_eq!(read(&written(&records, &[])).unwrap().0, records);
}

#[test]
fn a_snapshot_that_breaks_off_says_so() {
    let bytes = written(&[file("/a", 1, 2, 3)], &[]);
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).unwrap_err();
        assert!(matches!(error, ReadSnapshotError::CutOff { .. }), "{length}: {error}");
    }
    insta::assert_snapshot!(
        read(&bytes[..40]).unwrap_err(),
        @"the snapshot breaks off after 0 records: it was never completed"
    );
}

#[test]
fn foreign_and_newer_files_are_refused() {
    let mut bytes = written(&[], &[]);
    bytes[8] = 2;
    insta::assert_snapshot!(
        read(&bytes).unwrap_err(),
        @"the snapshot has version 2, and this release reads up to 1"
    );
    insta::assert_snapshot!(read(b"#!/bin/sh\nexit 0\n").unwrap_err(), @"this is no snapshot");
}
