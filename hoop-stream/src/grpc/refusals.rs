//! Clients that were refused are told in the log, each with its address; a flood of them does not flood it.

use std::fmt::Display;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// So many are told in a second.
const TOLD: u32 = 50;

const SECOND: Duration = Duration::from_secs(1);

/// What was told lately.
#[derive(Debug)]
pub(super) struct Refusals(Mutex<Lately>);

#[derive(Debug)]
struct Lately {
    since: Instant,
    told: u32,
    untold: u64,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Lately {
            since: Instant::now(),
            told: 0,
            untold: 0,
        }))
    }

    /// Tells that the client was refused, or counts it.
    pub(super) fn tell(&self, peer: impl Display, why: impl Display) {
        if self.may_tell(Instant::now()) {
            tracing::warn!(%peer, %why, "refused a client of the audit stream");
        }
    }

    fn may_tell(&self, now: Instant) -> bool {
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(lately.since) >= SECOND {
            if lately.untold > 0 {
                tracing::warn!(
                    more = lately.untold,
                    "refused more clients of the audit stream"
                );
            }
            *lately = Lately {
                since: now,
                told: 0,
                untold: 0,
            };
        }
        if lately.told < TOLD {
            lately.told += 1;
            true
        } else {
            lately.untold += 1;
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_the_next_second_is_told_again() {
        let refusals = Refusals::new();
        let now = Instant::now();
        let told = |at: Instant| (0..1000).filter(|_| refusals.may_tell(at)).count();
        assert_eq!(told(now), 50);
        assert_eq!(told(now + SECOND / 2), 0);
        assert_eq!(told(now + SECOND * 2), 50);
    }
}
