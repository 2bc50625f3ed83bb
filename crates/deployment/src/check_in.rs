//! When a client speaks to its site: spread evenly, whatever happened to all of them at once.

use model::Hash;
use serde::{Deserialize, Serialize};

use crate::ClientId;

/// The first check-ins after a start are spread over at most so many seconds.
const FIRST_WITHIN: u32 = 300;
/// The longest pause after the first failure, as a part of the interval. With ten seconds, a site that is away for ten
/// minutes is asked seven times as often as when it is there.
const FIRST_PAUSE: u32 = 2;
/// What a server asks for is obeyed up to so many seconds: a day.
const LONGEST_WISH: u32 = 86_400;
/// An interval is at least so many seconds long, and at most a day.
const SHORTEST: u32 = 10;

/// A client's way of checking in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pace {
    /// The client's own part of the interval, evenly spread over all clients.
    phase: u64,
    /// Seconds between check-ins.
    interval: u32,
    /// Attempts that failed since the last answer.
    failures: u32,
}

/// What happened to a check-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaceEvent {
    /// The agent, or the machine, has just started.
    Started,
    /// The site answered, and may have given another interval in seconds.
    Answered(Option<u32>),
    /// Nobody answered.
    Failed,
    /// The site has no time: not before so many seconds (`Retry-After`).
    Busy(u32),
}

impl Pace {
    /// A client that checks in every `interval` seconds.
    pub fn new(client: ClientId, interval: u32) -> Self {
        let hash = Hash::of(&client.0);
        let phase = hash.0.first_chunk().map_or(0, |head| u64::from_le_bytes(*head));
        Self { phase, interval: interval.clamp(SHORTEST, LONGEST_WISH), failures: 0 }
    }

    /// Seconds between check-ins.
    pub fn interval(&self) -> u32 {
        self.interval
    }

    /// Attempts that failed since the last answer.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What follows, and the seconds to wait for the next attempt. `now` is any clock in seconds that all clients
    /// share, a lying one does no harm; `dice` is evenly distributed over 64 bits. A person who waits is not made to:
    /// that attempt is made at once and changes nothing here.
    pub fn next(mut self, event: PaceEvent, now: i64, dice: u64) -> (Self, u32) {
        let wait = match event {
            PaceEvent::Started => within(dice, self.interval.min(FIRST_WITHIN)),
            PaceEvent::Answered(given) => {
                self.failures = 0;
                if let Some(given) = given {
                    self.interval = given.clamp(SHORTEST, LONGEST_WISH);
                }
                self.to_phase(now) + within(dice, self.interval / 10)
            }
            PaceEvent::Failed => {
                let doublings = self.failures.min(20);
                self.failures = self.failures.saturating_add(1);
                let top = u64::from(self.interval / FIRST_PAUSE) << doublings;
                // The site may be gone for many: all of them together come back over one interval.
                1 + within(dice, u32::try_from(top).unwrap_or(u32::MAX).min(self.interval))
            }
            PaceEvent::Busy(wish) => wish.min(LONGEST_WISH) + within(dice, self.interval),
        };
        (self, wait)
    }

    /// Seconds until the client's place in the interval, at least half an interval from now.
    fn to_phase(self, now: i64) -> u32 {
        let interval = i64::from(self.interval);
        let phase = i64::try_from(self.phase % u64::from(self.interval)).unwrap_or(0);
        let ahead = (phase - now).rem_euclid(interval);
        let wait = if ahead < interval / 2 { ahead + interval } else { ahead };
        u32::try_from(wait).unwrap_or(self.interval)
    }
}

/// Evenly from 0 to below `top`.
fn within(dice: u64, top: u32) -> u32 {
    u32::try_from(dice % u64::from(top.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(number: u64) -> ClientId {
        ClientId(u128::from(number).to_be_bytes())
    }

    fn dice(number: u64) -> u64 {
        let hash = Hash::of(&number.to_le_bytes()).0;
        u64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]])
    }

    /// The greatest and the mean number of clients in one of `slots` equal parts.
    fn spread(times: impl Iterator<Item = u32>, of: u32, slots: usize) -> (usize, usize) {
        let mut counts = vec![0; slots];
        let mut all = 0;
        for time in times {
            counts[(time as usize * slots / of as usize).min(slots - 1)] += 1;
            all += 1;
        }
        (counts.into_iter().max().unwrap(), all / slots)
    }

    #[test]
    fn clients_that_start_together_come_apart() {
        let first =
            (0..10_000).map(|n| Pace::new(client(n), 300).next(PaceEvent::Started, 0, dice(n)).1);
        let (most, mean) = spread(first, 300, 30);
        assert!(most * 10 < mean * 13, "{most} of {mean}");
        let later = (0..10_000).map(|n| {
            let (_, wait) =
                Pace::new(client(n), 300).next(PaceEvent::Answered(None), 1_000_000, dice(n));
            wait % 300
        });
        let (most, mean) = spread(later, 300, 30);
        assert!(most * 10 < mean * 13, "{most} of {mean}");
    }

    #[test]
    fn what_the_site_asks_for_is_done_within_reason() {
        let pace = Pace::new(client(1), 300);
        let (pace, _) = pace.next(PaceEvent::Answered(Some(900)), 0, 0);
        assert_eq!(pace.interval(), 900);
        let (pace, _) = pace.next(PaceEvent::Answered(Some(0)), 0, 0);
        assert_eq!(pace.interval(), SHORTEST);
        let (_, wait) = pace.next(PaceEvent::Busy(120), 0, 0);
        assert_eq!(wait, 120);
        let (_, wait) = pace.next(PaceEvent::Busy(u32::MAX), 0, 0);
        assert_eq!(wait, 86_400);
    }

    proptest! {
        /// No pause is longer than two intervals and a bit, none is no pause, whatever clocks say.
        #[test]
        fn pauses_are_bounded(number in any::<u64>(), interval in any::<u32>(), now in any::<i64>().prop_map(|now| now / 4), failures in 0..100, dice in any::<u64>()) {
            let mut pace = Pace::new(client(number), interval);
            for turn in 0..failures {
                let (next, wait) = pace.next(PaceEvent::Failed, now, dice);
                prop_assert!((1..=next.interval()).contains(&wait), "{wait}");
                prop_assert_eq!(next.failures(), u32::try_from(turn).unwrap() + 1);
                pace = next;
            }
            let (pace, wait) = pace.next(PaceEvent::Answered(None), now, dice);
            prop_assert_eq!(pace.failures(), 0);
            prop_assert!(wait >= pace.interval() / 2 && wait <= pace.interval() * 8 / 5, "{wait} of {}", pace.interval());
        }
    }
}
