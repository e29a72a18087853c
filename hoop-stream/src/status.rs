//! What a sink is doing, for metrics, for retention and for people.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// What one sink is doing. All counters count from the start of the daemon.
pub struct SinkStatus {
    name: String,
    newest: Box<dyn Fn() -> u64 + Send + Sync>,
    pub(crate) counters: Counters,
}

/// What the runner counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    done: AtomicU64,
    stored: AtomicU64,
    /// `time_dt` of the oldest record that is read and not done with; 0 if none is.
    pending_since: AtomicI64,
    delivered: AtomicU64,
    retries: AtomicU64,
    refused: AtomicU64,
    missed: AtomicU64,
}

impl SinkStatus {
    pub(crate) fn new(name: String, newest: impl Fn() -> u64 + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            name,
            newest: Box::new(newest),
            counters: Counters::default(),
        })
    }

    /// The sink's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of the last record that is done with: delivered, not wanted by the filter, or refused by the far
    /// side. Every record before it is done with, too.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.counters.done.load(Ordering::Acquire)
    }

    /// The same, as it is on disk: a restart goes on behind it.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.counters.stored.load(Ordering::Acquire)
    }

    /// Records that are in the log and not done with.
    #[must_use]
    pub fn lag_records(&self) -> u64 {
        (self.newest)().saturating_sub(self.done())
    }

    /// Age of the oldest record that is not done with, in seconds; 0 if there is none.
    #[must_use]
    pub fn lag_seconds(&self) -> f64 {
        let since = self.counters.pending_since.load(Ordering::Relaxed);
        if since == 0 || self.lag_records() == 0 {
            return 0.0;
        }
        let since_epoch = u64::try_from(since).unwrap_or_default();
        let age = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .saturating_sub(std::time::Duration::from_nanos(since_epoch));
        age.as_secs_f64()
    }

    /// Records that the far side has acknowledged, those that were sent again counted once.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.counters.delivered.load(Ordering::Relaxed)
    }

    /// Attempts that failed and were made again.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.counters.retries.load(Ordering::Relaxed)
    }

    /// Records that the far side will never take. Each one's number is in the daemon's log.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counters.refused.load(Ordering::Relaxed)
    }

    /// Records that retention removed, or damage took, before this sink read them.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.counters.missed.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn set_done(&self, number: u64) {
        self.done.store(number, Ordering::Release);
    }

    pub(crate) fn set_stored(&self, number: u64) {
        self.stored.store(number, Ordering::Release);
    }

    pub(crate) fn set_pending_since(&self, time: i64) {
        self.pending_since.store(time, Ordering::Relaxed);
    }

    pub(crate) fn add_delivered(&self, records: usize) {
        self.delivered.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_missed(&self, records: u64) {
        self.missed.fetch_add(records, Ordering::Relaxed);
    }
}

impl fmt::Debug for SinkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkStatus")
            .field("name", &self.name)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
