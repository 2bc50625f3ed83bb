//! When windows are open, several of them together.

use std::fmt;

use jiff::{SignedDuration, Timestamp, ToSpan as _, tz::TimeZone};
use serde::Serialize;

use crate::{Occurrence, UnknownZone, Window, Zones, first_instant};

/// So many stretches are looked at for one that is long enough: more than ten years of nights.
const MOST_STRETCHES: usize = 4_000;
/// So often neighbouring windows are joined: then they are open for good.
const MOST_JOINED: usize = 1_000;

/// The windows of a client, together: it may be changed while one of them is open.
#[derive(Clone, Debug)]
pub struct Windows<'a> {
    known: Vec<(&'a Window, Option<Timestamp>)>,
    zones: Zones<'a>,
    counts: bool,
    unknown: Vec<UnknownZone>,
}

/// Time in which a client may be changed without a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Opening {
    /// It begins; or, of one that is under way, the instant that was asked for.
    pub from: Timestamp,
    /// It ends.
    pub until: Timestamp,
    /// The window that opened it.
    pub window: Box<str>,
}

/// Whether a client may be changed at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Openness {
    /// It has no windows.
    Always,
    /// It may, for so long.
    Open(Opening),
    /// It may not; then again, if ever.
    Closed(Option<Opening>),
}

/// Whether something that takes its time ever fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// There are no windows.
    Always,
    /// It does, first then.
    Fits(Opening),
    /// No window is open that long.
    Never(NeverFits),
}

/// No window is open as long as a program takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct NeverFits {
    /// What the program takes, in seconds.
    pub estimate: u32,
    /// The longest stretch there is.
    pub longest: Option<Opening>,
    /// Zones this machine does not know; their windows are taken for closed.
    pub unknown: Vec<UnknownZone>,
}

impl Opening {
    /// How long it is open from `now` on, in seconds.
    pub fn left(&self, now: Timestamp) -> i64 {
        self.until.as_second() - self.from.max(now).as_second()
    }
}

impl<'a> Windows<'a> {
    /// The windows, by the zones of a machine. `counts` says whether there are any, read or not: where some exist and
    /// none can be read the client is not open.
    pub fn new(windows: &'a [Window], counts: bool, zones: Zones<'a>) -> Self {
        let mut unknown = Vec::new();
        let mut known = Vec::new();
        for window in windows {
            let until = window.until.as_ref().map(|until| until.instant(zones)).transpose();
            match zones.get(&window.opens.zone).and(until) {
                Ok(until) => known.push((window, until)),
                Err(error) => unknown.push(error),
            }
        }
        Self { known, zones, counts: counts || !windows.is_empty(), unknown }
    }

    /// Zones that are not known here.
    pub fn unknown(&self) -> &[UnknownZone] {
        &self.unknown
    }

    /// Whether the client may be changed at `now`, until when, or from when on.
    pub fn at(&self, now: Timestamp) -> Openness {
        if !self.counts {
            return Openness::Always;
        }
        match self.stretch_at(now) {
            Some(stretch) => Openness::Open(stretch),
            None => Openness::Closed(self.next(now)),
        }
    }

    /// The first stretch that begins after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Opening> {
        let (from, window) = self
            .known
            .iter()
            .filter_map(|(window, until)| {
                let next = window.opens.next(self.zones, now).ok()??;
                until.is_none_or(|until| next.at < until).then_some((next.at, window))
            })
            .min_by_key(|(at, _)| *at)?;
        // A window that is skipped whole by a change of the clock opens and closes in one instant.
        self.stretch_at(from).or_else(|| self.next(from)).map(|mut stretch| {
            stretch.window.clone_from(&window.name);
            stretch
        })
    }

    /// The first stretch at `now` or later that has so many seconds left.
    pub fn fit(&self, now: Timestamp, estimate: u32) -> Fit {
        if !self.counts {
            return Fit::Always;
        }
        let mut longest: Option<Opening> = None;
        let mut found = self.stretch_at(now).or_else(|| self.next(now));
        for _ in 0..MOST_STRETCHES {
            let Some(stretch) = found else { break };
            if stretch.left(now) >= i64::from(estimate) {
                return Fit::Fits(stretch);
            }
            found = self.next(stretch.until);
            if longest.as_ref().is_none_or(|longest| longest.left(now) < stretch.left(now)) {
                longest = Some(stretch);
            }
        }
        Fit::Never(NeverFits { estimate, longest, unknown: self.unknown.clone() })
    }

    /// The stretch `now` is in: from `now` to its end.
    fn stretch_at(&self, now: Timestamp) -> Option<Opening> {
        let (mut until, window) = self.reach(now)?;
        for _ in 0..MOST_JOINED {
            match self.reach(until) {
                Some((further, _)) => until = further,
                None => return Some(Opening { from: now, until, window: window.into() }),
            }
        }
        Some(Opening { from: now, until: Timestamp::MAX, window: window.into() })
    }

    /// How far the windows that are open at `now` reach.
    fn reach(&self, now: Timestamp) -> Option<(Timestamp, &str)> {
        self.known
            .iter()
            .filter_map(|(window, until)| {
                let opened = window.opens.latest(self.zones, now).ok()??;
                let counts = until.is_none_or(|until| opened.at < until);
                let end = closes(window, opened, &self.zones.get(&window.opens.zone).ok()?);
                (counts && end > now).then_some((end, &*window.name))
            })
            .max_by_key(|(end, _)| *end)
    }
}

/// When a window that opened then closes, by the wall clock it opened by.
fn closes(window: &Window, opened: Occurrence, zone: &TimeZone) -> Timestamp {
    // The key is what the wall clock was to show, as if it were UTC.
    Timestamp::from_second(opened.key)
        .ok()
        .map(|clock| TimeZone::UTC.to_datetime(clock))
        .and_then(|clock| clock.checked_add(i64::from(window.minutes).minutes()).ok())
        .map_or(Timestamp::MAX, |clock| first_instant(zone, clock))
}

impl fmt::Display for NeverFits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "it takes {}, and no maintenance window is open that long",
            length(self.estimate.into())
        )?;
        if let Some(longest) = &self.longest {
            let open = length(longest.left(longest.from));
            write!(f, ": the longest, `{}`, is open for {open}", longest.window)?;
        }
        for unknown in &self.unknown {
            write!(f, "; {unknown}")?;
        }
        f.write_str(
            "; lengthen a window, correct the estimate, or let the deployment ignore windows",
        )
    }
}

/// A length of time as people say it.
pub(crate) fn length(seconds: i64) -> String {
    let duration = SignedDuration::from_secs(seconds);
    let (hours, minutes) = (duration.as_hours(), duration.as_mins() % 60);
    match (hours, minutes, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZoneDatabase;
    use proptest::prelude::*;

    use super::*;
    use crate::{Cadence, Recurrence, When, Zone};

    fn zones() -> Zones<'static> {
        static DATABASE: std::sync::OnceLock<TimeZoneDatabase> = std::sync::OnceLock::new();
        let database = DATABASE.get_or_init(TimeZoneDatabase::bundled);
        Zones { database, client: const { &TimeZone::UTC } }
    }

    fn window(name: &str, from: &str, zone: &str, cadence: Cadence, minutes: u32) -> Window {
        let opens =
            Recurrence { from: from.parse().unwrap(), zone: Zone::Named(zone.into()), cadence };
        Window { name: name.into(), opens, minutes, until: None }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn night(zone: &str) -> [Window; 1] {
        [window("night", "2026-01-01T01:00", zone, Cadence::Days(1), 240)]
    }

    fn said(opening: &Windows<'_>, now: &str) -> String {
        match opening.at(at(now)) {
            Openness::Always => "always".to_owned(),
            Openness::Open(stretch) => format!("open until {}", stretch.until),
            Openness::Closed(Some(next)) => format!("closed, next {} to {}", next.from, next.until),
            Openness::Closed(None) => "closed for good".to_owned(),
        }
    }

    /// From one to five by the wall clock: three real hours in spring, five in autumn.
    #[test]
    fn q186132_a_window_closes_by_the_clock_it_opened_by() {
        let windows = night("Europe/Berlin");
        let opening = Windows::new(&windows, true, zones());
        insta::assert_snapshot!(said(&opening, "2026-03-28T23:59:59Z"), @"closed, next 2026-03-29T00:00:00Z to 2026-03-29T03:00:00Z");
        insta::assert_snapshot!(said(&opening, "2026-03-29T02:59:59Z"), @"open until 2026-03-29T03:00:00Z");
        insta::assert_snapshot!(said(&opening, "2026-03-29T03:00:00Z"), @"closed, next 2026-03-29T23:00:00Z to 2026-03-30T03:00:00Z");
        insta::assert_snapshot!(said(&opening, "2026-10-24T22:59:59Z"), @"closed, next 2026-10-24T23:00:00Z to 2026-10-25T04:00:00Z");
        for (zone, first, last) in [
            ("Asia/Kathmandu", "2026-01-31T19:15:00Z", "2026-01-31T23:14:59Z"),
            ("Pacific/Chatham", "2026-01-31T11:15:00Z", "2026-01-31T15:14:59Z"),
        ] {
            let windows = night(zone);
            let opening = Windows::new(&windows, true, zones());
            for (now, is_open) in [(first, true), (last, true)] {
                assert_eq!(
                    matches!(opening.at(at(now)), Openness::Open(_)),
                    is_open,
                    "{zone} {now}"
                );
            }
            let before = at(first) - SignedDuration::from_secs(1);
            let after = at(last) + SignedDuration::from_secs(1);
            for now in [before, after] {
                assert!(matches!(opening.at(now), Openness::Closed(Some(_))), "{zone} {now}");
            }
        }
    }

    #[test]
    fn a_window_the_clock_jumps_over_does_not_open_that_day() {
        let windows = [window("short", "2026-01-01T02:10", "Europe/Berlin", Cadence::Days(1), 30)];
        let opening = Windows::new(&windows, true, zones());
        insta::assert_snapshot!(said(&opening, "2026-03-28T12:00:00Z"), @"closed, next 2026-03-30T00:10:00Z to 2026-03-30T00:40:00Z");
        insta::assert_snapshot!(said(&opening, "2026-10-25T00:45:00Z"), @"closed, next 2026-10-26T01:10:00Z to 2026-10-26T01:40:00Z");
    }

    #[test]
    fn neighbours_are_one_stretch_and_a_window_without_gap_is_open_for_good() {
        let windows = [
            window("first", "2026-01-01T00:00", "UTC", Cadence::Days(1), 120),
            window("second", "2026-01-01T01:30", "UTC", Cadence::Days(1), 90),
        ];
        let opening = Windows::new(&windows, true, zones());
        insta::assert_snapshot!(said(&opening, "2026-01-05T00:30:00Z"), @"open until 2026-01-05T03:00:00Z");
        let all_day = [window("all day", "2026-01-01T00:00", "UTC", Cadence::Days(1), 1440)];
        let opening = Windows::new(&all_day, true, zones());
        let Openness::Open(stretch) = opening.at(at("2026-01-05T00:30:00Z")) else { panic!() };
        assert_eq!(stretch.until, Timestamp::MAX);
    }

    /// What is longer than every window never runs, and its author is told so, with the longest there is.
    #[test]
    fn an_estimate_longer_than_every_window_is_told_to_its_author() {
        let windows = [
            night("Europe/Berlin").into_iter().next().unwrap(),
            window(
                "sunday",
                "2026-01-04T01:00",
                "Europe/Berlin",
                Cadence::Weeks { every: 1, days: 64 },
                360,
            ),
        ];
        let opening = Windows::new(&windows, true, zones());
        let fit = |hours: u32| opening.fit(at("2026-03-25T12:00:00Z"), hours * 3_600);
        // On Sunday the 29th an hour is missing: six hours fit a week later.
        let Fit::Fits(stretch) = fit(6) else { panic!() };
        assert_eq!(stretch.from, at("2026-04-04T23:00:00Z"));
        assert_eq!(&*stretch.window, "night");
        let Fit::Never(never) = fit(8) else { panic!() };
        // In autumn that Sunday has seven.
        insta::assert_snapshot!(never, @"it takes 8 h, and no maintenance window is open that long: the longest, `night`, is open for 7 h; lengthen a window, correct the estimate, or let the deployment ignore windows");
        assert_eq!(
            Windows::new(&[], false, zones()).fit(at("2026-01-01T00:00:00Z"), 1),
            Fit::Always
        );
    }

    /// Unknown is not empty: windows that cannot be read leave the client closed, not open.
    #[test]
    fn a_window_of_an_unknown_zone_is_closed_and_named() {
        let windows = night("Mars/Olympus");
        let opening = Windows::new(&windows, true, zones());
        assert_eq!(opening.at(at("2026-01-01T02:00:00Z")), Openness::Closed(None));
        assert_eq!(&*opening.unknown()[0].name, "Mars/Olympus");
        let none = Windows::new(&[], true, zones());
        assert_eq!(none.at(at("2026-01-01T02:00:00Z")), Openness::Closed(None));
    }

    #[test]
    fn a_window_with_an_end_does_not_open_after_it() {
        let mut windows = night("UTC");
        windows[0].until = Some(When::At(at("2026-02-01T00:00:00Z")));
        let opening = Windows::new(&windows, true, zones());
        assert_eq!(opening.at(at("2026-02-01T02:00:00Z")), Openness::Closed(None));
        assert!(matches!(opening.at(at("2026-01-31T02:00:00Z")), Openness::Open(_)));
    }

    proptest! {
        /// Whatever is said of an instant holds until the instant it names, and not at it.
        #[test]
        fn what_is_said_holds_until_then(hour in 0..24_i8, length in 1..3_000_u32, days in 1..128_u8, zone in 0..3_usize, now in 1_700_000_000..1_900_000_000_i64, part in 0..1_000_i64) {
            let zone = ["Pacific/Chatham", "Europe/Berlin", "America/St_Johns"][zone];
            let windows = [
                window("a", &format!("2020-01-01T{hour:02}:15"), zone, Cadence::Weeks { every: 1, days }, length),
                window("b", "2020-01-01T03:00", zone, Cadence::Days(3), 60),
            ];
            let opening = Windows::new(&windows, true, zones());
            let now = Timestamp::from_second(now).unwrap();
            let (open, end) = match opening.at(now) {
                Openness::Open(stretch) => (true, stretch.until),
                Openness::Closed(Some(next)) => (false, next.from),
                other => { prop_assert!(false, "{:?}", other); unreachable!() }
            };
            let is_open = |at| matches!(opening.at(at), Openness::Open(_));
            if end == Timestamp::MAX { return Ok(()); }
            prop_assert!(end > now);
            let between = now.as_second() + (end.as_second() - now.as_second() - 1) * part / 1_000;
            prop_assert_eq!(is_open(Timestamp::from_second(between).unwrap()), open);
            prop_assert_eq!(is_open(end - SignedDuration::from_secs(1)), open);
            prop_assert_eq!(is_open(end), !open);
        }
    }
}
