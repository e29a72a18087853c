//! The reader itself: RFC 8259, and a little beyond where parsers in use go beyond.

use std::collections::BTreeSet;

use memchr::memchr2;

use super::{CUT, Json};

/// Containers within containers that are kept, as in `serde_json`; deeper ones are passed over.
const DEPTH: usize = 128;

/// Values that are kept of one document; each takes up to 48 bytes beside its text.
const VALUES: usize = 500_000;

/// What was wrong with a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// It ended too early.
    pub cut: bool,
    /// It is not JSON from some point on, or at some point.
    pub malformed: bool,
    /// An object has a key twice. Which of them counts differs between parsers.
    pub repeated_key: bool,
    /// Values too deep, or too many, were passed over.
    pub skipped: bool,
    /// Text that is not UTF-8 or has half of a surrogate pair; U+FFFD stands there.
    pub replaced: bool,
}

impl Notes {
    pub(crate) fn is_clean(self) -> bool {
        self == Self::default()
    }
}

/// Reads one document. What cannot be read is `Null`.
pub(crate) fn read(bytes: &[u8]) -> (Json, Notes) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = Reader {
        bytes,
        at: 0,
        values: 0,
        stopped: false,
        notes: Notes::default(),
    };
    let value = reader.value(0);
    if !reader.stopped && reader.peek().is_some() {
        reader.notes.malformed = true;
    }
    (value, reader.notes)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: usize,
    /// Nothing after this point can be read.
    stopped: bool,
    notes: Notes,
}

impl Reader<'_> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Nothing more: the input is at its end, or not JSON.
    fn stop(&mut self) {
        self.stopped = true;
        if self.at >= self.bytes.len() {
            self.notes.cut = true;
        } else {
            self.notes.malformed = true;
        }
    }

    fn value(&mut self, depth: usize) -> Json {
        let Some(byte) = self.peek() else {
            self.stop();
            return Json::Null;
        };
        if depth >= DEPTH || self.values >= VALUES {
            self.notes.skipped = true;
            self.skip();
            return Json::Null;
        }
        self.values += 1;
        match byte {
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'"' => Json::String(self.string()),
            b'-' | b'0'..=b'9' => self.number(depth),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Json {
        self.at += 1;
        let mut members = Vec::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Json::Object(members);
        }
        loop {
            if self.peek() != Some(b'"') {
                self.stop();
                break;
            }
            let key = self.string();
            if self.stopped {
                break;
            }
            if self.peek() != Some(b':') {
                self.stop();
                break;
            }
            self.at += 1;
            if self.values < VALUES {
                let value = self.value(depth);
                members.push((key, value));
            } else {
                self.notes.skipped = true;
                self.skip();
            }
            if self.stopped || !self.goes_on(b'}') {
                break;
            }
        }
        self.notes.repeated_key |= repeats(&members);
        Json::Object(members)
    }

    fn array(&mut self, depth: usize) -> Json {
        self.at += 1;
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Json::Array(items);
        }
        loop {
            let absent = self.peek().is_none();
            if self.values < VALUES {
                let value = self.value(depth);
                // A literal that did not come is no item.
                if !(self.stopped && value.is_null()) {
                    items.push(value);
                }
            } else {
                self.notes.skipped = true;
                self.skip();
            }
            if absent || self.stopped || !self.goes_on(b']') {
                break;
            }
        }
        Json::Array(items)
    }

    /// After an item: whether there is another one.
    fn goes_on(&mut self, close: u8) -> bool {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                true
            }
            Some(byte) if byte == close => {
                self.at += 1;
                false
            }
            _ => {
                self.stop();
                false
            }
        }
    }

    /// From the opening quote to behind the closing one; what there is of it if it is cut.
    fn string(&mut self) -> String {
        self.at += 1;
        // No escape is shorter than what it stands for.
        let mut text = Vec::with_capacity(string_len(&self.bytes[self.at..]));
        loop {
            let rest = &self.bytes[self.at..];
            let Some(end) = memchr2(b'"', b'\\', rest) else {
                text.extend_from_slice(rest);
                self.at = self.bytes.len();
                self.stop();
                break;
            };
            text.extend_from_slice(&rest[..end]);
            self.at += end + 1;
            if rest[end] == b'"' {
                break;
            }
            if !self.escape(&mut text) {
                break;
            }
        }
        if self.stopped {
            // A character whose rest did not come is no fault of the text.
            let partial = match std::str::from_utf8(&text) {
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                _ => text.len(),
            };
            text.truncate(partial);
            text.extend_from_slice(CUT.encode_utf8(&mut [0; 4]).as_bytes());
        }
        String::from_utf8(text).unwrap_or_else(|error| {
            self.notes.replaced = true;
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        })
    }

    /// What follows a backslash; false if it is cut.
    fn escape(&mut self, text: &mut Vec<u8>) -> bool {
        let Some(&byte) = self.bytes.get(self.at) else {
            self.stop();
            return false;
        };
        self.at += 1;
        let plain = match byte {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => return self.unicode(text),
            b'"' | b'\\' | b'/' => byte,
            _ => {
                self.notes.malformed = true;
                text.push(b'\\');
                byte
            }
        };
        text.push(plain);
        true
    }

    fn unicode(&mut self, text: &mut Vec<u8>) -> bool {
        let Some(first) = self.hex(self.at) else {
            if self.bytes.len() < self.at + 4 {
                self.at = self.bytes.len();
                self.stop();
                return false;
            }
            self.notes.malformed = true;
            text.extend_from_slice(b"\\u");
            return true;
        };
        self.at += 4;
        let mut code = u32::from(first);
        if (0xd800..0xdc00).contains(&code)
            && self.bytes.len() < self.at + 6
            && self.pair_may_come()
        {
            self.at = self.bytes.len();
            self.stop();
            return false;
        }
        if (0xd800..0xdc00).contains(&code)
            && self.bytes[self.at..].starts_with(b"\\u")
            && let Some(second @ 0xdc00..0xe000) = self.hex(self.at + 2)
        {
            self.at += 6;
            code = 0x10000 + ((code - 0xd800) << 10) + (u32::from(second) - 0xdc00);
        }
        let character = char::from_u32(code).unwrap_or_else(|| {
            self.notes.replaced = true;
            char::REPLACEMENT_CHARACTER
        });
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        true
    }

    /// Whether the input ends within what may be the second half of a surrogate pair.
    fn pair_may_come(&self) -> bool {
        let rest = &self.bytes[self.at..];
        rest.iter().zip(b"\\u").all(|(have, want)| have == want)
            && rest.iter().skip(2).all(u8::is_ascii_hexdigit)
    }

    fn hex(&self, at: usize) -> Option<u16> {
        let digits = self.bytes.get(at..at + 4)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    fn number(&mut self, depth: usize) -> Json {
        let rest = &self.bytes[self.at..];
        let end = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let digits = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.at += end;
        // RFC 8259 section 6, by a parser that knows it; what is out of its range is still one.
        let valid = serde_json::from_str::<&serde_json::value::RawValue>(&digits).is_ok();
        // More digits may have followed, if it stands in something that did not end.
        if valid && (depth == 0 || self.at < self.bytes.len()) {
            return Json::Number(digits);
        }
        if self.at >= self.bytes.len() {
            self.stop();
            return Json::Null;
        }
        self.notes.malformed = true;
        Json::String(digits)
    }

    fn word(&mut self) -> Json {
        let rest = &self.bytes[self.at..];
        let end = rest
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        let value = match &rest[..end] {
            b"null" => Json::Null,
            b"true" => Json::Bool(true),
            b"false" => Json::Bool(false),
            // Python writes them and reads them.
            b"NaN" | b"Infinity" => {
                self.notes.malformed = true;
                Json::Null
            }
            _ => {
                if end == rest.len() {
                    self.at = self.bytes.len();
                }
                self.stop();
                return Json::Null;
            }
        };
        self.at += end;
        value
    }

    /// Passes over one value, however deep, by its brackets and quotes alone.
    fn skip(&mut self) {
        let mut open = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.skip_string();
                    if open == 0 {
                        return;
                    }
                    continue;
                }
                b'[' | b'{' => open += 1,
                b']' | b'}' | b',' if open == 0 => return,
                b']' | b'}' => {
                    open -= 1;
                    if open == 0 {
                        self.at += 1;
                        return;
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
        self.stop();
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.bytes.get(self.at) {
            self.at += match byte {
                b'"' => {
                    self.at += 1;
                    return;
                }
                b'\\' => 2,
                _ => 1,
            };
        }
        self.at = self.bytes.len();
    }
}

/// Bytes up to the closing quote, or up to the end of the input.
fn string_len(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = rest.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if rest[at] == b'"' {
            return at;
        }
        at += 2;
    }
    rest.len()
}

fn repeats(members: &[(String, Json)]) -> bool {
    let mut seen = BTreeSet::new();
    members.iter().any(|(key, _)| !seen.insert(key.as_str()))
}
