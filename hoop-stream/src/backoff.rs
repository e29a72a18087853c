//! How long to wait after a failure.

use std::time::Duration;

use crate::config::BackoffConfig;

/// The longest wait that a far side may ask for.
const MOST_ASKED: Duration = Duration::from_secs(600);

/// Exponential back-off with full jitter: a thousand nodes that lost the same collector do not come back at
/// the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    config: BackoffConfig,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(config: BackoffConfig) -> Self {
        Self {
            config,
            failures: 0,
        }
    }

    /// A delivery succeeded.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure; at least what the far side asked for, if that is in reason.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let doubled = 2_u32.checked_pow(self.failures);
        let bound = doubled.and_then(|factor| self.config.min.0.checked_mul(factor));
        let bound = bound.map_or(self.config.max.0, |bound| bound.min(self.config.max.0));
        self.failures = self.failures.saturating_add(1);
        bound
            .mul_f64(fastrand::f64())
            .max(asked.unwrap_or_default().min(MOST_ASKED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_below_a_bound_that_doubles_to_the_most() {
        let config = BackoffConfig::default();
        let mut longest = [Duration::ZERO; 40];
        for _ in 0..200 {
            let mut backoff = Backoff::new(config);
            for longest in &mut longest {
                *longest = backoff.next(None).max(*longest);
            }
        }
        for (failures, longest) in longest.into_iter().enumerate() {
            let bound = Duration::from_millis(200 << failures.min(30)).min(Duration::from_secs(60));
            assert!(longest <= bound, "{failures}: {longest:?}");
            assert!(longest > bound / 2, "{failures}: {longest:?}");
        }
        let mut backoff = Backoff::new(config);
        let day = Duration::from_secs(86_400);
        assert_eq!(backoff.next(Some(Duration::from_secs(7))).as_secs(), 7);
        assert_eq!(backoff.next(Some(day)), MOST_ASKED);
        backoff.reset();
        assert!(backoff.next(None) <= config.min.0);
    }
}
