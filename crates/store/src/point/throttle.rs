use std::{
    num::NonZero,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// No more than so many bytes per second, however many ask at the same time.
///
/// Who took bytes waits until their time is over before it takes more: nothing is put by for later, and no burst follows a pause.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: NonZero<u64>,
    /// When everything that was taken is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Throttle {
    pub(super) fn new(rate: NonZero<u64>) -> Self {
        Self { rate, paid: Mutex::new(None) }
    }

    /// Until when whoever takes so many bytes now is to wait.
    fn take(&self, now: Instant, bytes: usize) -> Instant {
        let lasts = Duration::from_secs_f64(bytes as f64 / self.rate.get() as f64);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let until = paid.map_or(now, |paid| paid.max(now)) + lasts;
        *paid = Some(until);
        until
    }

    /// Waits for so many bytes.
    pub(super) async fn wait(&self, bytes: usize) {
        tokio::time::sleep_until(self.take(Instant::now(), bytes).into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_paid_for_in_a_row_whoever_takes_them() {
        let throttle = Throttle::new(NonZero::new(1_000).unwrap());
        let now = Instant::now();
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        assert_eq!(throttle.take(now, 500), after(500));
        assert_eq!(throttle.take(now, 500), after(1_000));
        assert_eq!(throttle.take(after(200), 100), after(1_100));
        // A pause saves nothing up.
        assert_eq!(throttle.take(after(9_000), 100), after(9_100));
    }
}
