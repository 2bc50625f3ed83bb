//! What CBOR has no words for, and what a reader of foreign bytes has to know before it believes them.

use minicbor::{Decoder, data::Type};

/// Nothing in our documents is nested deeper; a decoder recurses.
const DEEPEST: usize = 64;

/// Why bytes must not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsound {
    /// Nested to exhaust a stack.
    #[error("it is nested more than {DEEPEST} deep")]
    TooDeep,
    /// Cut off, or no CBOR.
    #[error("it is no whole CBOR item")]
    Malformed,
}

/// Whether `bytes` are one CBOR item of bounded depth. Takes no stack.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Unsound> {
    let malformed = |_| Unsound::Malformed;
    let mut decoder = Decoder::new(bytes);
    // Items still to come, at each depth.
    let mut open: Vec<u64> = vec![1];
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        let inner = match decoder.datatype().map_err(malformed)? {
            Type::Array => decoder.array().map_err(malformed)?.ok_or(Unsound::Malformed)?,
            Type::Map => {
                let pairs = decoder.map().map_err(malformed)?.ok_or(Unsound::Malformed)?;
                pairs.checked_mul(2).ok_or(Unsound::Malformed)?
            }
            Type::Tag => decoder.tag().map(|_| 1).map_err(malformed)?,
            Type::ArrayIndef
            | Type::MapIndef
            | Type::BytesIndef
            | Type::StringIndef
            | Type::Break
            | Type::Unknown(_) => return Err(Unsound::Malformed),
            _ => {
                decoder.skip().map_err(malformed)?;
                continue;
            }
        };
        if open.len() >= DEEPEST {
            return Err(Unsound::TooDeep);
        }
        open.push(inner);
    }
    if decoder.position() == bytes.len() { Ok(()) } else { Err(Unsound::Malformed) }
}

/// Reads all of `bytes` as one item.
pub(crate) fn read<'b, T: minicbor::Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, String> {
    check(bytes).map_err(|unsound| unsound.to_string())?;
    minicbor::decode(bytes).map_err(|error| error.to_string())
}

/// One item as bytes.
pub(crate) fn write<T: minicbor::Encode<()>>(item: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _ = minicbor::encode(item, &mut bytes);
    bytes
}

/// A reading of a wall clock as text: `2026-03-29T02:30:00`.
pub(crate) mod civil {
    use jiff::civil::DateTime;
    use minicbor::{
        Decoder, Encoder,
        decode::Error as Unread,
        encode::{Error as Unwritten, Write},
    };

    pub(crate) fn encode<C, W: Write>(
        civil: &DateTime,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), Unwritten<W::Error>> {
        e.str(&civil.to_string())?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<DateTime, Unread> {
        d.str()?.parse().map_err(Unread::custom)
    }
}

/// An instant as seconds since 1970 in UTC; fractions are not sent.
pub(crate) mod instant {
    use jiff::Timestamp;
    use minicbor::{
        Decoder, Encoder,
        decode::Error as Unread,
        encode::{Error as Unwritten, Write},
    };

    pub(crate) fn encode<C, W: Write>(
        instant: &Timestamp,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), Unwritten<W::Error>> {
        e.i64(instant.as_second())?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Timestamp, Unread> {
        Timestamp::from_second(d.i64()?).map_err(Unread::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Unsound, check};

    #[test]
    fn depth_is_seen_without_going_down() {
        let mut deep = vec![0x81; 1_000_000];
        deep.push(0);
        assert_eq!(check(&deep), Err(Unsound::TooDeep));
        assert_eq!(check(&[0x82, 1]), Err(Unsound::Malformed));
        assert_eq!(check(&[0x82, 1, 2]), Ok(()));
        assert_eq!(check(&[0x82, 1, 2, 3]), Err(Unsound::Malformed));
        assert_eq!(
            check(&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Err(Unsound::Malformed)
        );
        assert_eq!(check(&[0x9f, 1, 0xff]), Err(Unsound::Malformed));
    }
}
