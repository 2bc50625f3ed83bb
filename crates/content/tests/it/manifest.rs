use std::io::Cursor;

use content::{Manifest, Object, ObjectKind, ReadManifestError};
use package::PackageReader;
use proptest::prelude::*;
use testkit::Sample;

pub(crate) fn sample() -> Sample {
    let mut sample = Sample::new("redis", "7.2.4");
    let tree = sample.tree("/opt/redis");
    sample.directory(tree, "");
    sample.directory(tree, "bin");
    sample.file(tree, "bin/redis", b"\x7fELF and so on");
    sample.file(tree, "bin/redis-2", b"\x7fELF and so on");
    sample.file(tree, "bin/redis-3", &vec![7; 300_000]);
    sample
}

pub(crate) fn manifest(sample: &Sample) -> Manifest {
    let bytes = sample.bytes();
    let pack = Object::of(ObjectKind::Pack, &bytes);
    Manifest::of(&mut PackageReader::open(Cursor::new(bytes)).unwrap(), pack).unwrap()
}

#[test]
fn a_manifest_comes_back() {
    let manifest = manifest(&sample());
    assert_eq!(Manifest::parse(&manifest.to_bytes()), Ok(manifest));
}

#[test]
fn every_chunk_has_a_place_inside_its_frame() {
    let manifest = manifest(&sample());
    let mut runs = manifest.runs.iter();
    let mut run = *runs.next().unwrap();
    for record in &manifest.records {
        let package::Node::File(file) = &record.node else { continue };
        for chunk in file.each_chunk() {
            if run.chunks == 0 {
                run = *runs.next().unwrap();
            }
            let frame = manifest.frames[run.frame as usize];
            assert!(run.offset + u64::from(chunk.length) <= frame.plain);
            run.chunks -= 1;
            run.offset += u64::from(chunk.length);
        }
    }
    assert_eq!((run.chunks, runs.next()), (0, None));
}

proptest! {
    #[test]
    fn no_damaged_manifest_panics_and_no_cut_off_one_is_taken(
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut bytes = manifest(&sample()).to_bytes();
        let cut = at.index(bytes.len());
        prop_assert!(Manifest::parse(&bytes[..cut]).is_err());
        bytes[cut] ^= 1 << bit;
        let _ = Manifest::parse(&bytes);
    }
}

#[test]
fn a_newer_manifest_is_refused_with_both_numbers() {
    let mut bytes = manifest(&sample()).to_bytes();
    bytes[8] = 3;
    let refused = ReadManifestError::NewerFormat { found: 3, known: 1 };
    assert_eq!(Manifest::parse(&bytes), Err(refused));
}
