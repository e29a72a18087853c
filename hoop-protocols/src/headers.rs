//! Header fields, packed in one buffer, some of which may be unknown.

use std::borrow::Cow;
use std::fmt;

/// A value that may be absent, or there but unknown.
///
/// HPACK (RFC 7541) refers back to fields sent earlier on the connection: where that was before
/// the capture began, that there is a field is known and what it says is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Field {
    /// Not there.
    #[default]
    Absent,
    /// There; what it says was not captured.
    Unknown,
    /// This. Bytes that are not UTF-8 are replaced by U+FFFD.
    Known(String),
}

impl Field {
    /// What it says, if that is known.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Known(text) => Some(text),
            Self::Absent | Self::Unknown => None,
        }
    }

    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self::Known(String::from_utf8_lossy(bytes).into_owned())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => Ok(()),
            Self::Unknown => f.write_str("(unknown)"),
            Self::Known(text) => f.write_str(text),
        }
    }
}

/// One header field. `None` is a part that is there and unknown, see [`Field`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name, as sent (HTTP/2 has lower case only).
    pub name: Option<&'a [u8]>,
    /// Its value, as sent, without the white space around it.
    pub value: Option<&'a [u8]>,
}

/// Header fields in the order sent.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    text: Vec<u8>,
    spans: Vec<Span>,
    omitted: u64,
}

/// Where a field ends in the text: name, then value. [`UNKNOWN`] has no text.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Span {
    name: u32,
    value: u32,
}

const UNKNOWN: u32 = u32::MAX;

impl Headers {
    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Header<'_>> {
        let mut rest = self.text.as_slice();
        let mut take = move |length: u32| {
            (length != UNKNOWN).then(|| {
                let (part, after) = rest.split_at(length as usize);
                rest = after;
                part
            })
        };
        self.spans.iter().map(move |span| Header {
            name: take(span.name),
            value: take(span.value),
        })
    }

    /// The values of every field of this name (ASCII case does not matter) that are known.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |header| {
                header
                    .name
                    .is_some_and(|it| it.eq_ignore_ascii_case(name.as_bytes()))
            })
            .filter_map(|header| header.value)
    }

    /// The first value that is known of a field of this name (ASCII case does not matter).
    #[must_use]
    pub fn get<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// As [`get`](Self::get), with bytes that are not UTF-8 replaced by U+FFFD.
    #[must_use]
    pub fn text<'a>(&'a self, name: &'a str) -> Option<Cow<'a, str>> {
        self.get(name).map(String::from_utf8_lossy)
    }

    /// How many fields are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many more fields there were, beyond [`Limits::header_list`](crate::Limits::header_list).
    #[must_use]
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// Takes a field if with it the list is no longer than `limit`, by the measure of
    /// RFC 9113 section 6.5.2 (name, value, and 32 a field); counts it if not.
    pub(crate) fn push(&mut self, name: Option<&[u8]>, value: Option<&[u8]>, limit: usize) {
        let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let size = length(name) + length(value) + 32;
        let held = self.text.len() + 32 * self.spans.len();
        if held + size > limit.min(UNKNOWN as usize / 2) {
            self.omitted += 1;
            return;
        }
        let mut put = |part: Option<&[u8]>| {
            part.map_or(UNKNOWN, |part| {
                self.text.extend_from_slice(part);
                part.len() as u32
            })
        };
        let (name, value) = (put(name), put(value));
        self.spans.push(Span { name, value });
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn shown(part: Option<&[u8]>) -> Cow<'_, str> {
            part.map_or("(unknown)".into(), String::from_utf8_lossy)
        }
        f.debug_list()
            .entries(self.iter().map(|it| (shown(it.name), shown(it.value))))
            .finish()
    }
}
