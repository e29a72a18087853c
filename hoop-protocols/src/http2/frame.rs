//! Frames of HTTP/2, RFC 9113 sections 4 and 6.

use memchr::{memchr, memchr2};

use crate::chain::Look;

/// What every client sends first, RFC 9113 section 3.4.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The size of a frame header.
pub(super) const HEADER: usize = 9;

pub(super) mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

pub(super) mod flag {
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    /// The reserved bit, which is 0 in what real peers send.
    reserved: bool,
}

impl Frame {
    /// Reads the header that the input begins with.
    pub fn parse(input: &[u8]) -> Option<Self> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *input.first_chunk::<HEADER>()?;
        Some(Self {
            length: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
            reserved: s0 & 0x80 != 0,
        })
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub fn is_padded(&self) -> bool {
        self.has(flag::PADDED)
            && matches!(self.kind, kind::DATA | kind::HEADERS | kind::PUSH_PROMISE)
    }

    /// How many bytes of the payload are fields that have to be there whole. Of a valid frame.
    pub fn fields(&self) -> usize {
        let padding = usize::from(self.is_padded());
        match self.kind {
            kind::DATA => padding,
            kind::HEADERS => padding + 5 * usize::from(self.has(flag::PRIORITY)),
            kind::PUSH_PROMISE => padding + 4,
            kind::RST_STREAM => 4,
            kind::GOAWAY => 8,
            // More settings than exist are not looked at.
            kind::SETTINGS if self.length <= 6 * 1024 => self.length,
            _ => 0,
        }
    }

    /// Whether length and stream are what RFC 9113 section 6 demands of the type; all may be of a
    /// type that is not known.
    pub fn is_valid(&self) -> bool {
        let fixed = match self.kind {
            kind::HEADERS => {
                self.length
                    >= 5 * usize::from(self.has(flag::PRIORITY))
                        + usize::from(self.has(flag::PADDED))
            }
            kind::DATA => self.length >= usize::from(self.has(flag::PADDED)),
            kind::PRIORITY => self.length == 5,
            kind::RST_STREAM | kind::WINDOW_UPDATE => self.length == 4,
            kind::SETTINGS => {
                self.length.is_multiple_of(6) && (!self.has(flag::ACK) || self.length == 0)
            }
            kind::PUSH_PROMISE => self.length >= 4 + usize::from(self.has(flag::PADDED)),
            kind::PING => self.length == 8,
            kind::GOAWAY => self.length >= 8,
            _ => true,
        };
        let stream = match self.kind {
            kind::SETTINGS | kind::PING | kind::GOAWAY => self.stream == 0,
            kind::WINDOW_UPDATE => true,
            kind::DATA..=kind::CONTINUATION => self.stream != 0,
            _ => true,
        };
        fixed && stream
    }

    /// How telling it is that bytes look like this frame, 0 for not at all: after enough of it they
    /// are taken for one. Only what real peers send counts.
    pub fn weight(&self, largest: usize) -> u32 {
        let flags = match self.kind {
            kind::DATA => flag::END_STREAM | flag::PADDED,
            kind::HEADERS => flag::END_STREAM | flag::END_HEADERS | flag::PADDED | flag::PRIORITY,
            kind::SETTINGS | kind::PING => flag::ACK,
            kind::PUSH_PROMISE => flag::END_HEADERS | flag::PADDED,
            kind::CONTINUATION => flag::END_HEADERS,
            _ => 0,
        };
        let known = self.kind <= kind::CONTINUATION && self.flags & !flags == 0;
        if self.reserved || !known || !self.is_valid() || self.length > largest {
            return 0;
        }
        match self.kind {
            kind::PING | kind::SETTINGS if self.length <= 16 * 6 => ENOUGH,
            kind::WINDOW_UPDATE | kind::RST_STREAM | kind::PRIORITY | kind::GOAWAY => 2,
            _ => 1,
        }
    }
}

/// `SETTINGS_MAX_FRAME_SIZE`, RFC 9113 section 6.5.2, if the payload has it.
pub(super) fn max_frame_size(settings: &[u8]) -> Option<usize> {
    const MAX_FRAME_SIZE: [u8; 2] = [0, 5];
    let (settings, _) = settings.as_chunks::<6>();
    let found = settings
        .iter()
        .rfind(|setting| setting[..2] == MAX_FRAME_SIZE)?;
    Some(word(&found[2..]) as usize)
}

/// A big-endian number of four bytes; 0 if there are fewer.
pub(super) fn word(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |word| u32::from_be_bytes(*word))
}

/// The weight at which frames that follow one another are believed.
pub(crate) const ENOUGH: u32 = 3;

/// What bytes in the middle of a stream look like. Frames with a payload of more than `largest` are not
/// looked for.
pub(crate) fn look(input: &[u8], largest: usize) -> Look {
    // The first byte of the length. Text has none like it, and is passed over fast.
    let possible = |byte: &u8| usize::from(*byte) <= largest >> 16;
    if input.first().is_some_and(|first| !possible(first)) {
        let bytes = match largest >> 16 {
            0 => memchr(0, input),
            1 => memchr2(0, 1, input),
            _ => input.iter().position(possible),
        };
        return Look::No {
            bytes: bytes.unwrap_or(input.len()),
        };
    }
    match Frame::parse(input) {
        None => Look::More,
        Some(frame) => match frame.weight(largest) {
            0 => Look::No { bytes: 1 },
            weight => Look::Frame {
                weight,
                header: HEADER,
                length: HEADER + frame.length,
            },
        },
    }
}

/// Whether the input begins as a server does that was not missed: with SETTINGS, no
/// acknowledgement; `None`: too few bytes to tell.
pub(crate) fn begins_with_settings(input: &[u8]) -> Option<bool> {
    // A SETTINGS frame of more than 42 settings is nothing that anyone sends.
    const START: [u8; 2] = [0, 0];
    let common = input.len().min(2);
    if input[..common] != START[..common] {
        return Some(false);
    }
    let frame = match Frame::parse(input) {
        Some(frame) => frame,
        None => {
            return input
                .get(3)
                .is_some_and(|it| *it != kind::SETTINGS)
                .then_some(false);
        }
    };
    Some(frame.kind == kind::SETTINGS && frame.flags == 0 && frame.weight(255) > 0)
}
