//! What released versions wrote is read for ever. Fixtures are named by what they are, or by what is wrong with them.

use content::{Index, Manifest, ReadIndexError, ReadManifestError};

use crate::{delta, manifest, plan};

const DELTA: &[u8] = include_bytes!("../fixtures/delta-1.bin");
const INDEX: &[u8] = include_bytes!("../fixtures/index-1.bin");
const MANIFEST: &[u8] = include_bytes!("../fixtures/manifest-1.bin");

/// The pairs the frozen delta was made of.
fn pairs() -> Vec<delta::Pair> {
    let old: Vec<u8> = (0..4000_u32).flat_map(|number| (number * number).to_le_bytes()).collect();
    let mut new = b"a new start".to_vec();
    new.extend(old.iter().enumerate().map(|(at, byte)| byte.wrapping_add(u8::from(at % 64 == 0))));
    vec![(old, new), (b"text".to_vec(), b"other text".to_vec())]
}

#[test]
fn a_delta_of_format_1_is_followed() {
    let made = delta::follow(DELTA, &pairs()).unwrap();
    assert!(made.iter().zip(pairs()).all(|(made, (_, new))| *made == new));
}

#[test]
fn an_index_of_format_1_is_read() {
    assert_eq!(Index::parse(INDEX), Ok(plan::index()));
}

#[test]
fn a_manifest_of_format_1_is_read() {
    assert_eq!(Manifest::parse(MANIFEST), Ok(manifest::manifest(&manifest::sample())));
}

#[test]
fn damaged_ones_are_named() {
    let cut_off = &DELTA[..DELTA.len() - 20];
    assert!(delta::follow(cut_off, &pairs()).is_err());
    let mut other = INDEX.to_vec();
    other[60] ^= 1;
    assert!(matches!(Index::parse(&other), Err(ReadIndexError::Damaged { .. })));
    let mut other = MANIFEST.to_vec();
    other[0] = b'X';
    assert!(matches!(Manifest::parse(&other), Err(ReadManifestError::Damaged { .. })));
}

/// An index is canonical; how well a delta is packed may get better, and not much worse.
#[test]
fn the_writers_write_what_was_frozen() {
    assert_eq!(plan::index().to_bytes(), INDEX);
    let again = delta::make(&pairs(), content::Effort::Full);
    assert!(
        again.len() <= DELTA.len() + 64,
        "a delta of {} bytes has {} now",
        DELTA.len(),
        again.len()
    );
}
