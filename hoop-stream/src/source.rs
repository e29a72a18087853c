//! Where records come from: what sinks and the gRPC stream need of the audit log.

use std::future::Future;
use std::io;

use bytes::Bytes;

/// The audit log, from which any number of readers can be opened.
pub trait Log: Clone + Send + Sync + 'static {
    /// A reader of it.
    type Source: Source;

    /// A reader that stands before the record `from`. 0 and 1 are both the first record there ever was.
    fn open(&self, from: u64) -> Self::Source;

    /// Number of the newest record that readers can see; 0 if there is none.
    fn last(&self) -> u64;
}

/// A reader of the log with a position of its own.
pub trait Source: Send + 'static {
    /// The next records in order, at least one, at most what `limit` says. Waits at the end of the log.
    ///
    /// Cancel safe: a future that is dropped takes nothing with it.
    fn next(
        &mut self,
        limit: Limit,
    ) -> impl Future<Output = Result<Vec<Entry>, SourceError>> + Send;
}

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `Record.number`.
    pub number: u64,
    /// The encoded `hoop.v1.Record`, whole.
    pub record: Bytes,
}

/// How much a reader may return at once. A single record larger than `bytes` is returned alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Records.
    pub records: usize,
    /// Bytes of encoded records.
    pub bytes: usize,
}

/// Why there is no next record.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Retention removed what stood next. The reader now stands before `first_kept`.
    #[error("records before {first_kept} are not kept any more")]
    Gone {
        /// Number of the oldest record that is kept.
        first_kept: u64,
    },
    /// What stands next is not what was written. The reader now stands before `next`.
    #[error("records before {next} are damaged")]
    Damaged {
        /// Number of the next record that can be read.
        next: u64,
    },
    /// The log was closed and everything in it is read.
    #[error("the log is closed")]
    Closed,
    /// The log could not be read. Asking again may help.
    #[error("read the log: {0}")]
    Io(#[from] io::Error),
}
