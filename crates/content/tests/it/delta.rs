use std::io::Read;

use content::{
    BaseFile, Data, DeltaHead, DeltaReader, DeltaWriter, Effort, Outline, OutlineNode,
    ReadDeltaError, Recipe,
};
use model::{Hash, Meta, Time};
use proptest::prelude::*;

/// A file of the base, and what it became.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

pub(crate) fn head() -> DeltaHead {
    DeltaHead { base: Hash::of(b"base"), target: Hash::of(b"target"), header: b"header".to_vec() }
}

fn outline(number: usize, length: usize, data: Data) -> Outline {
    Outline {
        tree: 0,
        path: format!("usr/lib/file-{number}").into_bytes(),
        node: OutlineNode::File {
            length: length as u64,
            holes: vec![],
            substitutions: vec![],
            data,
        },
        meta: Meta::of_root(0o644, Time::default()),
    }
}

fn base_outlines(pairs: &[Pair]) -> Vec<Vec<u8>> {
    let encode = |(number, (old, _)): (usize, &Pair)| {
        minicbor::to_vec(outline(number, old.len(), Data::None)).unwrap()
    };
    pairs.iter().enumerate().map(encode).collect()
}

/// The delta that makes the second of each pair out of the first.
pub(crate) fn make(pairs: &[Pair], effort: Effort) -> Vec<u8> {
    let outlines = base_outlines(pairs);
    let mut writer = DeltaWriter::new(Vec::new(), &outlines, &head()).unwrap();
    writer.set_effort(effort);
    let mut start = 0;
    for (number, (old, new)) in pairs.iter().enumerate() {
        let lane = u8::from(number % 2 == 1);
        let data = if new.is_empty() { Data::None } else { Data::Made(lane) };
        writer.outline(&outline(number, new.len(), data), Some(number as u64)).unwrap();
        if !new.is_empty() {
            let base = BaseFile { start, bytes: old };
            writer.recipe(lane, Recipe::of(new, Some(base), effort)).unwrap();
        }
        start += old.len() as u64;
    }
    writer.finish().unwrap().1
}

/// What a delta makes.
pub(crate) fn follow(delta: &[u8], pairs: &[Pair]) -> Result<Vec<Vec<u8>>, ReadDeltaError> {
    let base: Vec<u8> = pairs.iter().flat_map(|(old, _)| old.iter().copied()).collect();
    let outlines = base_outlines(pairs);
    let mut read_base = |at: u64, buffer: &mut [u8]| {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = at
            .checked_add(buffer.len())
            .and_then(|end| base.get(at..end))
            .ok_or(std::io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    };
    let mut reader = DeltaReader::open(delta)?;
    let mut made = Vec::new();
    while let Some(outline) = reader.next_outline(&outlines)? {
        let OutlineNode::File { length, data, .. } = outline.node else { continue };
        let mut bytes = Vec::new();
        if let Data::Made(lane) = data {
            // A damaged length must not be believed.
            let mut data = reader.data(lane, length, &mut read_base)?.take(1 << 22);
            data.read_to_end(&mut bytes).map_err(ReadDeltaError::Read)?;
        }
        made.push(bytes);
    }
    Ok(made)
}

/// A file and one like it: pieces of it moved, bytes of it changed, others between.
fn pair() -> impl Strategy<Value = Pair> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..600);
    let piece = prop_oneof![
        (any::<prop::sample::Index>(), 1..300_usize, 0..20_u8)
            .prop_map(|(at, length, every)| (Some((at, length, every)), vec![])),
        proptest::collection::vec(any::<u8>(), 0..50).prop_map(|bytes| (None, bytes)),
    ];
    (bytes, proptest::collection::vec(piece, 0..8)).prop_map(|(old, pieces)| {
        let mut new = Vec::new();
        for (from, bytes) in pieces {
            let Some((at, length, every)) = from.filter(|_| !old.is_empty()) else {
                new.extend(bytes);
                continue;
            };
            let at = at.index(old.len());
            let end = (at + length).min(old.len());
            for (index, byte) in old[at..end].iter().enumerate() {
                let changed = every > 3 && index % usize::from(every) == 0;
                new.push(if changed { byte.wrapping_add(4) } else { *byte });
            }
        }
        (old, new)
    })
}

proptest! {
    #[test]
    fn what_was_made_is_what_was_meant(
        pairs in proptest::collection::vec(pair(), 0..6),
        effort in prop_oneof![Just(Effort::Full), Just(Effort::Less), Just(Effort::None)],
    ) {
        let delta = make(&pairs, effort);
        let wanted: Vec<_> = pairs.iter().map(|(_, new)| new.clone()).collect();
        prop_assert_eq!(follow(&delta, &pairs).unwrap(), wanted);
    }

    #[test]
    fn a_damaged_delta_ends_in_an_error_or_in_other_bytes_but_never_in_a_panic(
        pairs in proptest::collection::vec(pair(), 1..4),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut delta = make(&pairs, Effort::Less);
        let cut_off = &delta[..cut.index(delta.len())];
        let short = follow(cut_off, &pairs).is_err();
        prop_assert!(short);
        let at = at.index(delta.len());
        delta[at] ^= 1 << bit;
        let _ = follow(&delta, &pairs);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut delta = b"PHDELTA\n\x01\0\0\0".to_vec();
        delta.extend(bytes);
        prop_assert!(follow(&delta, &[]).is_err());
    }
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Code that moved: every address in it a little higher.
fn shifted(old: &[u8]) -> Vec<u8> {
    let mut new = noise(96, 99);
    new.extend(
        old.iter().enumerate().map(
            |(index, byte)| {
                if index % 24 == 0 { byte.wrapping_add(96) } else { *byte }
            },
        ),
    );
    new
}

#[test]
fn moved_code_costs_next_to_nothing() {
    let old = noise(400_000, 1);
    let pairs = [(old.clone(), shifted(&old))];
    let delta = make(&pairs, Effort::Full);
    assert!(delta.len() < 1500, "{} bytes", delta.len());
    assert_eq!(follow(&delta, &pairs).unwrap()[0], pairs[0].1);
}

/// Streams longer than a piece, in both lanes at once.
#[test]
fn streams_of_many_pieces_come_in_order() {
    let pairs: Vec<Pair> =
        (0..6).map(|seed| (noise(1000, seed), noise(2_500_000, seed + 50))).collect();
    let delta = make(&pairs, Effort::Less);
    let made = follow(&delta, &pairs).unwrap();
    assert!(made.iter().zip(&pairs).all(|(made, (_, new))| made == new));
}

#[test]
fn a_newer_delta_is_refused_with_both_numbers() {
    let mut delta = make(&[], Effort::Full);
    delta[8] = 7;
    let error = DeltaReader::open(&*delta).err().unwrap();
    insta::assert_snapshot!(error, @"the delta has format 7, and this program reads formats up to 1: use a newer packhorse");
}

/// What goes on into the base beyond its end is the reader's caller to refuse, and it does.
#[test]
fn the_base_is_never_read_outside() {
    let pairs = [(noise(5000, 3), noise(5000, 3))];
    let delta = make(&pairs, Effort::Full);
    let shorter = [(noise(4000, 3), Vec::new())];
    assert!(follow(&delta, &shorter).is_err());
}
