use jiff::{
    SignedDuration, Span, Timestamp, ToSpan as _,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{UnknownZone, Zone, Zones, first_instant, wire};

/// Something that comes again: the date and time of day of the first occurrence, by the wall clock of a zone, and
/// how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Recurrence {
    /// Nothing occurs before; its time of day is that of all occurrences.
    #[n(0)]
    #[cbor(with = "wire::civil")]
    pub from: DateTime,
    /// Whose wall clock.
    #[n(1)]
    pub zone: Zone,
    /// How often.
    #[n(2)]
    pub cadence: Cadence,
}

/// How often something comes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Cadence {
    /// Each time so many seconds have passed, whatever clocks show.
    #[n(0)]
    Seconds(#[n(0)] u32),
    /// Every so many days.
    #[n(1)]
    Days(#[n(0)] u16),
    /// On days of the week, in every so many weeks; weeks begin on Monday.
    #[n(2)]
    Weeks {
        /// 1 is every week.
        #[n(0)]
        every: u16,
        /// One bit for each day, Monday the lowest.
        #[n(1)]
        days: u8,
    },
    /// On one day, in every so many months.
    #[n(3)]
    Months {
        /// 1 is every month, 12 once a year.
        #[n(0)]
        every: u16,
        /// Which day.
        #[n(1)]
        day: MonthDay,
    },
}

/// A day of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum MonthDay {
    /// By its number; in a month that is shorter, the last one.
    #[n(0)]
    Day(#[n(0)] u8),
    /// The nth of a day of the week: the second Tuesday, the last Friday.
    #[n(1)]
    Weekday {
        /// 1 to 4, or 5 for the last.
        #[n(0)]
        nth: u8,
        /// 0 to 6 from Monday.
        #[n(1)]
        day: u8,
    },
}

/// One time something occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Occurrence {
    /// Names it for good, in whatever zone the client may be: what the wall clock was to show, as if it were UTC, in
    /// seconds since 1970; for intervals their count.
    pub key: i64,
    /// When.
    pub at: Timestamp,
}

/// A recurrence nobody can have meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecurrence {
    /// Each time nothing has passed.
    #[error("it comes again every 0 {unit}: give at least 1")]
    Zero {
        /// `seconds`, `days`, `weeks`, `months`.
        unit: &'static str,
    },
    /// No day of the week, or an eighth one.
    #[error("`{0:#b}` names no days of the week: set bits 0 (Monday) to 6 (Sunday)")]
    Days(u8),
    /// No day of any month.
    #[error("no month has day {0}: give 1 to 31")]
    MonthDay(u8),
    /// No such weekday of a month.
    #[error(
        "a month has no {nth}th weekday {day}: give 1 to 4, or 5 for the last, and 0 (Monday) to 6"
    )]
    Weekday {
        /// As given.
        nth: u8,
        /// As given.
        day: u8,
    },
}

impl Recurrence {
    /// Whether it can have been meant.
    pub fn check(&self) -> Result<(), InvalidRecurrence> {
        match self.cadence {
            Cadence::Seconds(0) => Err(InvalidRecurrence::Zero { unit: "seconds" }),
            Cadence::Days(0) => Err(InvalidRecurrence::Zero { unit: "days" }),
            Cadence::Weeks { every: 0, .. } => Err(InvalidRecurrence::Zero { unit: "weeks" }),
            Cadence::Months { every: 0, .. } => Err(InvalidRecurrence::Zero { unit: "months" }),
            Cadence::Weeks { days, .. } if days == 0 || days > 127 => {
                Err(InvalidRecurrence::Days(days))
            }
            Cadence::Months { day: MonthDay::Day(day), .. } if !(1..=31).contains(&day) => {
                Err(InvalidRecurrence::MonthDay(day))
            }
            Cadence::Months { day: MonthDay::Weekday { nth, day }, .. }
                if !(1..=5).contains(&nth) || day > 6 =>
            {
                Err(InvalidRecurrence::Weekday { nth, day })
            }
            _ => Ok(()),
        }
    }

    /// The last occurrence at `now` or before.
    ///
    /// # Errors
    /// The zone is not known.
    pub fn latest(
        &self,
        zones: Zones<'_>,
        now: Timestamp,
    ) -> Result<Option<Occurrence>, UnknownZone> {
        let zone = zones.get(&self.zone)?;
        if let Cadence::Seconds(seconds) = self.cadence {
            return Ok(self.nth(&zone, seconds, self.passed(&zone, seconds, now)));
        }
        // A jump of the zone may put an occurrence a day off; what is later than now is passed over.
        let mut day = zone.to_datetime(now).date().checked_add(1.day()).unwrap_or(Date::MAX);
        while let Some(found) = self.day_at_or_before(day) {
            let occurrence = self.on(&zone, found);
            if occurrence.at <= now {
                return Ok(Some(occurrence));
            }
            let Ok(before) = found.checked_sub(1.day()) else { break };
            day = before;
        }
        Ok(None)
    }

    /// The first occurrence after `now`.
    ///
    /// # Errors
    /// The zone is not known.
    pub fn next(
        &self,
        zones: Zones<'_>,
        now: Timestamp,
    ) -> Result<Option<Occurrence>, UnknownZone> {
        let zone = zones.get(&self.zone)?;
        if let Cadence::Seconds(seconds) = self.cadence {
            let count =
                self.passed(&zone, seconds, now).map_or(Some(0), |count| count.checked_add(1));
            return Ok(self.nth(&zone, seconds, count));
        }
        let mut day = zone.to_datetime(now).date().checked_sub(1.day()).unwrap_or(Date::MIN);
        while let Some(found) = self.day_at_or_after(day) {
            let occurrence = self.on(&zone, found);
            if occurrence.at > now {
                return Ok(Some(occurrence));
            }
            let Ok(after) = found.checked_add(1.day()) else { break };
            day = after;
        }
        Ok(None)
    }

    /// The same, beginning at another date: every date in it keeps its distance to the beginning.
    pub fn moved_to(&self, from: DateTime) -> Self {
        Self { from, ..self.clone() }
    }

    fn on(&self, zone: &TimeZone, day: Date) -> Occurrence {
        let clock = day.to_datetime(self.from.time());
        let key = TimeZone::UTC.to_timestamp(clock).map_or(0, Timestamp::as_second);
        Occurrence { key, at: first_instant(zone, clock) }
    }

    /// How many intervals have passed at `now`; none before the first.
    fn passed(&self, zone: &TimeZone, seconds: u32, now: Timestamp) -> Option<i64> {
        let since = now.as_second() - first_instant(zone, self.from).as_second();
        (since >= 0).then(|| since / i64::from(seconds.max(1)))
    }

    fn nth(&self, zone: &TimeZone, seconds: u32, count: Option<i64>) -> Option<Occurrence> {
        let count = count?;
        let after = SignedDuration::from_secs(count.checked_mul(i64::from(seconds.max(1)))?);
        let at = first_instant(zone, self.from).checked_add(after).ok()?;
        Some(Occurrence { key: count, at })
    }

    /// The last day of an occurrence, at `day` or before.
    fn day_at_or_before(&self, day: Date) -> Option<Date> {
        let first = self.from.date();
        let found = match self.cadence {
            Cadence::Seconds(_) => None,
            Cadence::Days(every) => {
                let every = i64::from(every.max(1));
                plus_days(first, days_between(first, day)?.div_euclid(every) * every)
            }
            Cadence::Weeks { every, days } => {
                let (week, offset) = self.week_of(day, every)?;
                let bits = if offset == 0 { days & up_to(day) } else { days };
                match highest(bits) {
                    Some(weekday) => plus_days(week, weekday),
                    None => plus_days(week, highest(days)? - 7 * i64::from(every.max(1))),
                }
            }
            Cadence::Months { every, day: which } => {
                let every = i64::from(every.max(1));
                let months = (month_index(day) - month_index(first)).div_euclid(every) * every;
                let index = month_index(first) + months;
                in_month(index, which)
                    .filter(|found| *found <= day)
                    .or_else(|| in_month(index - every, which))
            }
        };
        found.filter(|found| *found >= first)
    }

    /// The first day of an occurrence, at `day` or after.
    fn day_at_or_after(&self, day: Date) -> Option<Date> {
        let first = self.from.date();
        let day = day.max(first);
        match self.cadence {
            Cadence::Seconds(_) => None,
            Cadence::Days(every) => {
                let every = i64::from(every.max(1));
                plus_days(first, -(-days_between(first, day)?).div_euclid(every) * every)
            }
            Cadence::Weeks { every, days } => {
                let (week, offset) = self.week_of(day, every)?;
                let bits = if offset == 0 { days & from_on(day) } else { 0 };
                match lowest(bits) {
                    Some(weekday) => plus_days(week, weekday),
                    None => plus_days(week, lowest(days)? + 7 * i64::from(every.max(1))),
                }
            }
            Cadence::Months { every, day: which } => {
                let every = i64::from(every.max(1));
                let months = (month_index(day) - month_index(first)).div_euclid(every) * every;
                let index = month_index(first) + months;
                in_month(index, which)
                    .filter(|found| *found >= day)
                    .or_else(|| in_month(index + every, which))
            }
        }
    }

    /// The Monday of the last week that counts, at the week of `day` or before, and how many weeks before.
    fn week_of(&self, day: Date, every: u16) -> Option<(Date, i64)> {
        let first = monday(self.from.date())?;
        let weeks = days_between(first, monday(day)?)? / 7;
        let offset = weeks.rem_euclid(i64::from(every.max(1)));
        Some((plus_days(first, (weeks - offset) * 7)?, offset))
    }
}

fn days_between(from: Date, to: Date) -> Option<i64> {
    from.until(to).ok().map(|span| i64::from(span.get_days()))
}

fn plus_days(date: Date, days: i64) -> Option<Date> {
    date.checked_add(Span::new().try_days(days).ok()?).ok()
}

fn weekday(date: Date) -> i64 {
    i64::from(date.weekday().to_monday_zero_offset())
}

fn monday(date: Date) -> Option<Date> {
    plus_days(date, -weekday(date))
}

/// The days of the week until that of `date`, itself included.
fn up_to(date: Date) -> u8 {
    u8::MAX >> (7 - weekday(date)).clamp(0, 7)
}

/// The days of the week from that of `date` on.
fn from_on(date: Date) -> u8 {
    (u8::MAX << weekday(date).clamp(0, 7)) & 127
}

fn highest(days: u8) -> Option<i64> {
    (0..7).rev().find(|day| days & (1 << day) != 0)
}

fn lowest(days: u8) -> Option<i64> {
    (0..7).find(|day| days & (1 << day) != 0)
}

fn month_index(date: Date) -> i64 {
    i64::from(date.year()) * 12 + i64::from(date.month()) - 1
}

/// The day of a month, the months counted from year 0.
fn in_month(index: i64, which: MonthDay) -> Option<Date> {
    let year = i16::try_from(index.div_euclid(12)).ok()?;
    let month = i8::try_from(index.rem_euclid(12) + 1).ok()?;
    let first = Date::new(year, month, 1).ok()?;
    match which {
        MonthDay::Day(day) => {
            let day = i8::try_from(day).ok()?.min(first.days_in_month());
            Date::new(year, month, day).ok()
        }
        MonthDay::Weekday { nth, day } => {
            let before = (i64::from(day) - weekday(first)).rem_euclid(7);
            let found = before + 7 * (i64::from(nth.max(1)) - 1);
            let last = i64::from(first.days_in_month());
            plus_days(first, if found < last { found } else { found - 7 })
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZoneDatabase;
    use proptest::prelude::*;

    use super::*;

    fn bundled() -> &'static TimeZoneDatabase {
        static DATABASE: std::sync::OnceLock<TimeZoneDatabase> = std::sync::OnceLock::new();
        DATABASE.get_or_init(TimeZoneDatabase::bundled)
    }

    fn zones() -> Zones<'static> {
        Zones { database: bundled(), client: const { &TimeZone::UTC } }
    }

    fn recurrence(from: &str, zone: &str, cadence: Cadence) -> Recurrence {
        Recurrence { from: from.parse().unwrap(), zone: Zone::Named(zone.into()), cadence }
    }

    /// All occurrences after one instant, up to another.
    fn between(what: &Recurrence, from: &str, to: &str) -> Vec<String> {
        let (mut now, to): (Timestamp, Timestamp) = (from.parse().unwrap(), to.parse().unwrap());
        let mut all = Vec::new();
        while let Some(next) = what.next(zones(), now).unwrap().filter(|next| next.at <= to) {
            assert_eq!(what.latest(zones(), next.at).unwrap(), Some(next), "there and back");
            all.push(next.at.to_string());
            now = next.at;
        }
        all
    }

    /// Q186132: a daily job at 02:30 over both changes, in zones of whole hours and of others. The hour that is
    /// skipped runs it once, the hour that is doubled runs it once.
    #[test]
    fn q186132_every_day_has_one_half_past_two() {
        let daily = recurrence("2026-03-27T02:30", "Europe/Berlin", Cadence::Days(1));
        assert_eq!(
            between(&daily, "2026-03-26T00:00:00Z", "2026-03-31T00:00:00Z"),
            [
                "2026-03-27T01:30:00Z",
                "2026-03-28T01:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-30T00:30:00Z"
            ]
        );
        assert_eq!(
            between(&daily, "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z"),
            ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        for zone in [
            "Asia/Kathmandu",
            "Pacific/Chatham",
            "America/New_York",
            "Australia/Lord_Howe",
            "Europe/Berlin",
            "UTC",
        ] {
            let daily = recurrence("2026-01-01T02:30", zone, Cadence::Days(1));
            let days = between(&daily, "2025-12-31T00:00:00Z", "2026-12-31T12:00:00Z");
            assert_eq!(days.len(), 365, "{zone}");
        }
        let kathmandu = recurrence("2026-01-01T02:30", "Asia/Kathmandu", Cadence::Days(1));
        assert_eq!(
            between(&kathmandu, "2026-03-28T00:00:00Z", "2026-03-29T00:00:00Z"),
            ["2026-03-28T20:45:00Z"]
        );
        let chatham = recurrence("2026-01-01T02:30", "Pacific/Chatham", Cadence::Days(1));
        // There the clock goes from 03:45 back to 02:45, and half past two comes once; in spring from 02:45 to 03:45.
        assert_eq!(
            between(&chatham, "2026-04-03T00:00:00Z", "2026-04-06T00:00:00Z"),
            ["2026-04-03T12:45:00Z", "2026-04-04T12:45:00Z", "2026-04-05T13:45:00Z"]
        );
    }

    /// Q186132: 29 February, 31 December 2027 and 2028, 19 January 2038.
    #[test]
    fn q186132_days_that_few_months_have() {
        let leap = recurrence(
            "2028-02-29T12:00",
            "UTC",
            Cadence::Months { every: 12, day: MonthDay::Day(29) },
        );
        assert_eq!(
            between(&leap, "2028-01-01T00:00:00Z", "2032-03-01T00:00:00Z"),
            [
                "2028-02-29T12:00:00Z",
                "2029-02-28T12:00:00Z",
                "2030-02-28T12:00:00Z",
                "2031-02-28T12:00:00Z",
                "2032-02-29T12:00:00Z"
            ]
        );
        let last = recurrence(
            "2027-12-31T23:59:59",
            "UTC",
            Cadence::Months { every: 1, day: MonthDay::Day(31) },
        );
        assert_eq!(
            between(&last, "2027-12-01T00:00:00Z", "2028-02-29T23:59:59Z"),
            ["2027-12-31T23:59:59Z", "2028-01-31T23:59:59Z", "2028-02-29T23:59:59Z"]
        );
        let interval = recurrence("2027-12-30T00:00", "UTC", Cadence::Days(366));
        assert_eq!(
            between(&interval, "2027-12-30T00:00:00Z", "2030-01-01T00:00:00Z"),
            ["2028-12-30T00:00:00Z", "2029-12-31T00:00:00Z"]
        );
        let beyond = recurrence("2038-01-19T03:14:07", "UTC", Cadence::Seconds(1));
        assert_eq!(
            between(&beyond, "2038-01-19T03:14:06Z", "2038-01-19T03:14:08Z"),
            ["2038-01-19T03:14:07Z", "2038-01-19T03:14:08Z"]
        );
        let tuesdays = recurrence(
            "2026-01-01T03:00",
            "UTC",
            Cadence::Months { every: 1, day: MonthDay::Weekday { nth: 2, day: 1 } },
        );
        assert_eq!(
            between(&tuesdays, "2026-01-01T00:00:00Z", "2026-03-31T00:00:00Z"),
            ["2026-01-13T03:00:00Z", "2026-02-10T03:00:00Z", "2026-03-10T03:00:00Z"]
        );
        let fridays = recurrence(
            "2026-01-01T03:00",
            "UTC",
            Cadence::Months { every: 1, day: MonthDay::Weekday { nth: 5, day: 4 } },
        );
        assert_eq!(
            between(&fridays, "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            ["2026-01-30T03:00:00Z", "2026-02-27T03:00:00Z"]
        );
    }

    #[test]
    fn weeks_count_from_the_week_they_begin_in() {
        // Wednesday; every second week on Mondays and Fridays.
        let what =
            recurrence("2026-01-07T08:00", "UTC", Cadence::Weeks { every: 2, days: 0b1_0001 });
        assert_eq!(
            between(&what, "2026-01-01T00:00:00Z", "2026-02-07T00:00:00Z"),
            [
                "2026-01-09T08:00:00Z",
                "2026-01-19T08:00:00Z",
                "2026-01-23T08:00:00Z",
                "2026-02-02T08:00:00Z",
                "2026-02-06T08:00:00Z"
            ]
        );
    }

    #[test]
    fn what_nobody_can_have_meant_is_refused() {
        let check = |cadence| {
            recurrence("2026-01-01T00:00", "UTC", cadence).check().unwrap_err().to_string()
        };
        insta::assert_snapshot!(check(Cadence::Days(0)), @"it comes again every 0 days: give at least 1");
        insta::assert_snapshot!(check(Cadence::Weeks { every: 1, days: 128 }), @"`0b10000000` names no days of the week: set bits 0 (Monday) to 6 (Sunday)");
        insta::assert_snapshot!(check(Cadence::Months { every: 1, day: MonthDay::Day(32) }), @"no month has day 32: give 1 to 31");
    }

    fn cadences() -> impl Strategy<Value = Cadence> {
        prop_oneof![
            (1..100_000_u32).prop_map(Cadence::Seconds),
            (1..40_u16).prop_map(Cadence::Days),
            (1..5_u16, 1..128_u8).prop_map(|(every, days)| Cadence::Weeks { every, days }),
            (1..14_u16, 1..32_u8)
                .prop_map(|(every, day)| Cadence::Months { every, day: MonthDay::Day(day) }),
            (1..4_u16, 1..6_u8, 0..7_u8).prop_map(|(every, nth, day)| Cadence::Months {
                every,
                day: MonthDay::Weekday { nth, day }
            }),
        ]
    }

    proptest! {
        /// Walking forwards and looking back agree, nothing is between neighbours, and nothing comes before the first.
        #[test]
        fn forwards_and_backwards_agree(cadence in cadences(), zone in 0..4_usize, start in 0..2_000_000_000_i64, minute in 0..1440_i64) {
            let zone = ["Pacific/Chatham", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"][zone];
            let from = TimeZone::UTC.to_datetime(Timestamp::from_second(start / 86_400 * 86_400 + minute * 60).unwrap());
            let what = Recurrence { from, zone: Zone::Named(zone.into()), cadence };
            let mut now = Timestamp::from_second(start - 400 * 86_400).unwrap();
            prop_assert_eq!(what.latest(zones(), now).unwrap(), None);
            let mut before: Option<Occurrence> = None;
            for _ in 0..12 {
                let next = what.next(zones(), now).unwrap().unwrap();
                prop_assert!(next.at > now);
                let just_before = next.at - SignedDuration::from_nanos(1);
                prop_assert_eq!(what.latest(zones(), just_before).unwrap(), before);
                prop_assert_eq!(what.latest(zones(), next.at).unwrap(), Some(next));
                prop_assert!(before.is_none_or(|before| before.key < next.key));
                before = Some(next);
                now = next.at;
            }
        }
    }
}
