//! How often something comes again, as people write it: `day`, `3 days`, `mon,thu`, `2 weeks mon`, `month 15`, `month 2nd tue`, `6 hours`.

use std::{fmt, str::FromStr};

use crate::{Cadence, MonthDay};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const NTHS: [&str; 5] = ["1st", "2nd", "3rd", "4th", "last"];
/// Units of time that no wall clock is asked for, in seconds.
const INTERVALS: [(&str, u32); 3] = [("hours", 3_600), ("minutes", 60), ("seconds", 1)];

/// Text that does not say how often something comes again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` does not say how often: write `day`, `3 days`, `mon,thu`, `2 weeks mon`, `month 15`, `month 2nd tue`, `month last fri`, or `6 hours`"
)]
pub struct InvalidCadence {
    text: String,
}

fn day(text: &str) -> Option<u8> {
    let at = DAYS.iter().position(|day| text.eq_ignore_ascii_case(day))?;
    u8::try_from(at).ok()
}

/// One bit for each day that is named.
fn days(text: &str) -> Option<u8> {
    text.split(',').try_fold(0, |bits, name| Some(bits | 1 << day(name.trim())?))
}

fn month_day(words: &[&str]) -> Option<MonthDay> {
    match words {
        [number] => number.parse().ok().map(MonthDay::Day),
        [nth, name] => {
            let at = NTHS.iter().position(|word| nth.eq_ignore_ascii_case(word))?;
            Some(MonthDay::Weekday { nth: u8::try_from(at + 1).ok()?, day: day(name)? })
        }
        _ => None,
    }
}

fn read(text: &str) -> Option<Cadence> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (every, words) = match words.as_slice() {
        [number, rest @ ..] if !rest.is_empty() && number.parse::<u16>().is_ok() => {
            (number.parse().ok()?, rest)
        }
        all => (1, all),
    };
    let (unit, rest) = words.split_first()?;
    let is_unit = |many: &str| {
        unit.eq_ignore_ascii_case(many)
            || many.strip_suffix('s').is_some_and(|one| unit.eq_ignore_ascii_case(one))
    };
    if is_unit("months") {
        return Some(Cadence::Months { every, day: month_day(rest)? });
    }
    match rest {
        [] if is_unit("days") => Some(Cadence::Days(every)),
        [names] if is_unit("weeks") => Some(Cadence::Weeks { every, days: days(names)? }),
        [] if every == 1 && days(unit).is_some() => {
            Some(Cadence::Weeks { every, days: days(unit)? })
        }
        [] => {
            let (_, seconds) = INTERVALS.iter().find(|(name, _)| is_unit(name))?;
            u32::from(every).checked_mul(*seconds).map(Cadence::Seconds)
        }
        _ => None,
    }
}

impl FromStr for Cadence {
    type Err = InvalidCadence;

    fn from_str(text: &str) -> Result<Self, InvalidCadence> {
        read(text).ok_or_else(|| InvalidCadence { text: text.to_owned() })
    }
}

/// A number and a unit; the number is left out where it is one.
fn counted(f: &mut fmt::Formatter<'_>, count: u32, many: &str) -> fmt::Result {
    match (count, many.strip_suffix('s')) {
        (1, Some(one)) => f.write_str(one),
        _ => write!(f, "{count} {many}"),
    }
}

impl fmt::Display for Cadence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Seconds(seconds) => {
                let fits = |(_, unit): &&(&str, u32)| seconds > 0 && seconds % unit == 0;
                let (name, unit) = INTERVALS.iter().find(fits).unwrap_or(&("seconds", 1));
                counted(f, seconds / unit, name)
            }
            Self::Days(every) => counted(f, every.into(), "days"),
            Self::Weeks { every, days } => {
                if every != 1 {
                    write!(f, "{every} weeks ")?;
                }
                let named = DAYS.iter().enumerate().filter(|(at, _)| days >> at & 1 == 1);
                f.write_str(&named.map(|(_, name)| *name).collect::<Vec<_>>().join(","))
            }
            Self::Months { every, day } => {
                counted(f, every.into(), "months")?;
                match day {
                    MonthDay::Day(day) => write!(f, " {day}"),
                    MonthDay::Weekday { nth, day } => {
                        let nth = NTHS.get(usize::from(nth).wrapping_sub(1)).unwrap_or(&"?");
                        let day = DAYS.get(usize::from(day)).unwrap_or(&"?");
                        write!(f, " {nth} {day}")
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{Cadence, MonthDay};

    fn cadence() -> impl Strategy<Value = Cadence> {
        let nth = (1_u8..=5, 0_u8..7).prop_map(|(nth, day)| MonthDay::Weekday { nth, day });
        let month_day = prop_oneof![(1_u8..=31).prop_map(MonthDay::Day), nth];
        prop_oneof![
            (1_u32..200_000).prop_map(Cadence::Seconds),
            (1_u16..400).prop_map(Cadence::Days),
            (1_u16..60, 1_u8..128).prop_map(|(every, days)| Cadence::Weeks { every, days }),
            (1_u16..30, month_day).prop_map(|(every, day)| Cadence::Months { every, day }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(cadence in cadence()) {
            // Seconds have no more digits than anybody writes.
            let fits = !matches!(cadence, Cadence::Seconds(seconds) if seconds % 60 != 0 && seconds > 65_535);
            prop_assume!(fits);
            prop_assert_eq!(cadence.to_string().parse::<Cadence>().unwrap(), cadence);
        }

        #[test]
        fn nothing_makes_it_stop(text in ".*") {
            let _ = text.parse::<Cadence>();
        }
    }

    #[test]
    fn people_write_it_so() {
        let read = |text: &str| text.parse::<Cadence>().ok();
        assert_eq!(read("day"), Some(Cadence::Days(1)));
        assert_eq!(read("Mon,thu"), Some(Cadence::Weeks { every: 1, days: 0b1001 }));
        assert_eq!(read("2 weeks sun"), Some(Cadence::Weeks { every: 2, days: 0b100_0000 }));
        assert_eq!(read("month 15"), Some(Cadence::Months { every: 1, day: MonthDay::Day(15) }));
        let second_tuesday = MonthDay::Weekday { nth: 2, day: 1 };
        assert_eq!(read("month 2nd tue"), Some(Cadence::Months { every: 1, day: second_tuesday }));
        assert_eq!(read("90 minutes"), Some(Cadence::Seconds(5_400)));
        for wrong in
            ["", "never", "3", "weeks", "month", "month 6th tue", "mon thu", "2 mon", "day 3"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
