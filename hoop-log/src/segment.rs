//! What is in a segment: length-delimited messages, by `log.proto` and `record.proto`.

use std::io::{self, Read};

use prost::Message as _;

/// Longest message of a segment, in bytes.
pub(crate) const MAX_MESSAGE: usize = 16 << 20;
/// Longest body of a record: what is put before it fits in as well.
pub(crate) const MAX_BODY: usize = MAX_MESSAGE - 32;
/// How much is read at once, in bytes.
const READ: usize = 256 << 10;

/// `Record.number`, a varint.
const NUMBER: u8 = 1 << 3;
/// `Record.previous`, eight bytes.
const PREVIOUS: u8 = 12 << 3 | 1;

/// `hoop.v1.SegmentStart`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SegmentStart {
    #[prost(uint64, tag = "1")]
    pub(crate) first: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) log_first: u64,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(crate) frontier: Vec<Vec<u8>>,
    #[prost(fixed64, tag = "4")]
    pub(crate) previous: u64,
    #[prost(string, tag = "5")]
    pub(crate) checkpoint: String,
}

/// `hoop.v1.SegmentEnd`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct SegmentEnd {
    #[prost(bool, tag = "1")]
    pub(crate) closed: bool,
}

/// `hoop.v1.LogFrame`.
#[derive(Clone, PartialEq, prost::Message)]
struct LogFrame {
    #[prost(oneof = "Kind", tags = "40, 41, 42")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "40")]
    Start(SegmentStart),
    #[prost(string, tag = "41")]
    Checkpoint(String),
    #[prost(message, tag = "42")]
    End(SegmentEnd),
}

/// A message of a segment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message<'a> {
    Record(Record<'a>),
    Start(SegmentStart),
    Checkpoint(String),
    End(SegmentEnd),
}

/// A record: what this crate knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) number: u64,
    pub(crate) previous: u64,
    /// The whole message.
    pub(crate) bytes: &'a [u8],
}

/// What stands at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// A message, whole: where it begins and ends.
    Whole { start: usize, end: usize },
    /// A message that needs bytes up to here, or at least one more where its length is not known yet.
    Part { end: usize },
    /// No length that could be one.
    Malformed,
}

/// Finds the message at the start of the bytes.
pub(crate) fn framed(bytes: &[u8]) -> Framed {
    match varint(&bytes[..bytes.len().min(5)]) {
        Ok((0, _)) | Err(Varint::Malformed) => Framed::Malformed,
        Err(Varint::Short) => Framed::Part {
            end: bytes.len() + 1,
        },
        Ok((length, start)) => match usize::try_from(length) {
            Ok(length) if length <= MAX_MESSAGE => {
                let end = start + length;
                if end <= bytes.len() {
                    Framed::Whole { start, end }
                } else {
                    Framed::Part { end }
                }
            }
            _ => Framed::Malformed,
        },
    }
}

/// Appends a record's message with its length, and says where in `out` the message begins.
pub(crate) fn put_record(number: u64, previous: u64, body: &[u8], out: &mut Vec<u8>) -> usize {
    let head = record_head(number);
    put_varint((head.len() + 8 + body.len()) as u64, out);
    let start = out.len();
    out.extend_from_slice(&head);
    out.extend_from_slice(&previous.to_le_bytes());
    out.extend_from_slice(body);
    start
}

/// What a record's message begins with, up to the eight bytes of `previous`.
pub(crate) fn record_head(number: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(12);
    head.push(NUMBER);
    put_varint(number, &mut head);
    head.push(PREVIOUS);
    head
}

impl<'a> Message<'a> {
    /// The message, if the bytes are one, written as this crate writes it: two ways to write the same would
    /// be two logs that say the same.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        if bytes.first() == Some(&NUMBER) {
            return Record::decode(bytes).map(Self::Record);
        }
        let frame = LogFrame::decode(bytes).ok()?;
        if frame.encoded_len() != bytes.len() || frame.encode_to_vec() != bytes {
            return None;
        }
        Some(match frame.kind? {
            Kind::Start(start) => Self::Start(start),
            Kind::Checkpoint(note) => Self::Checkpoint(note),
            Kind::End(end) => Self::End(end),
        })
    }
}

impl<'a> Record<'a> {
    fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (number, length) = varint(bytes.get(1..)?).ok()?;
        let (&[tag, ref previous @ ..], _) = bytes.get(1 + length..)?.split_first_chunk::<9>()?;
        (tag == PREVIOUS).then_some(Self {
            number,
            previous: u64::from_le_bytes(*previous),
            bytes,
        })
    }
}

/// Appends the start of a segment.
pub(crate) fn put_start(start: SegmentStart, out: &mut Vec<u8>) {
    put(Kind::Start(start), out);
}

/// Appends a checkpoint.
pub(crate) fn put_checkpoint(note: String, out: &mut Vec<u8>) {
    put(Kind::Checkpoint(note), out);
}

/// Appends the end of a segment.
pub(crate) fn put_end(closed: bool, out: &mut Vec<u8>) {
    put(Kind::End(SegmentEnd { closed }), out);
}

fn put(kind: Kind, out: &mut Vec<u8>) {
    let frame = LogFrame { kind: Some(kind) };
    out.extend_from_slice(&frame.encode_length_delimited_to_vec());
}

pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

enum Varint {
    Short,
    Malformed,
}

/// The varint at the start of the bytes, in its shortest form, and its length.
fn varint(bytes: &[u8]) -> Result<(u64, usize), Varint> {
    let mut value = 0;
    for (position, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if position == 9 && byte > 1 {
            return Err(Varint::Malformed);
        }
        value |= bits << (7 * position);
        if byte < 0x80 {
            if byte == 0 && position > 0 {
                return Err(Varint::Malformed);
            }
            return Ok((value, position + 1));
        }
    }
    if bytes.len() < 10 {
        Err(Varint::Short)
    } else {
        Err(Varint::Malformed)
    }
}

/// The messages of a segment, one after the other.
pub(crate) struct Messages<R> {
    input: R,
    buffer: Vec<u8>,
    /// What of the buffer is not taken yet.
    start: usize,
    end: usize,
    /// Where the last two messages that were taken begin.
    taken: [usize; 2],
    /// Offset in the input of the message that comes next.
    offset: u64,
    over: bool,
}

/// Why there is no next message.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The input ends inside of it.
    Incomplete,
    /// These bytes are none.
    Malformed,
    /// It could not be read.
    Io(io::Error),
}

impl<R: Read> Messages<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; READ],
            start: 0,
            end: 0,
            taken: [0, 0],
            offset: 0,
            over: false,
        }
    }

    /// Offset of the next message.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next message. None at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Message<'_>>, Broken> {
        let (start, end) = match self.find()? {
            Some(found) => found,
            None => return Ok(None),
        };
        let bytes = &self.buffer[self.start + start..self.start + end];
        let message = Message::decode(bytes).ok_or(Broken::Malformed)?;
        self.taken = [self.taken[1], self.start];
        self.start += end;
        self.offset += end as u64;
        Ok(Some(message))
    }

    /// The bytes of the last two messages, and what was read behind them.
    pub(crate) fn around(&self) -> &[u8] {
        &self.buffer[self.taken[0]..self.end]
    }

    /// The next message, which stays the next.
    pub(crate) fn peek(&mut self) -> Option<Message<'_>> {
        let (start, end) = self.find().ok()??;
        Message::decode(&self.buffer[self.start + start..self.start + end])
    }

    fn find(&mut self) -> Result<Option<(usize, usize)>, Broken> {
        loop {
            let bytes = &self.buffer[self.start..self.end];
            match framed(bytes) {
                Framed::Whole { start, end } => return Ok(Some((start, end))),
                Framed::Malformed => return Err(Broken::Malformed),
                Framed::Part { .. } if self.over && bytes.is_empty() => return Ok(None),
                Framed::Part { .. } if self.over => return Err(Broken::Incomplete),
                Framed::Part { end } => self.fill(end).map_err(Broken::Io)?,
            }
        }
    }

    /// Reads on, so that a message of that length may be whole. What a message says of its length alone does
    /// not take memory: the buffer doubles, as it is filled.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let [kept, last] = self.taken;
        self.buffer.copy_within(kept..self.end, 0);
        self.start -= kept;
        self.end -= kept;
        self.taken = [0, last - kept];
        if self.end == self.buffer.len() {
            let wanted = self.start + wanted.max(READ);
            let longer = (2 * self.buffer.len()).min(wanted).max(self.end + 1);
            self.buffer.resize(longer, 0);
        }
        let read = loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.end += read;
        self.over = read == 0;
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_is_whole_and_a_record_message() {
        let mut bytes = Vec::new();
        let start = put_record(300, 0x0102_0304_0506_0708, b"\x20\x03", &mut bytes);
        assert_eq!(
            bytes[start..],
            [8, 0xac, 2, 0x61, 8, 7, 6, 5, 4, 3, 2, 1, 0x20, 3]
        );
        assert_eq!(
            framed(&bytes),
            Framed::Whole {
                start,
                end: bytes.len()
            }
        );
    }

    #[test]
    fn other_ways_to_write_the_same_are_none() {
        for bytes in [
            &[0x80, 0][..],               // a length with a byte too many
            &[0],                         // of nothing
            &[0xff, 0xff, 0xff, 0xff, 1], // longer than any
        ] {
            assert_eq!(framed(bytes), Framed::Malformed, "{bytes:x?}");
        }
        let mut end = Vec::new();
        put_end(true, &mut end);
        assert_eq!(end, [5, 0xd2, 2, 2, 8, 1]);
        assert!(Message::decode(&end[1..]).is_some());
        for bytes in [
            &[0xd2, 2, 2, 8, 0][..],
            &[0xd2, 2, 2, 8, 2],
            &[0xd2, 2, 2, 16, 1],
            &[0xd2, 2, 0, 0xd2, 2, 0],
            &[],
        ] {
            assert_eq!(Message::decode(bytes), None, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            records in prop::collection::vec((any::<u64>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..2000)), 0..40),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            for (number, previous, body) in &records {
                put_record(*number, *previous, body, &mut bytes);
            }
            put_end(false, &mut bytes);
            let mut messages = Messages::new(&bytes[..]);
            for (number, previous, body) in &records {
                let Some(Message::Record(record)) = messages.next().unwrap() else { panic!() };
                prop_assert_eq!((record.number, record.previous), (*number, *previous));
                prop_assert!(record.bytes.ends_with(body));
            }
            prop_assert!(matches!(messages.next(), Ok(Some(Message::End(_)))));
            prop_assert!(matches!(messages.next(), Ok(None)));

            // Less than all is whole messages, and then the end or part of one.
            let cut = cut.index(bytes.len());
            let mut messages = Messages::new(&bytes[..cut]);
            let last = loop {
                match messages.next() {
                    Ok(Some(_)) => {}
                    last => break matches!(last, Ok(None)),
                }
            };
            prop_assert_eq!(last, messages.offset() == cut as u64);
        }

        #[test]
        fn hostile_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut messages = Messages::new(&bytes[..]);
            while let Ok(Some(_)) = messages.next() {}
            Message::decode(&bytes);
        }
    }
}
