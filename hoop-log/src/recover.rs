//! What a writer finds: where the last log ends, and what a crash left behind its last checkpoint.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use crate::chain::{Chain, Unlinked};
use crate::key::VerifierKey;
use crate::layout::{LogDir, Segment};
use crate::note::{Checkpoint, MAX_OWN, latest_signed};
use crate::segment::{self, Broken, Message, Messages};

/// Numbers above this are no writer's: none lives that long.
const MAX_NUMBER: u64 = 1 << 62;

/// Why a log is not gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is signed by another key. It was closed.
    KeyChanged,
    /// It is not what its last checkpoint says, or part of it is missing. It was left as it is.
    Damaged,
}

/// The end of a log.
#[derive(Debug)]
pub(crate) enum Found {
    Sound(Box<Sound>),
    /// It is not what was written.
    Damaged {
        /// Its last checkpoint, as far as one is found.
        note: String,
        /// A number that none of its records has, nor one above it, as far as it can be known.
        next: u64,
    },
}

/// A log that can be gone on with.
#[derive(Debug)]
pub(crate) struct Sound {
    pub(crate) key: VerifierKey,
    pub(crate) chain: Chain,
    pub(crate) segment: Segment,
    /// Up to where the last segment is committed, in bytes.
    pub(crate) length: u64,
    /// What is behind that, in bytes.
    pub(crate) torn: u64,
    /// The last checkpoint. Empty if there is none.
    pub(crate) note: String,
    /// Whether the last segment has no records.
    pub(crate) fresh: bool,
}

/// Finds the end of a log.
///
/// # Errors
///
/// A file could not be read. That it says something else than it should is no error.
pub(crate) fn find(log: &LogDir) -> io::Result<Found> {
    let segments = log.segments()?;
    let Some(last) = segments.last() else {
        return Ok(Found::Damaged {
            note: String::new(),
            next: 0,
        });
    };
    let named = Chain::new(last.first.min(MAX_NUMBER));
    let mut end = End {
        chain: named,
        length: 0,
        note: String::new(),
        fresh: true,
    };
    let key = match log.key() {
        Ok(key) => key,
        Err(err)
            if matches!(
                err.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::NotFound
            ) =>
        {
            return Ok(end.damaged(0));
        }
        Err(err) => return Err(err),
    };
    // One that is sealed was full, and another followed.
    if last.sealed {
        return Ok(end.damaged(0));
    }
    let file = File::open(last.path())?;
    let sound = end.read(&file, last, &key)?;
    let torn = file.metadata()?.len().saturating_sub(end.length);
    // An honest crash leaves nothing behind that was signed.
    let signed = highest_signed(&file, end.length, &key)?;
    if !sound || signed > end.chain.tree().size() {
        return Ok(end.damaged(signed));
    }
    Ok(Found::Sound(Box::new(Sound {
        key,
        chain: end.chain,
        segment: last.clone(),
        length: end.length,
        torn,
        note: end.note,
        fresh: end.fresh,
    })))
}

/// Ends a segment that another follows.
pub(crate) fn end(segment: &Segment, length: u64, closed: bool) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(segment.path())?;
    file.set_len(length)?;
    let mut bytes = Vec::new();
    segment::put_end(closed, &mut bytes);
    file.write_all_at(&bytes, length)?;
    file.sync_data()
}

/// Ends the segment that is followed by one without records, where a crash came between the two.
pub(crate) fn end_previous(segment: &Segment) -> io::Result<()> {
    if segment.sealed {
        return Ok(());
    }
    let path = segment.path();
    let length = path.metadata()?.len();
    for closed in [false, true] {
        let mut bytes = Vec::new();
        segment::put_end(closed, &mut bytes);
        let mut found = vec![0; bytes.len()];
        let at = length.saturating_sub(bytes.len() as u64);
        // A checkpoint, which is what else it could end in, ends in a line feed.
        if File::open(&path)?.read_exact_at(&mut found, at).is_ok() && found == bytes {
            return Ok(());
        }
    }
    end(segment, length, false)
}

/// Up to where all is as it was committed.
struct End {
    chain: Chain,
    length: u64,
    note: String,
    fresh: bool,
}

impl End {
    /// Reads a segment. False if something in it was not written by a writer, nor left by a crash.
    fn read(&mut self, file: &File, segment: &Segment, key: &VerifierKey) -> io::Result<bool> {
        let mut messages = Messages::new(file);
        let start = match messages.next() {
            Ok(Some(Message::Start(start))) => start,
            Err(Broken::Io(err)) => return Err(err),
            _ => return Ok(false),
        };
        let Some(mut chain) = Chain::of(&start).filter(|_| start.first == segment.first) else {
            return Ok(false);
        };
        if chain.tree().size() > 0 && !signed(&start.checkpoint, key, &chain) {
            return Ok(false);
        }
        self.chain = chain.clone();
        self.length = messages.offset();
        self.note = start.checkpoint;
        loop {
            match messages.next() {
                Ok(Some(Message::Record(record))) => match chain.push(&record) {
                    Ok(_) => {}
                    Err(Unlinked::Number | Unlinked::Previous) => return Ok(false),
                },
                Ok(Some(Message::Checkpoint(note))) if signed(&note, key, &chain) => {
                    self.chain = chain.clone();
                    self.length = messages.offset();
                    self.note = note;
                    self.fresh = false;
                }
                Ok(Some(_)) => return Ok(false),
                // A whole file, or one that ends too early, as one write does that did not come to its end.
                Ok(None) | Err(Broken::Incomplete) => return Ok(true),
                // Where the machine lost power, there may be zeros in the place of what was written last.
                Err(Broken::Malformed) => return zeros(file, messages.offset()),
                Err(Broken::Io(err)) => return Err(err),
            }
        }
    }

    fn damaged(self, signed: u64) -> Found {
        let next = self.chain.next();
        let vouched = self.chain.log_first().saturating_add(signed);
        Found::Damaged {
            note: self.note,
            next: next.max(vouched).min(MAX_NUMBER),
        }
    }
}

fn signed(note: &str, key: &VerifierKey, chain: &Chain) -> bool {
    Checkpoint::open(note, key).is_ok_and(|checkpoint| chain.is(&checkpoint))
}

/// Whether there is nothing but zeros from there on.
fn zeros(mut file: &File, from: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(from))?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(true),
            read if buffer[..read].iter().any(|&byte| byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

/// The highest size that a checkpoint by the key says, wherever it stands from there on. 0 if there is none.
fn highest_signed(mut file: &File, from: u64, key: &VerifierKey) -> io::Result<u64> {
    file.seek(SeekFrom::Start(from))?;
    let mut buffer = Vec::new();
    let mut highest = 0;
    loop {
        let read = file.take(1 << 20).read_to_end(&mut buffer)?;
        let latest = latest_signed(&buffer, key);
        highest = highest.max(latest.map_or(0, |checkpoint| checkpoint.size));
        if read == 0 {
            return Ok(highest);
        }
        // One that stands across what is read at once is seen with the next.
        buffer.drain(..buffer.len().saturating_sub(2 * MAX_OWN));
    }
}
