//! What can go wrong.

use std::io;

/// Why the log did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another process writes this log.
    #[error("another process writes this log")]
    Locked,
    /// The body of a record is longer than a segment's message may be.
    #[error("a record is longer than 16 MiB")]
    TooLarge,
    /// There is as much to be committed as a commit takes.
    #[error("there is too much to be committed at once")]
    BatchFull,
    /// Retention removed the record.
    #[error("the record is not kept any more: the first that is kept is {first_kept}")]
    Gone {
        /// Number of the first record that is kept.
        first_kept: u64,
    },
    /// There is no such record, or not yet.
    #[error("there is no record {number}")]
    NoRecord {
        /// The number.
        number: u64,
    },
    /// The log is not what was written. `verify` says how.
    #[error("the log is damaged at record {number}")]
    Damaged {
        /// Number of the first record that cannot be read.
        number: u64,
        /// Number of a record from which on it may be readable again.
        resume: Option<u64>,
    },
}
