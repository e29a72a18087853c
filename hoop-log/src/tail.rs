//! The end of a log that is being written, for readers in the same process.

use tokio::sync::watch;

/// Where the last committed record is. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Tail(watch::Receiver<u64>);

/// The writer is gone: no record will follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log is not written any more")]
pub struct Closed;

impl Tail {
    pub(crate) fn new(last: watch::Receiver<u64>) -> Self {
        Self(last)
    }

    /// Number of the last committed record; 0 if there is none.
    pub fn last(&self) -> u64 {
        *self.0.borrow()
    }

    /// Waits for a committed record behind this one, and gives the number of the last.
    ///
    /// # Errors
    ///
    /// None will come.
    pub async fn wait_beyond(&mut self, number: u64) -> Result<u64, Closed> {
        let last = self.0.wait_for(|&last| last > number).await;
        last.map(|last| *last).map_err(|_| Closed)
    }
}
