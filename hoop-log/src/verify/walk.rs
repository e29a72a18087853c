//! Through one log, record by record.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};

use memchr::memmem;

use crate::chain::{Chain, Unlinked};
use crate::key::VerifierKey;
use crate::layout::{LogDir, Segment};
use crate::merkle::leaf_hash;
use crate::note::{Checkpoint, latest_signed};
use crate::sealed::{self, Decoder};
use crate::segment::{Broken, Message, Messages, Record, SegmentStart, record_head};
use crate::verify::fault::{Fault, What};
use crate::verify::{Check, FOLLOWS_WITHIN, Given, VerifiedLog, Walked, io_fault};

/// After how many bytes the caller hears of the progress.
const STEP: u64 = 1 << 20;

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Not: it is written to.
    Not,
    /// Not, and there is something behind the last checkpoint, which is being written.
    Live,
    /// Another follows.
    Full,
    /// The log is closed.
    Closed,
}

/// One log.
pub(super) struct Walk<'a> {
    log: LogDir,
    key: VerifierKey,
    /// Number of the first record, if that is known before it is read.
    expected: Option<u64>,
    before: Option<&'a VerifiedLog>,
    chain: Option<Chain>,
    /// The last checkpoint, and the number of the first record that it does not prove.
    note: String,
    unproven: u64,
    /// Offset behind that checkpoint in its segment.
    committed: u64,
    origin: Option<String>,
    vouches: bool,
    given: Option<Checkpoint>,
    given_state: Option<Given>,
}

type Input<'a> = Messages<Box<dyn Read + 'a>>;

impl<'a> Walk<'a> {
    pub(super) fn new(
        log: &LogDir,
        key: VerifierKey,
        expected: Option<u64>,
        before: Option<&'a VerifiedLog>,
    ) -> Self {
        Self {
            log: log.clone(),
            key,
            expected,
            before,
            chain: None,
            note: String::new(),
            unproven: expected.unwrap_or(1),
            committed: 0,
            origin: None,
            vouches: false,
            given: None,
            given_state: None,
        }
    }

    /// Number of the first record that no checkpoint proves.
    pub(super) fn unproven(&self) -> u64 {
        self.unproven
    }

    /// Number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.chain
            .as_ref()
            .map_or(self.expected.unwrap_or(1), Chain::next)
    }

    /// What became of the checkpoint that was given, if it is this log's.
    pub(super) fn given(&self) -> Option<Given> {
        let (given, chain) = (self.given.as_ref()?, self.chain.as_ref()?);
        Some(match &self.given_state {
            Some(Given::Found) => Given::Found,
            Some(Given::Gone) => Given::Gone,
            _ => Given::Shorter {
                says: given.size,
                are: self.unproven - chain.log_first(),
                next: self.unproven,
            },
        })
    }

    pub(super) fn finish(self) -> Walked {
        Walked {
            log: VerifiedLog {
                counter: self.log.counter,
                key: self.key,
                checkpoint: self.note,
            },
            vouches: self.vouches,
        }
    }

    /// Goes through a segment. `last` is the one that is written to, if any is.
    pub(super) fn segment(
        &mut self,
        check: &mut Check<'_>,
        mut segment: Segment,
        last: bool,
    ) -> Result<Ended, Fault> {
        let file = segment.open().map_err(io_fault)?;
        let path = segment.path();
        let read = check.read;
        let counted = Counted { file, read };
        let input: Box<dyn Read> = if segment.sealed {
            Box::new(Decoder::new(counted).map_err(io_fault)?)
        } else {
            Box::new(counted)
        };
        let mut input = Messages::new(input);
        let ended = self.messages(check, &mut input, &segment, last);
        let ended = ended.map_err(|(record, what)| what.at(record, path.clone()))?;
        if segment.sealed {
            let file = File::open(&path).map_err(io_fault)?;
            if !sealed::is_whole(file).map_err(io_fault)? {
                return Err(What::Sealed.at(None, path));
            }
        }
        Ok(ended)
    }

    fn messages(
        &mut self,
        check: &mut Check<'_>,
        input: &mut Input<'_>,
        segment: &Segment,
        last: bool,
    ) -> Result<Ended, (Option<u64>, What)> {
        let mut unended = check.unended.take();
        self.start(check, input, segment)?;
        self.committed = input.offset();
        let mut told = check.read.get();
        loop {
            if check.read.get() - told >= STEP {
                told = check.read.get();
                (check.progress)(told, check.total);
            }
            let next = self.next();
            let message = match input.next() {
                Ok(message) => message,
                Err(broken) => {
                    return match self.broken(broken, input, segment, last) {
                        _ if last && check.options.live => Ok(Ended::Live),
                        fault => Err(fault),
                    };
                }
            };
            let Some(message) = message else {
                if next == self.unproven {
                    return Ok(Ended::Not);
                }
                if last && check.options.live {
                    return Ok(Ended::Live);
                }
                return Err(self.uncommitted(segment));
            };
            if let Some(fault) = unended.take() {
                return Err((fault.record, fault.what));
            }
            match message {
                Message::Record(record) => {
                    let Some(chain) = &mut self.chain else {
                        return Err((Some(next), What::Start));
                    };
                    if let Err(unlinked) = chain.push(&record) {
                        let record = Kept::of(&record);
                        return Err(self.unlinked(unlinked, &record, input));
                    }
                    let position = next - chain.log_first();
                    let early = self.before.is_some() && position < FOLLOWS_WITHIN;
                    if (early || check.removed_through + 1 < check.first_kept)
                        && let Some(note) = check.ask(record.bytes, early)
                    {
                        self.vouches |= self.before.is_some_and(|before| names(&note, before));
                    }
                    self.meet_given()?;
                }
                Message::Checkpoint(note) => {
                    self.checkpoint(note, input)?;
                    self.committed = input.offset();
                }
                Message::End(end) => {
                    if next != self.unproven || !matches!(input.next(), Ok(None)) {
                        return Err((Some(self.unproven), What::End));
                    }
                    return Ok(if end.closed {
                        Ended::Closed
                    } else {
                        Ended::Full
                    });
                }
                Message::Start(_) => return Err((Some(next), What::Start)),
            }
        }
    }

    /// The start of a segment.
    fn start(
        &mut self,
        check: &Check<'_>,
        input: &mut Input<'_>,
        segment: &Segment,
    ) -> Result<(), (Option<u64>, What)> {
        let wrong = (Some(segment.first), What::Start);
        let next = self.chain.as_ref().map(Chain::next).or(self.expected);
        if next.is_some_and(|next| segment.first > next) {
            return Err((next, What::SegmentMissing));
        }
        let start = match input.next() {
            Ok(Some(Message::Start(start))) if start.first == segment.first => start,
            Err(Broken::Io(err)) if err.kind() != io::ErrorKind::InvalidData => {
                return Err((None, What::Io(err)));
            }
            _ => return Err(wrong),
        };
        if let Some(chain) = &self.chain {
            let fits = start == chain.start(self.note.clone());
            return if fits { Ok(()) } else { Err(wrong) };
        }
        let Some(chain) = Chain::of(&start) else {
            return Err(wrong);
        };
        if chain.tree().size() > 0 {
            // A log that comes after another is there from its first record on.
            if self.expected.is_some() {
                return Err((self.expected, What::SegmentMissing));
            }
            let open = Checkpoint::open(&start.checkpoint, &self.key);
            let checkpoint = open.map_err(|err| (wrong.0, What::Checkpoint(err)))?;
            if !chain.is(&checkpoint) {
                return Err(wrong);
            }
            self.named(&checkpoint)?;
        }
        if next.is_some_and(|next| next != start.first) {
            return Err(wrong);
        }
        let SegmentStart {
            first, checkpoint, ..
        } = start;
        self.note = checkpoint;
        self.unproven = first;
        self.chain = Some(chain);
        self.give(check)
    }

    fn checkpoint(
        &mut self,
        note: String,
        input: &mut Input<'_>,
    ) -> Result<(), (Option<u64>, What)> {
        let (from, next) = (self.unproven, self.next());
        let open = Checkpoint::open(&note, &self.key);
        let checkpoint = open.map_err(|err| (Some(from), What::Checkpoint(err)))?;
        self.named(&checkpoint)?;
        let Some(chain) = &self.chain else {
            return Err((Some(next), What::Start));
        };
        let (says, are) = (checkpoint.size, chain.tree().size());
        if says > are {
            let behind = chain.log_first().saturating_add(says);
            return Err((Some(next), What::Removed { next: behind }));
        }
        // Every commit has a record at least.
        if says < are || next == from {
            return Err((Some(from), What::Size { says, are }));
        }
        if !chain.is(&checkpoint) {
            let (last, previous) = (next - 1, chain.previous());
            let follows = match input.peek() {
                Some(Message::Record(record)) => Some(record.previous == previous),
                _ => None,
            };
            return Err(match follows {
                _ if from == last => (Some(last), What::Changed),
                Some(false) => (Some(last), What::Changed),
                Some(true) => (Some(from), What::Root { from }),
                None => (Some(last), What::Root { from }),
            });
        }
        self.note = note;
        self.unproven = next;
        Ok(())
    }

    /// Checkpoints have the name of the log: the key's, alone or with the log's place behind it.
    fn named(&mut self, checkpoint: &Checkpoint) -> Result<(), (Option<u64>, What)> {
        let origin = &checkpoint.origin;
        let fits = match &self.origin {
            Some(known) => known == origin,
            None => self.may_be(origin),
        };
        if !fits {
            let origin = origin.clone();
            return Err((Some(self.unproven), What::Origin { origin }));
        }
        if self.origin.is_none() {
            self.origin = Some(origin.clone());
        }
        Ok(())
    }

    fn may_be(&self, origin: &str) -> bool {
        let rest = origin.strip_prefix(self.key.name());
        let place = format!("/{:010}", self.log.counter);
        rest.is_some_and(|rest| rest.is_empty() || rest == place)
    }

    /// Takes the checkpoint that was given, if it is this log's.
    fn give(&mut self, check: &Check<'_>) -> Result<(), (Option<u64>, What)> {
        let Some(note) = &check.options.checkpoint else {
            return Ok(());
        };
        let given = Checkpoint::open(note, &self.key).ok();
        self.given = given.filter(|given| match &self.origin {
            Some(origin) => *origin == given.origin,
            None => self.may_be(&given.origin),
        });
        if let (Some(given), Some(chain)) = (&self.given, &self.chain)
            && given.size < chain.tree().size()
        {
            self.given_state = Some(Given::Gone);
        }
        self.meet_given()
    }

    /// Compares the checkpoint that was given, where it is of the records so far.
    fn meet_given(&mut self) -> Result<(), (Option<u64>, What)> {
        if let (Some(given), Some(chain)) = (&self.given, &self.chain)
            && given.size == chain.tree().size()
        {
            if !chain.is(given) {
                return Err((Some(chain.next() - 1), What::GivenRoot));
            }
            self.given_state = Some(Given::Found);
        }
        Ok(())
    }

    /// What it means that there is no next message.
    fn broken(
        &self,
        broken: Broken,
        input: &Input<'_>,
        segment: &Segment,
        last: bool,
    ) -> (Option<u64>, What) {
        match broken {
            Broken::Incomplete if last && !self.is_signed(input.around()) => {
                self.uncommitted(segment)
            }
            Broken::Incomplete => self.lost(What::Cut, input),
            Broken::Malformed => self.lost(What::Malformed, input),
            // A sealed file that is no zstd, or ends too early.
            Broken::Io(err) if err.kind() == io::ErrorKind::InvalidData => {
                (Some(self.next()), What::Malformed)
            }
            Broken::Io(err) if err.kind() == io::ErrorKind::UnexpectedEof => {
                (Some(self.next()), What::Cut)
            }
            Broken::Io(err) => (None, What::Io(err)),
        }
    }

    fn uncommitted(&self, segment: &Segment) -> (Option<u64>, What) {
        let length = segment
            .path()
            .metadata()
            .map_or(0, |metadata| metadata.len());
        let bytes = length.saturating_sub(self.committed);
        (Some(self.unproven), What::Uncommitted { bytes })
    }

    /// Whether there is a checkpoint in the bytes that is later than the last.
    fn is_signed(&self, bytes: &[u8]) -> bool {
        let proven = self
            .chain
            .as_ref()
            .map_or(0, |chain| self.unproven - chain.log_first());
        latest_signed(bytes, &self.key).is_some_and(|checkpoint| checkpoint.size > proven)
    }

    /// Where what stands next is no message: either that was changed, or the length of the record before.
    fn lost(&self, what: What, input: &Input<'_>) -> (Option<u64>, What) {
        let next = self.next();
        if self.is_longer_or_shorter(input) {
            (Some(next - 1), What::Changed)
        } else {
            (Some(next), what)
        }
    }

    /// Whether the record before is longer or shorter than it was: what follows it is somewhere near, and names
    /// another.
    fn is_longer_or_shorter(&self, input: &Input<'_>) -> bool {
        let Some(chain) = self
            .chain
            .as_ref()
            .filter(|chain| chain.next() > self.unproven)
        else {
            return false;
        };
        let head = record_head(chain.next());
        let mut following = memmem::find_iter(input.around(), &head);
        if let Some(at) = following.next() {
            let link = input.around()[at + head.len()..].first_chunk();
            return link.is_some_and(|&link| u64::from_le_bytes(link) != chain.previous());
        }
        let signed = latest_signed(input.around(), &self.key);
        signed.is_some_and(|checkpoint| {
            checkpoint.size == chain.tree().size() && !chain.is(&checkpoint)
        })
    }

    /// Which record it is that does not fit.
    fn unlinked(
        &self,
        unlinked: Unlinked,
        record: &Kept,
        input: &mut Input<'_>,
    ) -> (Option<u64>, What) {
        let next = self.next();
        let previous = self.chain.as_ref().map_or(0, Chain::previous);
        if unlinked == Unlinked::Number && self.is_longer_or_shorter(input) {
            return (Some(next - 1), What::Changed);
        }
        let following = input.peek();
        let following = match &following {
            Some(Message::Record(record)) => Some(record),
            _ => None,
        };
        match unlinked {
            Unlinked::Number => {
                // Only its number is another: all else fits.
                let fits = record.previous == previous;
                let with = record.number;
                let what = match following {
                    _ if fits => What::Changed,
                    Some(following) if with == next + 1 && following.number == next => {
                        What::Swapped { with }
                    }
                    Some(following) if following.number == next + 1 => What::Swapped { with },
                    _ if with > next => What::Removed { next: with },
                    _ => What::Changed,
                };
                (Some(next), what)
            }
            Unlinked::Previous => {
                // Either the record before is another, or what this one says of it.
                let proven = next == self.unproven;
                let whole = match &following {
                    Some(following) => {
                        following.number != next + 1 || following.previous == record.hash
                    }
                    None => !self.is_mended_by(record, previous, input),
                };
                let before = next - u64::from(whole && !proven);
                (Some(before), What::Changed)
            }
        }
    }

    /// Whether the next checkpoint is of the record with the link that it should have.
    fn is_mended_by(&self, record: &Kept, previous: u64, input: &mut Input<'_>) -> bool {
        let Some(mut chain) = self.chain.clone() else {
            return false;
        };
        let mut bytes = record.bytes.clone();
        let at = record_head(record.number).len();
        let Some(link) = bytes.get_mut(at..at + 8) else {
            return false;
        };
        link.copy_from_slice(&previous.to_le_bytes());
        chain.append(&bytes);
        let Some(Message::Checkpoint(note)) = input.peek() else {
            return false;
        };
        Checkpoint::open(&note, &self.key).is_ok_and(|checkpoint| chain.is(&checkpoint))
    }
}

/// A record that does not fit, while the one behind it is looked at.
struct Kept {
    number: u64,
    previous: u64,
    /// `previous` of a record that follows this one.
    hash: u64,
    bytes: Vec<u8>,
}

impl Kept {
    fn of(record: &Record<'_>) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = leaf_hash(record.bytes);
        Self {
            number: record.number,
            previous: record.previous,
            hash: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            bytes: record.bytes.to_vec(),
        }
    }
}

/// Whether the note is the last checkpoint of the log before.
fn names(note: &str, before: &VerifiedLog) -> bool {
    let named = Checkpoint::open(note, &before.key);
    let last = Checkpoint::read(&before.checkpoint);
    matches!((named, last), (Ok(named), Ok(last)) if named == last)
}

/// A file, and how much of all files was read.
struct Counted<'a> {
    file: File,
    read: &'a Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}
