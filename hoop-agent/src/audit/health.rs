//! How the audit log is, for any thread to ask.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// A handle; clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<State>);

#[derive(Debug, Default)]
struct State {
    enforcing: AtomicBool,
    failing: AtomicBool,
    oldest: AtomicU64,
    bytes: AtomicU64,
    waiting: AtomicU64,
}

impl Health {
    /// Whether the daemon does its work: policies are in force, and records are written.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn ready(&self) -> Result<(), String> {
        if !self.0.enforcing.load(Relaxed) {
            return Err("policies are not in force yet".to_owned());
        }
        if self.0.failing.load(Relaxed) {
            return Err("records cannot be written".to_owned());
        }
        Ok(())
    }

    /// Policies are in force.
    pub fn set_enforcing(&self) {
        self.0.enforcing.store(true, Relaxed);
    }

    /// Number of the oldest record that is kept.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.0.oldest.load(Relaxed)
    }

    /// Bytes of the log on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Relaxed)
    }

    /// Bytes of records that wait to be written.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.0.waiting.load(Relaxed)
    }

    pub(super) fn set_failing(&self, failing: bool, waiting: usize) {
        self.0.failing.store(failing, Relaxed);
        self.0.waiting.store(waiting as u64, Relaxed);
    }

    pub(super) fn set_kept(&self, oldest: u64, bytes: u64) {
        self.0.oldest.store(oldest, Relaxed);
        self.0.bytes.store(bytes, Relaxed);
    }
}
