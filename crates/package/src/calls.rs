//! The x86 filter (docs/formats/package.md §5.4): `call` and `jmp` say how far it is to their target; where the
//! target is, all calls of one function look alike, and pack better.

/// Bytes from an opcode to the end of its operand.
const INSTRUCTION: usize = 5;

/// Makes distances positions, throughout a frame.
pub(crate) fn encode(bytes: &mut [u8]) {
    // Backwards, so that decoding forwards meets at each place what encoding left there.
    for at in (0..bytes.len().saturating_sub(INSTRUCTION - 1)).rev() {
        convert(bytes, at, at as u64, true);
    }
}

/// Makes positions distances again, in a buffer that starts at `position` of its frame and in which the first
/// `from` bytes are done. Says up to where it could decide; the rest needs the bytes that follow.
pub(crate) fn decode(bytes: &mut [u8], from: usize, position: u64) -> usize {
    let end = bytes.len().saturating_sub(INSTRUCTION - 1).max(from);
    for at in from..end {
        convert(bytes, at, position + at as u64, false);
    }
    end
}

fn convert(bytes: &mut [u8], at: usize, position: u64, encode: bool) {
    if bytes[at] & 0xfe != 0xe8 {
        return;
    }
    let Some([a, b, c, top]) = bytes.get_mut(at + 1..at + INSTRUCTION) else { return };
    // A far target is likelier no instruction at all; its top byte stays as it is and tells both ways.
    if *top != 0 && *top != 0xff {
        return;
    }
    let number = u32::from_le_bytes([*a, *b, *c, 0]);
    // Only the three low bytes count.
    let position = u32::try_from(position & 0x00ff_ffff).unwrap_or(0);
    let changed =
        if encode { number.wrapping_add(position) } else { number.wrapping_sub(position) };
    [*a, *b, *c, _] = changed.to_le_bytes();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode, encode};

    proptest! {
        #[test]
        fn any_bytes_come_back_in_any_pieces(
            bytes in proptest::collection::vec(prop_oneof![Just(0xe8), Just(0xe9), Just(0), Just(0xff), any::<u8>()], 0..200),
            step in 1_usize..20,
        ) {
            let mut encoded = bytes.clone();
            encode(&mut encoded);
            let (mut decoded, mut done) = (Vec::new(), 0);
            for piece in encoded.chunks(step) {
                decoded.extend_from_slice(piece);
                done = decode(&mut decoded, done, 0);
            }
            prop_assert_eq!(decoded, bytes);
        }
    }

    #[test]
    fn calls_of_one_target_look_alike() {
        // Two calls, at 0 and 5, of what is at 0x1005 and 0x1005.
        let mut bytes = *b"\xe8\x00\x10\x00\x00\xe8\xfb\x0f\x00\x00";
        encode(&mut bytes);
        assert_eq!(bytes[..5], bytes[5..]);
    }
}
