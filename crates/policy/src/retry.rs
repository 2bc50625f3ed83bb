use serde::{Deserialize, Serialize};

use crate::{Moment, Now};

/// How failures are answered. All times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryRule {
    /// The longest pause after the first failure; it doubles with each further one.
    pub first: u64,
    /// No pause is longer.
    pub longest: u64,
    /// After so many attempts a job gives up, visibly, until somebody or something cures it.
    pub attempts: u32,
}

impl RetryRule {
    /// The pause after attempt number `attempts`: exponential, bounded, and anywhere below that (full jitter).
    pub fn pause(&self, attempts: u32, dice: u64) -> u64 {
        let doublings = attempts.saturating_sub(1).min(40);
        let top = self.first.saturating_mul(1 << doublings).min(self.longest).max(1);
        1 + dice % top
    }
}

/// Keeps a place that does not answer from being tried for every package that waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// Failures to reach the place, one after the other.
    pub failures: u32,
    /// Nothing is tried before; then one probe.
    pub until: Moment,
}

impl Breaker {
    /// Whether the place answered last time.
    pub fn is_closed(&self) -> bool {
        self.failures == 0
    }

    /// Takes note of a failure to reach the place.
    pub fn fail(&mut self, rule: &RetryRule, now: Now) {
        self.failures = self.failures.saturating_add(1);
        // At least half of the pause: a probe is one per interval, however the dice fall.
        let doublings = self.failures.saturating_sub(1).min(40);
        let top = rule.first.saturating_mul(1 << doublings).min(rule.longest).max(2);
        self.until = now.at + (top / 2 + now.dice % (top / 2));
    }
}

/// Another even number from the same throw.
pub(crate) fn reroll(dice: u64, turn: u64) -> u64 {
    let mut mixed = dice ^ turn.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Breaker, RetryRule, reroll};
    use crate::{Moment, Now};

    const RULE: RetryRule = RetryRule { first: 1_000, longest: 60_000, attempts: 100 };

    proptest! {
        #[test]
        fn pauses_are_bounded(attempts in 0..u32::MAX, dice in any::<u64>()) {
            let pause = RULE.pause(attempts, dice);
            prop_assert!((1..=60_000).contains(&pause));
        }

        #[test]
        fn a_breaker_waits_at_least_half_and_at_most_the_whole(failures in 1..80_u32, dice in any::<u64>()) {
            let mut breaker = Breaker::default();
            for _ in 0..failures {
                breaker.fail(&RULE, Now { at: Moment(0), dice });
            }
            let top = 1_000_u64.saturating_mul(1 << (failures - 1).min(40)).min(60_000);
            prop_assert!(breaker.until.0 >= top / 2 && breaker.until.0 < top, "{} of {top}", breaker.until.0);
        }
    }

    #[test]
    fn pauses_are_spread() {
        let pauses: std::collections::BTreeSet<u64> =
            (0..100).map(|turn| RULE.pause(7, reroll(1, turn)) / 6_000).collect();
        assert_eq!(pauses.len(), 10, "every tenth of the pause is taken");
    }
}
