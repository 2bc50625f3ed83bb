//! Where things are in a package file: preamble, trailer, index (docs/formats/package.md §2, §3).

use minicbor::{Decode, Encode};
use model::Hash;

use crate::{
    Damage, OpenError, Part,
    lane::{MAX_LANES, MAX_WINDOW_LOG, MAX_WINDOWS},
};

/// The format this crate writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// §2.1: how a package starts, its format aside.
pub(crate) const PREAMBLE: &[u8; 8] = b"PACKHRSE";
/// §3.1: how it ends.
pub(crate) const ENDING: &[u8; 8] = b"\x00phEND\r\n";
/// §2.1: length of the preamble in bytes.
pub(crate) const PREAMBLE_LENGTH: u64 = PREAMBLE_BYTES as u64;
/// The same, for buffers.
pub(crate) const PREAMBLE_BYTES: usize = 16;
/// §3: length of the trailer in bytes.
pub(crate) const TRAILER_LENGTH: u64 = TRAILER_BYTES as u64;
/// The same, for buffers.
pub(crate) const TRAILER_BYTES: usize = 120;
/// Trailer bytes the whole-file hash covers: all before it.
pub(crate) const HASHED_TRAILER: usize = 72;
const CHECKED_TRAILER: usize = HASHED_TRAILER + 32;

/// §5: no frame unpacks to more.
pub(crate) const MAX_FRAME: u64 = 64 << 20;
/// §4: the index is never longer. Every entry stands for a frame, so this allows for hundreds of terabytes.
pub(crate) const MAX_INDEX: u64 = 64 << 20;

/// Where the outermost parts of a package file are; all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The format's number.
    pub format: u32,
    /// How many bytes stand before the package: an installer's program, or none.
    pub stub_length: u64,
    /// Length of the package from its preamble to the end of its trailer.
    pub package_length: u64,
    /// Where the index starts, from the start of the package.
    pub index_offset: u64,
    /// Length of the index.
    pub index_length: u64,
    /// The hash of the index.
    pub index_hash: Hash,
    /// The hash of the file's every byte up to here.
    pub whole: Hash,
}

/// §4: where the frames are.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Index {
    /// Content, by lane.
    #[n(0)]
    pub lanes: Vec<Lane>,
    /// Frames of manifest leaves.
    #[n(1)]
    pub leaves: Vec<Frame>,
    /// Frames of repeats.
    #[n(2)]
    pub repeats: Vec<Frame>,
    /// Frames of choices: a byte for each file with data, in the records' order, the lane it is in.
    #[n(3)]
    pub choices: Vec<Frame>,
    /// The header's frame.
    #[n(4)]
    pub header: Frame,
    /// The hash of the unpacked header.
    #[n(5)]
    pub header_hash: Hash,
    /// The root of the manifest's hash tree.
    #[n(6)]
    pub manifest: Hash,
}

/// §5.3: content that is packed together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Lane {
    /// How far its frames look back at most, as a power of two.
    #[n(0)]
    pub window_log: u32,
    /// Whether its frames went through the x86 filter.
    #[n(1)]
    pub filtered: bool,
    /// Its frames, in the order they unpack to the lane's stream.
    #[n(2)]
    pub frames: Vec<Frame>,
}

/// A zstd frame in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Frame {
    /// Where it starts, from the start of the package.
    #[n(0)]
    pub offset: u64,
    /// Its bytes in the file.
    #[n(1)]
    pub stored: u64,
    /// The bytes it unpacks to.
    #[n(2)]
    pub plain: u64,
}

/// The bytes a package starts with.
pub(crate) fn preamble() -> [u8; PREAMBLE_BYTES] {
    let mut bytes = [0; PREAMBLE_BYTES];
    bytes[..8].copy_from_slice(PREAMBLE);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes
}

/// The trailer's first part, which the whole-file hash covers.
pub(crate) fn trailer_fields(layout: &Layout) -> [u8; HASHED_TRAILER] {
    let mut bytes = [0; HASHED_TRAILER];
    bytes[..4].copy_from_slice(&layout.format.to_le_bytes());
    let numbers =
        [layout.stub_length, layout.package_length, layout.index_offset, layout.index_length];
    for (place, number) in bytes[8..40].chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes[40..72].copy_from_slice(&layout.index_hash.0);
    bytes
}

/// The whole trailer.
pub(crate) fn trailer(layout: &Layout) -> [u8; TRAILER_BYTES] {
    let mut bytes = [0; TRAILER_BYTES];
    bytes[..HASHED_TRAILER].copy_from_slice(&trailer_fields(layout));
    bytes[HASHED_TRAILER..CHECKED_TRAILER].copy_from_slice(&layout.whole.0);
    let check = Hash::of(&bytes[..CHECKED_TRAILER]);
    bytes[CHECKED_TRAILER..CHECKED_TRAILER + 8].copy_from_slice(&check.0[..8]);
    bytes[CHECKED_TRAILER + 8..].copy_from_slice(ENDING);
    bytes
}

impl Layout {
    /// Reads the trailer of a file of `length` bytes (§3).
    pub(crate) fn parse(bytes: &[u8; TRAILER_BYTES], length: u64) -> Result<Self, OpenError> {
        let at = length - TRAILER_LENGTH;
        let damage = |reason: &str| OpenError::from(Damage::new(Part::Trailer, at, reason));
        if bytes[CHECKED_TRAILER + 8..] != *ENDING {
            return Err(OpenError::NoPackage { length });
        }
        if bytes[CHECKED_TRAILER..CHECKED_TRAILER + 8] != Hash::of(&bytes[..CHECKED_TRAILER]).0[..8]
        {
            return Err(damage("its check does not fit"));
        }
        let format = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if format > FORMAT {
            return Err(OpenError::NewerFormat { found: format, known: FORMAT });
        }
        let mut numbers = [0; 4];
        for (number, place) in numbers.iter_mut().zip(bytes[8..40].chunks_exact(8)) {
            *number = u64::from_le_bytes(place.try_into().unwrap_or_default());
        }
        let [stub_length, package_length, index_offset, index_length] = numbers;
        let hash = |from: usize| Hash(bytes[from..from + 32].try_into().unwrap_or_default());
        let layout = Self {
            format,
            stub_length,
            package_length,
            index_offset,
            index_length,
            index_hash: hash(40),
            whole: hash(HASHED_TRAILER),
        };
        if stub_length.checked_add(package_length) != Some(length) {
            return Err(damage("its lengths are not those of the file"));
        }
        let end =
            index_offset.checked_add(index_length).and_then(|end| end.checked_add(TRAILER_LENGTH));
        if index_length > MAX_INDEX || index_offset < PREAMBLE_LENGTH || end != Some(package_length)
        {
            return Err(damage("it points outside the package"));
        }
        Ok(layout)
    }
}

impl Index {
    /// Reads an index and checks that its frames lie inside the package, apart and in order (§4.2).
    pub(crate) fn parse(bytes: &[u8], layout: &Layout) -> Result<Self, Damage> {
        let at = layout.stub_length + layout.index_offset;
        let damage = |reason: String| Damage::new(Part::Index, at, reason);
        if Hash::of(bytes) != layout.index_hash {
            return Err(damage("its hash does not fit".to_owned()));
        }
        let index: Self = minicbor::decode(bytes)
            .map_err(|error| damage(format!("it does not parse: {error}")))?;
        let header = std::slice::from_ref(&index.header);
        let windows: u64 = index.lanes.iter().map(|lane| 1 << lane.window_log.min(63)).sum();
        let too_wide = |lane: &Lane| lane.window_log > MAX_WINDOW_LOG;
        if index.lanes.len() > MAX_LANES
            || index.lanes.iter().any(too_wide)
            || windows > MAX_WINDOWS
        {
            return Err(damage("its lanes need more memory than allowed".to_owned()));
        }
        let lanes = index.lanes.iter().map(|lane| &*lane.frames);
        for frames in lanes.chain([&*index.leaves, &index.repeats, &index.choices, header]) {
            let mut from = PREAMBLE_LENGTH;
            for frame in frames {
                let end = frame.offset.checked_add(frame.stored);
                let fits = frame.offset >= from
                    && frame.stored > 0
                    && (1..=MAX_FRAME).contains(&frame.plain)
                    && end.is_some_and(|end| end <= layout.index_offset);
                if !fits {
                    return Err(damage(format!("the frame at {} is impossible", frame.offset)));
                }
                from = end.unwrap_or(u64::MAX);
            }
        }
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use model::Hash;
    use proptest::prelude::*;

    use super::{Layout, TRAILER_BYTES, trailer};
    use crate::OpenError;

    fn layout() -> Layout {
        Layout {
            format: 1,
            stub_length: 1000,
            package_length: 5000,
            index_offset: 4500,
            index_length: 380,
            index_hash: Hash::of(b"index"),
            whole: Hash::of(b"all"),
        }
    }

    #[test]
    fn a_trailer_comes_back() {
        assert_eq!(Layout::parse(&trailer(&layout()), 6000).unwrap(), layout());
        let error = Layout::parse(&trailer(&layout()), 6001).unwrap_err();
        insta::assert_snapshot!(error, @"the package is damaged: the trailer at byte 5881: its lengths are not those of the file; get a fresh copy");
        let newer = Layout { format: 9, ..layout() };
        let error = Layout::parse(&trailer(&newer), 6000).unwrap_err();
        insta::assert_snapshot!(error, @"the package has format 9, and this program reads formats up to 1: use a newer packhorse");
    }

    proptest! {
        #[test]
        fn any_flipped_bit_of_a_trailer_is_found(bit in 0..TRAILER_BYTES * 8) {
            let mut bytes = trailer(&layout());
            bytes[bit / 8] ^= 1 << (bit % 8);
            let refused = matches!(
                Layout::parse(&bytes, 6000),
                Err(OpenError::Damaged(_) | OpenError::NoPackage { .. })
            );
            prop_assert!(refused);
        }
    }
}
