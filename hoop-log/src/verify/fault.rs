//! What is not as it was written.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::note::NoteError;

/// The first thing in a log that is not as it was written.
#[derive(Debug)]
pub struct Fault {
    /// Number of the first record that is not what was written, or not there. None if it is no record.
    pub record: Option<u64>,
    /// The file that it was found in.
    pub file: Option<PathBuf>,
    /// How it is not as it was written.
    pub what: What,
}

/// How something is not as it was written.
#[derive(Debug, thiserror::Error)]
pub enum What {
    /// There is no log.
    #[error("there is no log")]
    NoLog,
    /// A record is not the one that was written.
    #[error("the record was changed")]
    Changed,
    /// Records are missing between two others.
    #[error("records were removed: the next that is there is {next}")]
    Removed {
        /// Number of the first behind them.
        next: u64,
    },
    /// Another record stands in the place of this.
    #[error("record {with} stands in its place: the two were swapped")]
    Swapped {
        /// Number of the other.
        with: u64,
    },
    /// Records are not those that were signed, although each names the one before.
    #[error(
        "the root of the checkpoint differs: this record was changed, or all from record {from} on \
         were written anew"
    )]
    Root {
        /// The first that may be another.
        from: u64,
    },
    /// Bytes that are no message.
    #[error("the bytes there are no record, nor anything else that a log has")]
    Malformed,
    /// A file ends inside of a message, or without what has to stand at its end.
    #[error("the file ends too early")]
    Cut,
    /// Records behind the last checkpoint, or part of one: not committed.
    #[error(
        "{bytes} bytes behind the last checkpoint were never committed (a crash, if nobody writes the log: its next start cuts them off), or a checkpoint was removed"
    )]
    Uncommitted {
        /// How much.
        bytes: u64,
    },
    /// A segment is missing. The record is its first.
    #[error("a segment is missing")]
    SegmentMissing,
    /// A log is missing.
    #[error("log {counter} is missing")]
    LogMissing {
        /// Its place in the order.
        counter: u64,
    },
    /// The first records are missing, and no record says that retention removed so many.
    #[error(
        "the records before {first_kept} are missing, and no record says that they were removed"
    )]
    FirstMissing {
        /// Number of the first that is there.
        first_kept: u64,
    },
    /// The start of a segment does not fit what is before it.
    #[error("the start of the segment is not what was before it")]
    Start,
    /// The end of a segment is not where or what it should be.
    #[error("the end of the segment is not what was written")]
    End,
    /// A sealed segment's file was changed, though what it says was not.
    #[error("the sealed file is not the one that was written")]
    Sealed,
    /// A checkpoint is none, or not signed by the log's key.
    #[error("the checkpoint behind it: {0}")]
    Checkpoint(NoteError),
    /// A checkpoint of another tree size than there are records before it.
    #[error("the checkpoint is another's: it is of {says} records, and {are} are before it")]
    Size {
        /// How many it says.
        says: u64,
        /// How many there are.
        are: u64,
    },
    /// A checkpoint with another log's name.
    #[error("the checkpoint is another log's: {origin}")]
    Origin {
        /// That name.
        origin: String,
    },
    /// The key beside a log is missing or none.
    #[error("the log's key.pub is missing, or is no verifier key")]
    Key,
    /// The log is signed by a key that was not given, and no later log that was vouches for it.
    #[error("the log is signed by another key: {key}")]
    OtherKey {
        /// The key that it is signed by.
        key: String,
    },
    /// The checkpoint that was given is of no log that is here.
    #[error("the given checkpoint is of no log here ({0})")]
    GivenUnknown(NoteError),
    /// The checkpoint that was given is of more records than there are.
    #[error("the log is shorter than the given checkpoint: {are} records of {says}")]
    Shorter {
        /// How many it says.
        says: u64,
        /// How many there are.
        are: u64,
    },
    /// The checkpoint that was given has another root.
    #[error("the log is not the one that the given checkpoint was made of")]
    GivenRoot,
    /// The checkpoint that was given is of records of which some are not kept, and so it says nothing of what is.
    #[error("the given checkpoint is older than what is kept")]
    GivenGone,
    /// No record of the range is there.
    #[error("no record of the range is there")]
    NoRange,
    /// A file could not be read.
    #[error("{0}")]
    Io(io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(record) = self.record {
            write!(formatter, "record {record}: ")?;
        }
        write!(formatter, "{}", self.what)?;
        if let Some(file) = &self.file {
            write!(formatter, " ({})", file.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
