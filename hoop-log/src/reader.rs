//! Reads records by their numbers, also while they are written, sealed and removed.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::layout::{self, Segment};
use crate::sealed;
use crate::segment::{Framed, Message, framed};
use crate::tail::Tail;

/// How much is read at once, in bytes.
const READ: usize = 256 << 10;

/// A cursor in the logs of a directory. It gives what is committed: what has a checkpoint behind it.
///
/// It checks that each record has the number that is next, and nothing else: that is what `verify` is for.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    tail: Option<Tail>,
    /// Number of the record that comes next.
    next: u64,
    place: Option<Place>,
    /// What was read and not given, up to `end`; committed up to `ready`, looked at up to `seen`.
    buffer: Vec<u8>,
    start: usize,
    ready: usize,
    seen: usize,
    end: usize,
}

/// A record that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number.
    pub number: u64,
    /// A `hoop.v1.Record`, whole: a leaf of the log's tree.
    pub bytes: &'a [u8],
}

#[derive(Debug)]
struct Place {
    segment: Segment,
    input: Input,
}

enum Input {
    Plain(File),
    Sealed(sealed::Decoder<File>),
}

/// What stands next in the buffer.
enum Step {
    /// A record: where it is, and its number.
    Record(usize, usize, u64),
    /// Something else.
    Passed,
    /// The end of the segment.
    End,
    /// Nothing that is committed.
    Nothing,
}

impl Reader {
    /// From that record on, which need not be there yet. Numbers begin at 1.
    ///
    /// # Errors
    ///
    /// The record was there and is not any more, or a file could not be read.
    pub fn open(dir: &Path, from: u64) -> Result<Self, Error> {
        Self::new(dir, from, None)
    }

    /// As [`Reader::open`], in the process that writes: it gives what the tail says is committed, and as
    /// long as that is nothing new, asking costs nothing.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`].
    pub fn behind(dir: &Path, from: u64, tail: Tail) -> Result<Self, Error> {
        Self::new(dir, from, Some(tail))
    }

    /// Number of the record that comes next.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// The next record. None if there is none for now.
    ///
    /// # Errors
    ///
    /// Retention took it, the log is damaged, or a file could not be read. It stays where it is.
    pub fn read(&mut self) -> Result<Option<Entry<'_>>, Error> {
        if self
            .tail
            .as_ref()
            .is_some_and(|tail| tail.last() < self.next)
        {
            return Ok(None);
        }
        loop {
            if self.place.is_none() && !self.find(None)? {
                return Ok(None);
            }
            match self.step()? {
                Step::Record(start, end, number) => {
                    if number < self.next {
                        continue;
                    }
                    if number > self.next {
                        return Err(self.damaged());
                    }
                    self.next += 1;
                    return Ok(Some(Entry {
                        number,
                        bytes: &self.buffer[start..end],
                    }));
                }
                Step::Passed => {}
                Step::End => {
                    let over = self.place.take().map(|place| place.segment);
                    if !self.find(over.as_ref())? {
                        return Ok(None);
                    }
                }
                Step::Nothing => {
                    if self.fill()? || self.follow()? {
                        continue;
                    }
                    return Ok(None);
                }
            }
        }
    }

    fn new(dir: &Path, from: u64, tail: Option<Tail>) -> Result<Self, Error> {
        let mut reader = Self {
            dir: dir.to_owned(),
            tail,
            next: from.max(1),
            place: None,
            buffer: vec![0; READ],
            start: 0,
            ready: 0,
            seen: 0,
            end: 0,
        };
        reader.find(None)?;
        Ok(reader)
    }

    /// Opens the segment that has the next record. `over` is the one that has come to its end.
    fn find(&mut self, over: Option<&Segment>) -> Result<bool, Error> {
        // A segment may be sealed or removed between looking and opening.
        for _ in 0..3 {
            let mut segments = segments(&self.dir)?;
            let Some(first) = segments.first() else {
                return Ok(false);
            };
            let first_kept = first.first;
            let after = segments.partition_point(|segment| segment.first <= self.next);
            if after == 0 {
                return Err(Error::Gone { first_kept });
            }
            let segment = &mut segments[after - 1];
            if over.is_some_and(|over| over.first == segment.first && over.log == segment.log) {
                return Err(self.damaged());
            }
            let file = match segment.open() {
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            let input = if segment.sealed {
                Input::Sealed(sealed::Decoder::from(file, self.next)?)
            } else {
                Input::Plain(file)
            };
            let segment = segment.clone();
            self.place = Some(Place { segment, input });
            (self.start, self.ready, self.seen, self.end) = (0, 0, 0, 0);
            return Ok(true);
        }
        Err(self.damaged())
    }

    /// At the end of a file that says of none to follow: goes to the segment that follows nevertheless,
    /// since a damaged log is left as it is. False if there is none.
    fn follow(&mut self) -> Result<bool, Error> {
        let Some(place) = &self.place else {
            return Ok(false);
        };
        let mut segments = segments(&self.dir)?.into_iter();
        let here = &place.segment;
        if !segments.any(|segment| segment.first == here.first && segment.log == here.log) {
            // It was removed since, and all before it. What follows is the first.
            return match segments.next() {
                Some(_) => self.find(None),
                None => Ok(false),
            };
        }
        match segments.next() {
            Some(segment) if segment.first <= self.next => self.find(Some(&here.clone())),
            // What is before that was committed before it was there, maybe since this file was read.
            Some(_) if self.fill()? => Ok(true),
            Some(_) => Err(self.damaged()),
            None => Ok(false),
        }
    }

    fn step(&mut self) -> Result<Step, Error> {
        let committed = &self.buffer[self.start..self.ready];
        let Framed::Whole { start, end } = framed(committed) else {
            return Ok(Step::Nothing);
        };
        let (start, end) = (self.start + start, self.start + end);
        let step = match Message::decode(&self.buffer[start..end]) {
            Some(Message::Record(record)) => Step::Record(start, end, record.number),
            Some(Message::End(_)) => Step::End,
            Some(_) => Step::Passed,
            None => return Err(self.damaged()),
        };
        self.start = end;
        Ok(step)
    }

    /// Reads on until something more is committed. False if nothing is.
    fn fill(&mut self) -> Result<bool, Error> {
        loop {
            let Some(place) = &mut self.place else {
                return Ok(false);
            };
            self.buffer.copy_within(self.start..self.end, 0);
            self.seen -= self.start;
            self.end -= self.start;
            (self.start, self.ready) = (0, 0);
            if self.end == self.buffer.len() {
                self.buffer.resize(2 * self.end, 0);
            }
            let read = match &mut place.input {
                Input::Plain(file) => read(file, &mut self.buffer[self.end..]),
                Input::Sealed(decoder) => read(decoder, &mut self.buffer[self.end..]),
            };
            let read = match read {
                Err(err) if err.kind() == io::ErrorKind::InvalidData => return Err(self.damaged()),
                read => read?,
            };
            if read == 0 {
                return self.rewind();
            }
            self.end += read;
            if self.look()? {
                return Ok(true);
            }
        }
    }

    /// Looks for what is committed in what was read.
    fn look(&mut self) -> Result<bool, Error> {
        let sealed = matches!(
            &self.place,
            Some(Place {
                input: Input::Sealed(_),
                ..
            })
        );
        loop {
            match framed(&self.buffer[self.seen..self.end]) {
                Framed::Whole { start, end } => {
                    let message = &self.buffer[self.seen + start..self.seen + end];
                    self.seen += end;
                    // All that is sealed is committed.
                    let record = message.first() == Some(&8);
                    if sealed || !record {
                        self.ready = self.seen;
                    }
                }
                Framed::Part { .. } => return Ok(self.ready > 0),
                Framed::Malformed if self.ready > 0 => return Ok(true),
                Framed::Malformed => return Err(self.damaged()),
            }
        }
    }

    /// At the end of a file: what is behind the last checkpoint may be gone when something is committed.
    fn rewind(&mut self) -> Result<bool, Error> {
        let over = (self.end - self.ready) as i64;
        (self.seen, self.end) = (self.ready, self.ready);
        match &mut self.place {
            Some(Place {
                input: Input::Plain(file),
                ..
            }) if over > 0 => {
                file.seek(SeekFrom::Current(-over))?;
                Ok(false)
            }
            Some(Place {
                input: Input::Sealed(_),
                ..
            }) => Err(self.damaged()),
            _ => Ok(false),
        }
    }

    fn damaged(&self) -> Error {
        let segments = segments(&self.dir).unwrap_or_default();
        let mut firsts = segments.iter().map(|segment| segment.first);
        Error::Damaged {
            number: self.next,
            resume: firsts.find(|&first| first > self.next),
        }
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Sealed(_) => "Sealed",
        })
    }
}

/// All segments, oldest first.
fn segments(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for log in layout::logs(dir)? {
        match log.segments() {
            // Retention took it.
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            found => segments.extend(found?),
        }
    }
    Ok(segments)
}

fn read(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
