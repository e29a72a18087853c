//! Which records arrived, by their numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted by one thread, read by another.
#[derive(Default)]
pub struct Seen {
    last: AtomicU64,
    missing: AtomicU64,
    twice: AtomicU64,
}

impl Seen {
    /// For a reader that begins with this record.
    pub fn from(first: u64) -> Self {
        Self {
            last: AtomicU64::new(first - 1),
            ..Self::default()
        }
    }

    /// A record arrived.
    pub fn saw(&self, number: u64) {
        let last = self.last();
        match number.checked_sub(last + 1) {
            Some(missing) => {
                self.missing.fetch_add(missing, Ordering::Relaxed);
                self.last.store(number, Ordering::Relaxed);
            }
            None => {
                self.twice.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The highest number.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// How many below that did not arrive in their order.
    pub fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// How many arrived again.
    pub fn twice(&self) -> u64 {
        self.twice.load(Ordering::Relaxed)
    }
}
