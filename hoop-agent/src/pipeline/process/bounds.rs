//! What keeps the table small.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hoop_common::event::ProcessKey;

/// Bounds of a [`super::ProcessTable`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Processes at most.
    pub processes: usize,
    /// Bytes of text at most, about.
    pub bytes: usize,
    /// How long a process is remembered after its exit, in nanoseconds: events that other CPUs
    /// reported may still arrive.
    pub grace_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes: hoop_common::limits::MAX_PROCESSES as usize,
            bytes: 24 << 20,
            grace_ns: 5_000_000_000,
        }
    }
}

/// Bytes that count against [`Limits::bytes`] as long as this exists.
#[derive(Debug)]
pub(super) struct Charge {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Charge {
    pub(super) fn new(total: Arc<AtomicUsize>, bytes: usize) -> Self {
        total.fetch_add(bytes, Ordering::Relaxed);
        Self { total, bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The processes that were evicted last, so that records can say so.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<ProcessKey>,
    keys: HashSet<ProcessKey>,
}

impl Recent {
    const MAX: usize = 16_384;

    pub(super) fn add(&mut self, key: ProcessKey) {
        if self.keys.insert(key) {
            self.order.push_back(key);
        }
        if self.order.len() > Self::MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, key: ProcessKey) -> bool {
        self.keys.contains(&key)
    }
}
