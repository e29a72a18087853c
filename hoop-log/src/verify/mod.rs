//! Checks that a log is what was written.

pub(crate) mod fault;
mod walk;

use std::cell::Cell;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::key::VerifierKey;
use crate::layout::{self, LogDir, Segment};
use crate::note::{Checkpoint, NoteError};
use crate::verify::fault::{Fault, What};
use crate::verify::walk::{Ended, Walk};

/// How many records of a log may say which log it follows: the caller of `Writer::open` writes one among its first.
const FOLLOWS_WITHIN: u64 = 16;

/// What to check a log against.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keys that are trusted. If there are none, each log is checked by the key beside it, which shows damage, but
    /// not that somebody wrote all of it anew.
    pub keys: Vec<VerifierKey>,
    /// A checkpoint that was kept elsewhere: the log has to be a continuation of that.
    pub checkpoint: Option<String>,
    /// Check no more than the segments that have these records.
    pub range: Option<RangeInclusive<u64>>,
    /// The log is being written: what is behind the last checkpoint is not looked at.
    pub live: bool,
}

/// What a record says of the log itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Retention removed all records up to this one.
    Removed {
        /// Its number.
        through: u64,
    },
    /// The log follows the one that has this last checkpoint.
    Follows {
        /// A signed note.
        checkpoint: String,
    },
}

/// A log, or a range of it, is what was written.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Number of the first record that was checked.
    pub first: u64,
    /// Number of the last; one less than `first` if there is none.
    pub last: u64,
    /// The logs that have these records, oldest first.
    pub logs: Vec<VerifiedLog>,
}

/// One of the logs.
#[derive(Clone, Debug)]
pub struct VerifiedLog {
    /// Its place in the order.
    pub counter: u64,
    /// The key that it is signed by.
    pub key: VerifierKey,
    /// Its last checkpoint that was checked, a signed note. Empty if nothing was committed to it.
    pub checkpoint: String,
}

/// Checks everything there is to check: the links from record to record, the tree, all checkpoints, that nothing is missing
/// between, before and behind.
///
/// `told` says what a record says of the log itself; it is asked for some records only. `progress` is
/// called now and then with the bytes that were read and how many there are.
///
/// # Errors
///
/// The first thing that is not as it was written.
pub fn verify(
    dir: &Path,
    options: &Options,
    told: &dyn Fn(&[u8]) -> Option<Told>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, Fault> {
    let logs = layout::logs(dir).map_err(io_fault)?;
    let mut all = Vec::new();
    for log in logs {
        let segments = log.segments().map_err(io_fault)?;
        all.push((log, segments));
    }
    let Some((_, firsts)) = all.first() else {
        return Err(What::NoLog.nowhere());
    };
    for window in all.windows(2) {
        let expected = window[0].0.counter + 1;
        if window[1].0.counter != expected {
            return Err(What::LogMissing { counter: expected }.nowhere());
        }
    }
    let first_kept = firsts.first().map_or(1, |segment| segment.first);
    let (chosen, complete) = choose(all, options.range.as_ref());
    if chosen.iter().all(|(_, segments)| segments.is_empty()) && options.range.is_some() {
        return Err(What::NoRange.nowhere());
    }

    let mut total = 0;
    for segment in chosen.iter().flat_map(|(_, segments)| segments) {
        let file = segment.clone().open().map_err(io_fault)?;
        total += file.metadata().map_err(io_fault)?.len();
    }
    let read = Cell::new(0);
    let mut check = Check {
        options,
        told,
        progress,
        read: &read,
        total,
        first_kept,
        removed_through: 0,
        unended: None,
        given: None,
    };
    let verified = check.logs(chosen, complete)?;
    (check.progress)(total, total);
    check.finish()?;
    Ok(verified)
}

/// What goes on from log to log.
struct Check<'a> {
    options: &'a Options,
    told: &'a dyn Fn(&[u8]) -> Option<Told>,
    progress: &'a mut dyn FnMut(u64, u64),
    /// Bytes that were read, counted where they are read.
    read: &'a Cell<u64>,
    total: u64,
    first_kept: u64,
    removed_through: u64,
    /// What has no end though another follows: a crash, if that has no records.
    unended: Option<Fault>,
    /// What became of the checkpoint that was given.
    given: Option<Given>,
}

/// What became of the checkpoint that was given.
enum Given {
    Found,
    /// Its log is here, and has so many records.
    Shorter {
        says: u64,
        are: u64,
        next: u64,
    },
    Gone,
}

/// A log that was walked through.
struct Walked {
    log: VerifiedLog,
    /// Whether one of its first records names the last checkpoint of the log before.
    vouches: bool,
}

impl Check<'_> {
    fn logs(
        &mut self,
        chosen: Vec<(LogDir, Vec<Segment>)>,
        complete: bool,
    ) -> Result<Verified, Fault> {
        let mut next = None;
        let mut first = None;
        let mut walked: Vec<Walked> = Vec::new();
        let count = chosen.len();
        for (position, (log, segments)) in chosen.into_iter().enumerate() {
            let key = log.key().map_err(|err| match err.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::NotFound => {
                    What::Key.at(next, log.path.join(layout::KEY))
                }
                _ => io_fault(err),
            })?;
            let last_log = complete && position + 1 == count;
            // What follows is not looked at.
            let range_ends = !complete && position + 1 == count;
            let Some(start) = segments.first() else {
                return Err(What::SegmentMissing.at(next, log.path));
            };
            first.get_or_insert(start.first);
            let before = walked.last().map(|walked| &walked.log);
            let mut walk = Walk::new(&log, key, next, before);
            let last = segments.len() - 1;
            for (position, segment) in segments.into_iter().enumerate() {
                let path = segment.path();
                let ended = walk.segment(self, segment, last_log && position == last)?;
                let unended = What::Cut.at(Some(walk.next()), path.clone());
                match (ended, position == last) {
                    (Ended::Full, true) if !range_ends => {
                        return Err(What::SegmentMissing.at(Some(walk.next()), path));
                    }
                    (Ended::Closed, true) if last_log => {
                        let counter = log.counter + 1;
                        return Err(What::LogMissing { counter }.at(Some(walk.next()), path));
                    }
                    (Ended::Closed, false) => return Err(What::End.at(Some(walk.next()), path)),
                    (Ended::Not, is_last) if !(is_last && (last_log || range_ends)) => {
                        self.unended = Some(unended);
                    }
                    _ => {}
                }
            }
            next = Some(walk.unproven());
            self.take_given(&walk);
            walked.push(walk.finish());
        }
        self.trust(&walked)?;
        let next = next.unwrap_or(1);
        Ok(Verified {
            first: first.unwrap_or(1),
            last: next - 1,
            logs: walked.into_iter().map(|walked| walked.log).collect(),
        })
    }

    fn take_given(&mut self, walk: &Walk<'_>) {
        if let Some(given) = walk.given()
            && !matches!(self.given, Some(Given::Found))
        {
            self.given = Some(given);
        }
    }

    /// Each log is signed by a key that was given, or the next log, which is, names its last checkpoint.
    fn trust(&self, walked: &[Walked]) -> Result<(), Fault> {
        let keys = &self.options.keys;
        let mut vouched = false;
        let mut untrusted = None;
        for walked in walked.iter().rev() {
            let trusted = keys.is_empty() || keys.contains(&walked.log.key) || vouched;
            if !trusted {
                untrusted = Some(walked.log.key.to_string());
            }
            vouched = trusted && walked.vouches;
        }
        match untrusted {
            Some(key) => Err(What::OtherKey { key }.nowhere()),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<(), Fault> {
        if self.options.range.is_none() && self.removed_through + 1 < self.first_kept {
            let first_kept = self.first_kept;
            let record = Some(self.removed_through + 1);
            let what = What::FirstMissing { first_kept };
            return Err(Fault {
                record,
                file: None,
                what,
            });
        }
        let Some(note) = &self.options.checkpoint else {
            return Ok(());
        };
        match self.given {
            Some(Given::Found) => Ok(()),
            Some(Given::Shorter { .. } | Given::Gone) if self.options.range.is_some() => Ok(()),
            Some(Given::Shorter { says, are, next }) => Err(Fault {
                record: Some(next),
                file: None,
                what: What::Shorter { says, are },
            }),
            Some(Given::Gone) => Err(What::GivenGone.nowhere()),
            None => {
                let read = Checkpoint::read(note).err();
                Err(What::GivenUnknown(read.unwrap_or(NoteError::NotSigned)).nowhere())
            }
        }
    }

    /// Asks what a record says of the log, if it can matter.
    fn ask(&mut self, bytes: &[u8], first_of_log: bool) -> Option<String> {
        let removed = self.removed_through + 1 < self.first_kept;
        if !removed && !first_of_log {
            return None;
        }
        match (self.told)(bytes)? {
            Told::Removed { through } => {
                self.removed_through = self.removed_through.max(through);
                None
            }
            Told::Follows { checkpoint } => first_of_log.then_some(checkpoint),
        }
    }
}

impl What {
    fn at(self, record: Option<u64>, file: std::path::PathBuf) -> Fault {
        Fault {
            record,
            file: Some(file),
            what: self,
        }
    }

    fn nowhere(self) -> Fault {
        Fault {
            record: None,
            file: None,
            what: self,
        }
    }
}

fn io_fault(err: io::Error) -> Fault {
    What::Io(err).nowhere()
}

type Chosen = Vec<(LogDir, Vec<Segment>)>;

/// The segments that have records of the range, and whether the last of them is among these.
fn choose(all: Chosen, range: Option<&RangeInclusive<u64>>) -> (Chosen, bool) {
    let Some(range) = range else {
        return (all, true);
    };
    let firsts = all.iter().flat_map(|(_, segments)| segments);
    let firsts: Vec<u64> = firsts.map(|segment| segment.first).collect();
    let last = firsts.last().copied();
    let mut ends = firsts.into_iter().skip(1).chain([u64::MAX]);
    let mut complete = false;
    let mut chosen = Vec::new();
    for (log, segments) in all {
        let mut kept = segments;
        kept.retain(|segment| {
            let end = ends.next().unwrap_or(u64::MAX);
            let wanted = segment.first <= *range.end() && end > *range.start();
            complete |= wanted && Some(segment.first) == last;
            wanted
        });
        if !kept.is_empty() {
            chosen.push((log, kept));
        }
    }
    (chosen, complete)
}
