//! The audit log: [`hoop_log`] with what the daemon needs around it, for writing and for reading.

pub mod health;
pub mod key;
pub mod log;
pub mod read;
mod reserve;
mod waiting;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Where the log of a state directory is.
#[must_use]
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("audit")
}

/// Number of the first record that some sink has not delivered: what retention waits for. Clones are
/// handles to the same.
#[derive(Clone, Debug)]
pub struct Unread(Arc<AtomicU64>);

impl Default for Unread {
    /// Nothing is waited for.
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl Unread {
    /// The number; `u64::MAX` if no sink waits.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Says how far the slowest sink is.
    pub fn set_first(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }
}
