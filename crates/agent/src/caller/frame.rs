//! What a caller and who started it say to each other: words as JSON, and bytes that are carried as they are.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

/// Words are no longer than this, in bytes.
const LONGEST_WORDS: u32 = 1 << 20;
/// What is carried is no longer than this, in bytes: a policy document, a parcel.
const LONGEST_BYTES: u32 = 64 << 20;

/// Says something.
pub(crate) fn send<T: Serialize>(mut to: impl Write, words: &T, bytes: &[u8]) -> io::Result<()> {
    let words = serde_json::to_vec(words)?;
    let length = |bytes: &[u8], longest: u32| {
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= longest);
        length.ok_or_else(|| io::Error::other(format!("more than {longest} bytes at once")))
    };
    let mut frame = Vec::with_capacity(8 + words.len());
    frame.extend(length(&words, LONGEST_WORDS)?.to_le_bytes());
    frame.extend(length(bytes, LONGEST_BYTES)?.to_le_bytes());
    frame.extend(words);
    to.write_all(&frame)?;
    to.write_all(bytes)
}

/// Hears something; nothing where the other one has gone. Lengths nobody sends are refused before there is room for them.
pub(crate) fn receive<T: DeserializeOwned>(
    mut from: impl Read,
) -> io::Result<Option<(T, Vec<u8>)>> {
    let (mut words, mut bytes) = ([0; 4], [0; 4]);
    match from.read(&mut words[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut words[1..])?,
    }
    from.read_exact(&mut bytes)?;
    let words = bounded(&mut from, u32::from_le_bytes(words), LONGEST_WORDS)?;
    let bytes = bounded(&mut from, u32::from_le_bytes(bytes), LONGEST_BYTES)?;
    Ok(Some((serde_json::from_slice(&words)?, bytes)))
}

fn bounded(from: &mut impl Read, length: u32, longest: u32) -> io::Result<Vec<u8>> {
    if length > longest {
        let text = format!("a length of {length}, and {longest} is the greatest");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut bytes = Vec::new();
    from.take(length.into()).read_to_end(&mut bytes)?;
    let is_all = bytes.len() as u64 == u64::from(length);
    if is_all { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_heard_and_nothing_else() {
        let mut wire = Vec::new();
        send(&mut wire, &"one", b"bytes").unwrap();
        send(&mut wire, &"two", b"").unwrap();
        let mut from = &wire[..];
        assert_eq!(receive(&mut from).unwrap(), Some(("one".to_owned(), b"bytes".to_vec())));
        assert_eq!(receive(&mut from).unwrap(), Some(("two".to_owned(), Vec::new())));
        assert_eq!(receive::<String>(&mut from).unwrap(), None);
        for end in 1..wire.len() - 13 {
            assert!(receive::<String>(&wire[..end]).is_err(), "cut at {end}");
        }
        let mut long = u32::MAX.to_le_bytes().to_vec();
        long.extend([0; 4]);
        assert!(receive::<String>(&long[..]).unwrap_err().to_string().contains("greatest"));
    }
}
