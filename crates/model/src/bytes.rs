//! Bytes that are nearly always text: file names, link targets, attribute names.

use std::fmt::Write as _;

/// Text that is not in the form [`escape`] writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` has a backslash that starts no escape (use `\\\\`, `\\n`, `\\t`, `\\xNN`)")]
pub struct ParseTextError {
    text: String,
}

/// Writes bytes as text that loses nothing and prints safely: UTF-8 as it is, a backslash doubled,
/// control characters and bytes that are not UTF-8 as `\n`, `\t`, `\r` or `\xNN`.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\r' => text.push_str("\\r"),
                control if control.is_control() => {
                    let mut buffer = [0; 4];
                    for byte in control.encode_utf8(&mut buffer).bytes() {
                        let _ = write!(text, "\\x{byte:02x}");
                    }
                }
                other => text.push(other),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Reads what [`escape`] wrote.
///
/// # Errors
/// A backslash followed by anything else.
pub fn unescape(text: &str) -> Result<Vec<u8>, ParseTextError> {
    let refuse = || ParseTextError { text: text.to_owned() };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'\\' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let (&kind, tail) = tail.split_first().ok_or_else(refuse)?;
        rest = tail;
        bytes.push(match kind {
            b'\\' => b'\\',
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'x' => {
                let digits = tail.get(..2).ok_or_else(refuse)?;
                rest = &tail[2..];
                let digits = std::str::from_utf8(digits).map_err(|_| refuse())?;
                u8::from_str_radix(digits, 16).map_err(|_| refuse())?
            }
            _ => return Err(refuse()),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{escape, unescape};

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = escape(&bytes);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(unescape(&text).unwrap(), bytes);
        }
    }

    #[test]
    fn odd_names_print_safely() {
        insta::assert_snapshot!(escape(b"caf\xc3\xa9 \xff\\ a\nb\x07"), @r"café \xff\\ a\nb\x07");
        insta::assert_snapshot!(unescape("a\\q").unwrap_err(), @r"`a\q` has a backslash that starts no escape (use `\\`, `\n`, `\t`, `\xNN`)");
    }
}
