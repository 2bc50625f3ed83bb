//! Names in the 16-bit words Windows has them in, and as the bytes paths have here.

/// A name as bytes: UTF-8, and half a pair of surrogates as the three bytes it would have.
pub fn bytes_of(words: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(words.len());
    for letter in char::decode_utf16(words.iter().copied()) {
        match letter {
            Ok(letter) => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(half) => {
                let [high, low] = half.unpaired_surrogate().to_be_bytes();
                bytes.extend([
                    0xE0 | high >> 4,
                    0x80 | (high & 0x0F) << 2 | low >> 6,
                    0x80 | low & 0x3F,
                ]);
            }
        }
    }
    bytes
}

/// The words of a name that [`bytes_of`] wrote; other bytes that are no text become the replacement character.
pub fn words_of(bytes: &[u8]) -> Vec<u16> {
    let mut words = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        if let [0xED, high @ 0xA0..=0xBF, low @ 0x80..=0xBF, tail @ ..] = rest {
            words.push(0xD000 | u16::from(high & 0x3F) << 6 | u16::from(low & 0x3F));
            rest = tail;
            continue;
        }
        let (text, tail) = match std::str::from_utf8(rest) {
            Ok(text) => (text, &[][..]),
            Err(error) if error.valid_up_to() > 0 => {
                let (valid, tail) = rest.split_at(error.valid_up_to());
                (std::str::from_utf8(valid).unwrap_or_default(), tail)
            }
            Err(_) => ("\u{FFFD}", &rest[1..]),
        };
        words.extend(text.encode_utf16());
        rest = tail;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{bytes_of, words_of};

    #[test]
    fn half_a_pair_survives_the_way_there_and_back() {
        let words = [0x47, 0xD83D, 0xDE00, 0xD800, 0x6E];
        assert_eq!(bytes_of(&words), b"G\xF0\x9F\x98\x80\xED\xA0\x80n");
        assert_eq!(words_of(&bytes_of(&words)), words);
        assert_eq!(words_of(b"a\xFFb"), [0x61, 0xFFFD, 0x62]);
    }
}
