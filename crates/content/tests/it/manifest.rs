use std::io::Cursor;

use content::{
    Catalogue, Object, ObjectKind, PackFrame, PartHead, PartWriter, PlacedLeaf, ReadManifestError,
    Run,
};
use model::Hash;
use package::{LeafBuilder, ManifestTree, Node, PackageReader, Record};
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

/// A part with the leaves and nodes that are not in `before`, every chunk in one great frame.
pub(crate) fn part(
    header: &[u8],
    records: impl Iterator<Item = Record>,
    before: Option<&Catalogue>,
) -> (Vec<u8>, Hash) {
    let (mut builder, mut tree) = (LeafBuilder::default(), ManifestTree::new());
    let (mut nodes, mut leaves) = (Vec::new(), Vec::new());
    let mut chunks = 0;
    let mut take = |leaf: package::Leaf, chunks: u64| {
        let hash = Hash::of(&leaf.bytes);
        tree.leaf(hash, leaf.records, &mut |node| nodes.push((node.hash, node.bytes)));
        let runs = if chunks > 0 { vec![Run { chunks, frame: 0, offset: 0 }] } else { vec![] };
        leaves.push((hash, PlacedLeaf { leaf: leaf.bytes, runs }));
    };
    for record in records {
        if let Node::File(content) = &record.node {
            chunks += content.each_chunk().count() as u64;
        }
        if let Some(leaf) = builder.push(&record) {
            take(leaf, std::mem::take(&mut chunks));
        }
    }
    if !builder.is_empty() {
        take(builder.finish(), chunks);
    }
    let root = tree.finish(&mut |node| nodes.push((node.hash, node.bytes))).unwrap();
    let pack = Object { kind: ObjectKind::Pack, hash: Hash::of(b"pack"), length: 1000 };
    let frame = PackFrame {
        pack: 0,
        offset: 16,
        stored: 900,
        plain: 64 << 20,
        window_log: 20,
        filtered: false,
    };
    let head = PartHead { header: header.to_vec(), root, packs: vec![pack], frames: vec![frame] };
    let mut writer = PartWriter::new(&head);
    let is_new = |hash: &Hash| before.is_none_or(|before| !before.has(hash));
    nodes.iter().filter(|(hash, _)| is_new(hash)).for_each(|(_, node)| writer.node(node));
    leaves.iter().filter(|(hash, _)| is_new(hash)).for_each(|(_, leaf)| writer.leaf(leaf));
    (writer.finish(), package::identity(header, &root))
}

/// The records of the sample and its header's bytes.
fn contents() -> (Vec<u8>, Vec<Record>) {
    let mut reader = PackageReader::open(Cursor::new(sample().bytes())).unwrap();
    let header = minicbor::to_vec(reader.header()).unwrap();
    (header, reader.records().map(Result::unwrap).collect())
}

pub(crate) fn manifest() -> (Vec<u8>, Hash) {
    let (header, records) = contents();
    part(&header, records.into_iter(), None)
}

pub(crate) fn records_of(catalogue: &Catalogue) -> Vec<Record> {
    catalogue.entries().map(|entry| entry.unwrap().record).collect()
}

#[test]
fn a_manifest_comes_back_with_every_chunk_in_its_frame() {
    let (bytes, identity) = manifest();
    let catalogue = Catalogue::open(vec![bytes], identity).unwrap();
    assert_eq!(records_of(&catalogue), contents().1);
    assert_eq!(catalogue.identity(), sample().open().identity());
    let mut next = 0;
    for entry in catalogue.entries() {
        for place in entry.unwrap().places {
            assert_eq!((place.frame, place.offset), (0, next));
            next += u64::from(place.chunk.length);
        }
    }
    assert!(next > 300_000);
}

/// Ten files among a million: what of the manifest comes, all of it, and that it leads to the right records.
#[test]
fn an_update_of_ten_files_in_a_million_costs_little_manifest() {
    const COUNT: usize = 1_000_000;
    let (header, like) = contents();
    let like = like.into_iter().find(|record| matches!(record.node, Node::File(_))).unwrap();
    let path = |number: usize| {
        format!("share/part-{:02}/folder-{:04}/file-{number:07}", number / 20_000, number / 100)
            .into_bytes()
    };
    let record = &|number: usize, changed: bool| {
        let mut record = like.clone();
        record.path = path(number);
        if let Node::File(content) = &mut record.node {
            content.hash = Hash::of(&[&number.to_le_bytes()[..], &[changed.into()]].concat());
            content.length = 100 + number as u64 % 50;
        }
        record
    };
    let of = |version: bool| {
        (0..COUNT).map(move |number| record(number, version && number % 100_003 == 77))
    };
    let (old, old_identity) = part(&header, of(false), None);
    let before = Catalogue::open(vec![old.clone()], old_identity).unwrap();
    let (new, new_identity) = part(&header, of(true), Some(&before));
    assert!(new.len() < 64 << 10, "{} bytes of manifest for ten files", new.len());
    let after = Catalogue::open(vec![new, old], new_identity).unwrap();
    let mut different = 0;
    let mut entries = after.entries();
    for (entry, wanted) in entries.by_ref().zip(of(false)) {
        different += usize::from(entry.unwrap().record != wanted);
    }
    assert_eq!((different, entries.next().is_none()), (10, true));
}

#[test]
fn what_is_missing_or_foreign_is_named() {
    let (bytes, identity) = manifest();
    let refused = |parts, identity| match Catalogue::open(parts, identity) {
        Err(ReadManifestError::Damaged { reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(vec![bytes.clone()], Hash::of(b"other")), "it is another release's");
    assert_eq!(refused(vec![], identity), "it has no part");
    let (header, records) = contents();
    let before = Catalogue::open(vec![bytes], identity).unwrap();
    let (lacking, _) = part(&header, records.into_iter(), Some(&before));
    assert!(refused(vec![lacking], identity).ends_with("of its tree is missing"));
}

proptest! {
    #[test]
    fn no_damaged_manifest_panics_and_no_cut_off_one_is_taken(
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let (mut bytes, identity) = manifest();
        let cut = at.index(bytes.len());
        prop_assert!(Catalogue::open(vec![bytes[..cut].to_vec()], identity).is_err());
        bytes[cut] ^= 1 << bit;
        if let Ok(catalogue) = Catalogue::open(vec![bytes], identity) {
            catalogue.entries().for_each(drop);
        }
    }
}

#[test]
fn another_format_is_refused_with_both_numbers() {
    let (mut bytes, identity) = manifest();
    bytes[8] = 3;
    let refused = Catalogue::open(vec![bytes], identity).unwrap_err();
    assert_eq!(refused, ReadManifestError::OtherFormat { found: 3, known: 2 });
}
