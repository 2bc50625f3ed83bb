use jiff::{Timestamp, tz::TimeZone};

/// Hours of a week, from Monday 00:00.
const HOURS: usize = 168;
/// Quarters of an hour in a week, and two hours more.
const QUARTERS: i64 = 680;

/// The part of the full rate that may be used, by hour of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours([u8; HOURS]);

/// A schedule nobody can have meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// More than all of it.
    #[error("hour {hour} of the week has {percent} %: 0 (closed) to 100 (full rate) are possible")]
    Percent {
        /// From Monday 00:00.
        hour: usize,
        /// What was asked for.
        percent: u8,
    },
}

impl Hours {
    /// Always, at the full rate.
    pub fn always() -> Self {
        Self([100; HOURS])
    }

    /// One percentage for each hour from Monday 00:00; 0 is closed.
    pub fn new(percent: [u8; HOURS]) -> Result<Self, InvalidSchedule> {
        match percent.iter().position(|percent| *percent > 100) {
            Some(hour) => Err(InvalidSchedule::Percent { hour, percent: percent[hour] }),
            None => Ok(Self(percent)),
        }
    }
}

/// When an address is open, in the wall clock of a place on earth.
#[derive(Clone, Debug)]
pub struct Schedule {
    zone: TimeZone,
    hours: Hours,
}

impl Schedule {
    /// Hours as they are lived in `zone`.
    pub fn new(zone: TimeZone, hours: Hours) -> Self {
        Self { zone, hours }
    }

    /// Always open.
    pub fn always() -> Self {
        Self::new(TimeZone::UTC, Hours::always())
    }

    /// The percentage of the full rate at a time of the site's own wall clock, in seconds since 1970.
    pub fn percent_at(&self, wall: i64) -> u8 {
        let Ok(time) = Timestamp::from_second(wall) else { return 0 };
        let local = time.to_zoned(self.zone.clone());
        let day = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or_default();
        let hour = usize::try_from(local.hour()).unwrap_or_default();
        self.hours.0[(day * 24 + hour) % HOURS]
    }

    /// Seconds until it opens: none if it is open, or never is.
    pub fn opens_in(&self, wall: i64) -> Option<u64> {
        if self.percent_at(wall) > 0 {
            return None;
        }
        // Zones change on quarters of an hour.
        let quarter = 900 - wall.rem_euclid(900);
        (0..=QUARTERS)
            .map(|quarters| quarter + quarters * 900)
            .find(|seconds| self.percent_at(wall.saturating_add(*seconds)) > 0)
            .and_then(|seconds| u64::try_from(seconds).ok())
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::{HOURS, Hours, InvalidSchedule, Schedule};

    /// Monday to Sunday, two to four in the morning.
    fn nights() -> Hours {
        let mut percent = [0; HOURS];
        for day in 0..7 {
            percent[day * 24 + 2] = 50;
            percent[day * 24 + 3] = 100;
        }
        Hours::new(percent).unwrap()
    }

    fn wall(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_second()
    }

    #[test]
    fn hours_are_those_of_the_zone() {
        let zone = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap();
        let schedule = Schedule::new(zone, nights());
        assert_eq!(schedule.percent_at(wall("2026-01-15T07:30:00Z")), 50);
        assert_eq!(schedule.percent_at(wall("2026-07-15T07:30:00Z")), 100);
        assert_eq!(schedule.percent_at(wall("2026-07-15T12:00:00Z")), 0);
        assert_eq!(schedule.opens_in(wall("2026-07-15T05:59:00Z")), Some(60));
    }

    #[test]
    fn the_hour_that_does_not_exist_waits_for_the_next() {
        let zone = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap();
        let schedule = Schedule::new(zone, nights());
        // 2026-03-08: after 01:59 comes 03:00.
        assert_eq!(schedule.opens_in(wall("2026-03-08T06:30:00Z")), Some(1_800));
        assert_eq!(schedule.percent_at(wall("2026-03-08T07:00:00Z")), 100);
    }

    #[test]
    fn absurd_hours_are_refused_and_closed_ones_never_open() {
        let error = Hours::new([101; HOURS]).unwrap_err();
        assert_eq!(error, InvalidSchedule::Percent { hour: 0, percent: 101 });
        let never = Schedule::new(TimeZone::UTC, Hours::new([0; HOURS]).unwrap());
        assert_eq!(never.opens_in(0), None);
        assert_eq!(never.percent_at(0), 0);
    }
}
