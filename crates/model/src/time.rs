use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment as file systems keep it: seconds since 1970-01-01 00:00 UTC, and nanoseconds after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct Time {
    /// Whole seconds; negative before 1970.
    #[n(0)]
    pub seconds: i64,
    /// 0 to 999,999,999, always forwards.
    #[n(1)]
    pub nanoseconds: u32,
}

/// Text that is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a time like `2026-01-31T12:00:00.5Z` or `@1700000000.000000001`")]
pub struct ParseTimeError {
    text: String,
}

impl fmt::Display for Time {
    /// ISO 8601 in UTC; beyond the years it can write, `@seconds.nanoseconds`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.seconds).and_then(|time| {
            time.checked_add(jiff::SignedDuration::from_nanos(self.nanoseconds.into()))
        }) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "@{}.{:09}", self.seconds, self.nanoseconds),
        }
    }
}

impl FromStr for Time {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseTimeError { text: text.to_owned() };
        if let Some(rest) = text.strip_prefix('@') {
            let (seconds, nanoseconds) = rest.split_once('.').unwrap_or((rest, "0"));
            let nanoseconds = format!("{nanoseconds:0<9}");
            if nanoseconds.len() != 9 {
                return Err(refuse());
            }
            return Ok(Self {
                seconds: seconds.parse().map_err(|_| refuse())?,
                nanoseconds: nanoseconds.parse().map_err(|_| refuse())?,
            });
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| refuse())?;
        let nanoseconds = time.as_nanosecond();
        let second = 1_000_000_000;
        let seconds = i64::try_from(nanoseconds.div_euclid(second)).map_err(|_| refuse())?;
        let nanoseconds = u32::try_from(nanoseconds.rem_euclid(second)).map_err(|_| refuse())?;
        Ok(Self { seconds, nanoseconds })
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Time;

    proptest! {
        #[test]
        fn every_time_comes_back(seconds in any::<i64>(), nanoseconds in 0..1_000_000_000_u32) {
            let time = Time { seconds, nanoseconds };
            prop_assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
            let near = Time { seconds: seconds % 100_000_000_000, nanoseconds };
            prop_assert_eq!(near.to_string().parse::<Time>().unwrap(), near);
        }
    }

    #[test]
    fn times_read_as_iso_8601() {
        let time = Time { seconds: 1_700_000_000, nanoseconds: 5 };
        insta::assert_snapshot!(time, @"2023-11-14T22:13:20.000000005Z");
        insta::assert_snapshot!(Time { seconds: -1, nanoseconds: 500_000_000 }, @"1969-12-31T23:59:59.5Z");
    }
}
