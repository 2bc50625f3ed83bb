//! Names: bytes as paths have them, and the 16-bit words Windows has them in.

use std::{
    ffi::{OsStr, OsString},
    os::windows::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

use model::MachinePath;

/// Where `path` is, in the form that has no limit of length; `None` for what is on no drive.
pub fn host(path: &MachinePath) -> Option<PathBuf> {
    let mut words: Vec<u16> = r"\\?\".encode_utf16().collect();
    words.extend(words_of(&path.on_drive()?));
    Some(OsString::from_wide(&words).into())
}

/// A text as the interface takes it, ended by a zero.
pub(crate) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// A name as bytes: UTF-8, and half a pair of surrogates as the three bytes it would have.
pub(crate) fn bytes_of(words: &[u16]) -> Vec<u8> {
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
pub(crate) fn words_of(bytes: &[u8]) -> Vec<u16> {
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
