use std::{cmp::Ordering, fmt};

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Serialize};

/// A version, ordered as Debian Policy §5.6.12 orders upstream versions: runs of digits by value, all
/// else character by character with letters before the rest and `~` before everything, even the end.
///
/// Two versions may be equal in order and differ in text (`1.0` and `1.00`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(Box<str>);

impl Version {
    /// Any text is a version.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The version as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (my_epoch, mut mine) = epoch(&self.0);
        let (other_epoch, mut others) = epoch(&other.0);
        let mut order = my_epoch.cmp(&other_epoch);
        while order.is_eq() && !(mine.is_empty() && others.is_empty()) {
            let (my_text, other_text);
            (my_text, mine) = split(mine, |byte| !byte.is_ascii_digit());
            (other_text, others) = split(others, |byte| !byte.is_ascii_digit());
            let (my_digits, other_digits);
            (my_digits, mine) = split(mine, |byte| byte.is_ascii_digit());
            (other_digits, others) = split(others, |byte| byte.is_ascii_digit());
            order =
                text_order(my_text, other_text).then_with(|| number_order(my_digits, other_digits));
        }
        order
    }
}

/// The number before the first colon, and what follows it.
fn epoch(text: &str) -> (u64, &[u8]) {
    text.split_once(':')
        .and_then(|(epoch, rest)| Some((epoch.parse().ok()?, rest.as_bytes())))
        .unwrap_or((0, text.as_bytes()))
}

fn split(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|&byte| !belongs(byte)).unwrap_or(bytes.len());
    bytes.split_at(end)
}

fn text_order(mine: &[u8], others: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    };
    (0..mine.len().max(others.len()))
        .map(|index| weight(mine.get(index)).cmp(&weight(others.get(index))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn number_order(mine: &[u8], others: &[u8]) -> Ordering {
    let trim =
        |digits: &[u8]| digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len());
    let (mine, others) = (&mine[trim(mine)..], &others[trim(others)..]);
    mine.len().cmp(&others.len()).then_with(|| mine.cmp(others))
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<C> Encode<C> for Version {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Version {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(Self::new(d.str()?))
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_order_as_debian_orders_them() {
        let ascending =
            ["1.0~rc1", "1.0", "1.0a", "1.0-1", "1.0-1+b1", "1.1", "1.5", "1.10", "2", "1:0.1"];
        for pair in ascending.windows(2) {
            assert!(Version::new(pair[0]) < Version::new(pair[1]), "{pair:?}");
        }
        assert_eq!(Version::new("1.0"), Version::new("1.00"));
        assert!(Version::new("1.99999999999999999999999") > Version::new("1.2"));
    }
}
