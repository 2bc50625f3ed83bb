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
    /// ISO 8601 in UTC from year 0 to 9999; beyond, `@seconds.nanoseconds`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((year, month, day)) = civil(self.seconds.div_euclid(DAY)) else {
            return write!(f, "@{}.{:09}", self.seconds, self.nanoseconds);
        };
        let second = self.seconds.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanoseconds != 0 {
            let fraction = format!("{:09}", self.nanoseconds);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Time {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time = match text.strip_prefix('@') {
            Some(rest) => {
                let (seconds, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
                seconds.parse().ok().zip(nanoseconds(fraction))
            }
            None => iso_8601(text),
        };
        time.map(|(seconds, nanoseconds)| Self { seconds, nanoseconds })
            .ok_or_else(|| ParseTimeError { text: text.to_owned() })
    }
}

/// Seconds of a day.
const DAY: i64 = 86_400;

/// The date a day has, counted from 1970-01-01, in the Gregorian calendar without a beginning; of years that
/// have four digits.
fn civil(day: i64) -> Option<(i64, i64, i64)> {
    // From 0000-03-01: years that end with their leap day, and eras of 400 of them, all alike.
    let day = day.checked_add(719_468)?;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = (
        year + era * 400 + i64::from(month >= 10),
        if month < 10 { month + 3 } else { month - 9 },
        day - (153 * month + 2) / 5 + 1,
    );
    (0..=9999).contains(&date.0).then_some(date)
}

/// The day a date is, counted from 1970-01-01.
fn day((year, month, day): (i64, i64, i64)) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + 365 * year + year / 4 - year / 100 + day - 719_468
}

/// Reads `2026-01-31T12:00:00.5Z`, or with an offset like `+02:00` in place of `Z`.
fn iso_8601(text: &str) -> Option<(i64, u32)> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone);
    let date = numbers(date, '-', [4, 2, 2]).map(<(i64, i64, i64)>::from)?;
    // A day the month does not have would come back as another.
    let day = day(date);
    if civil(day) != Some(date) {
        return None;
    }
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let [hours, minutes] = numbers(&zone[1..], ':', [2, 2])?;
            let offset = hours * 3600 + minutes * 60;
            if hours > 23 || minutes > 59 {
                return None;
            }
            if zone.starts_with('-') { -offset } else { offset }
        }
    };
    let is_clock = hour < 24 && minute < 60 && second < 60;
    let seconds = day * DAY + hour * 3600 + minute * 60 + second - offset;
    is_clock.then_some(seconds).zip(nanoseconds(fraction))
}

/// Numbers of so many digits each, with `between` between them.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        *number = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(numbers)
}

/// A fraction of a second, of up to nine digits.
fn nanoseconds(fraction: &str) -> Option<u32> {
    let digits = fraction.len();
    let is_number = (1..=9).contains(&digits) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = is_number.then(|| fraction.parse().ok())??;
    Some(number * 10_u32.pow(9 - u32::try_from(digits).ok()?))
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

    proptest! {
        /// An independent calendar says the same.
        #[test]
        fn calendars_agree(seconds in -62_167_219_200_i64..253_402_207_200, nanoseconds in 0..1_000_000_000_u32, offset in -1439..1440_i32) {
            let time = Time { seconds, nanoseconds };
            let other = jiff::Timestamp::new(seconds, 0).unwrap() + jiff::SignedDuration::from_nanos(nanoseconds.into());
            prop_assert_eq!(time.to_string(), other.to_string());
            let zone = jiff::tz::Offset::from_seconds(offset * 60).unwrap();
            let local = other.display_with_offset(zone).to_string();
            // Years the offset takes out of four digits.
            if local.starts_with('-') { return Ok(()); }
            prop_assert_eq!(local.parse::<Time>().unwrap(), time);
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "@",
            "@1.",
            "@1.0000000001",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31T24:00:00Z",
            "2026-1-31T12:00:00Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00+2:00",
            "2026-01-31T12:00:00Zulu",
            "2026-01-31T12:00:+1Z",
        ] {
            assert!(text.parse::<Time>().is_err(), "`{text}`");
        }
    }

    #[test]
    fn times_read_as_iso_8601() {
        let time = Time { seconds: 1_700_000_000, nanoseconds: 5 };
        insta::assert_snapshot!(time, @"2023-11-14T22:13:20.000000005Z");
        insta::assert_snapshot!(Time { seconds: -1, nanoseconds: 500_000_000 }, @"1969-12-31T23:59:59.5Z");
    }
}
