//! `gzip` (RFC 1952), `deflate` (RFC 1950, or RFC 1951 as some servers send it), and the raw
//! DEFLATE of WebSocket.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use super::{PIECE, Take};
use crate::Reason;
use crate::out::{Memory, Reservation};

/// An inflater.
pub(crate) struct Inflate {
    inner: Decompress,
    format: Format,
    ended: bool,
    /// Bytes were taken since the last end.
    begun: bool,
    piece: Box<[u8]>,
    _memory: Reservation,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    /// Members follow one another.
    Gzip,
    /// zlib or raw: the first two bytes tell, of which this is the first.
    Unsure(Option<u8>),
    /// One stream.
    Single,
}

/// Window, tables, and what is decoded at a time.
const SIZE: usize = (32 << 10) + (12 << 10) + PIECE;

/// The most that DEFLATE may look back: 2 to this.
const WINDOW_BITS: u8 = 15;

impl Inflate {
    pub fn gzip(memory: &Memory) -> Result<Self, Reason> {
        Self::new(Decompress::new_gzip(WINDOW_BITS), Format::Gzip, memory)
    }

    pub fn deflate(memory: &Memory) -> Result<Self, Reason> {
        Self::new(Decompress::new(true), Format::Unsure(None), memory)
    }

    pub fn raw(memory: &Memory) -> Result<Self, Reason> {
        Self::new(Decompress::new(false), Format::Single, memory)
    }

    fn new(inner: Decompress, format: Format, memory: &Memory) -> Result<Self, Reason> {
        let _memory = memory.reserve(SIZE)?;
        let piece = vec![0; PIECE].into_boxed_slice();
        Ok(Self {
            inner,
            format,
            ended: false,
            begun: false,
            piece,
            _memory,
        })
    }

    /// Forgets what was decoded before.
    pub fn reset_raw(&mut self) {
        self.inner.reset(false);
        self.ended = false;
        self.begun = false;
    }

    /// The stream came to its end.
    pub fn ended(&self) -> bool {
        self.ended
    }

    pub fn finished(&self) -> bool {
        self.ended || !self.begun
    }

    pub fn decode(&mut self, bytes: &[u8], take: &mut Take<'_>) -> Result<(), Reason> {
        let Format::Unsure(first) = self.format else {
            return self.inflate(bytes, take);
        };
        let (head, rest) = match (first, bytes) {
            (_, []) => return Ok(()),
            (None, [first]) => {
                self.begun = true;
                self.format = Format::Unsure(Some(*first));
                return Ok(());
            }
            (Some(first), [second, rest @ ..]) => ([first, *second], rest),
            (None, [first, second, rest @ ..]) => ([*first, *second], rest),
        };
        // CM, CINFO and FCHECK of RFC 1950 section 2.2.
        let zlib = head[0] & 0x0f == 8 && head[0] >> 4 <= 7 && u16::from_be_bytes(head) % 31 == 0;
        if !zlib {
            self.inner.reset(false);
        }
        self.format = Format::Single;
        self.inflate(&head, take)?;
        self.inflate(rest, take)
    }

    fn inflate(&mut self, mut bytes: &[u8], take: &mut Take<'_>) -> Result<(), Reason> {
        loop {
            if self.ended {
                match (self.format, bytes) {
                    (_, []) => return Ok(()),
                    (Format::Gzip, [0x1f, ..]) => {
                        self.inner.reset(true);
                        self.ended = false;
                        self.begun = false;
                    }
                    _ => return Err(Reason::BrokenCoding),
                }
            }
            self.begun |= !bytes.is_empty();
            let (before_in, before_out) = (self.inner.total_in(), self.inner.total_out());
            let status = self
                .inner
                .decompress(bytes, &mut self.piece, FlushDecompress::Sync)
                .map_err(|_| Reason::BrokenCoding)?;
            let consumed = (self.inner.total_in() - before_in) as usize;
            let made = (self.inner.total_out() - before_out) as usize;
            bytes = &bytes[consumed..];
            take(&self.piece[..made])?;
            if status == Status::StreamEnd {
                self.ended = true;
            } else if bytes.is_empty() && made < self.piece.len() {
                return Ok(());
            } else if consumed == 0 && made == 0 {
                return Err(Reason::BrokenCoding);
            }
        }
    }
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflate")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}
