//! A reader of JSON that keeps what can be read.
//!
//! A strict parser gives nothing of a body with one lone surrogate, one number out of range, one
//! value too deep or its last byte missing, and whoever wants a call not to be seen needs only one
//! of these: many clients and servers take them. This one goes on where it can, stops where it
//! cannot, and tells what was wrong in [`Notes`].

use std::collections::BTreeSet;

/// Containers within containers that are kept, as in `serde_json`; deeper ones are passed over.
const DEPTH: usize = 128;

/// Values that are kept of one document; each takes up to 48 bytes beside its text.
const VALUES: usize = 500_000;

/// A JSON value as it was written: members in order, repeated ones too, numbers by their digits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

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

static NULL: Json = Json::Null;

impl Json {
    /// The member of that name, the last one if there are several; `Null` if there is none or this
    /// is no object.
    pub(crate) fn get(&self, key: &str) -> &Self {
        match self {
            Self::Object(members) => members
                .iter()
                .rev()
                .find(|(name, _)| name == key)
                .map_or(&NULL, |(_, value)| value),
            _ => &NULL,
        }
    }

    /// Of the members of these names, the first that is there and not `Null`.
    pub(crate) fn any(&self, keys: &[&str]) -> &Self {
        keys.iter()
            .map(|key| self.get(key))
            .find(|value| !value.is_null())
            .unwrap_or(&NULL)
    }

    /// The members of an object, in the order written; none of anything else.
    pub(crate) fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// The items of an array; none of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// A copy of a string.
    pub(crate) fn string(&self) -> Option<String> {
        self.str().map(str::to_owned)
    }

    pub(crate) fn bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A number without fraction within `u64`.
    pub(crate) fn u64(&self) -> Option<u64> {
        let Self::Number(digits) = self else {
            return None;
        };
        digits.parse().ok().or_else(|| {
            // 1e3 and 1.0 are integers too. Up to 2^53 all of them are exact.
            let value: f64 = digits.parse().ok()?;
            let whole = (0.0..=9_007_199_254_740_992.0).contains(&value) && value.fract() == 0.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked to be whole and in range"
            )]
            whole.then_some(value as u64)
        })
    }

    pub(crate) fn i64(&self) -> Option<i64> {
        match self {
            Self::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// A number; `None` if it is beyond `f64`.
    pub(crate) fn f64(&self) -> Option<f64> {
        match self {
            Self::Number(digits) => digits.parse().ok().filter(|value: &f64| value.is_finite()),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        *self == Self::Null
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    pub(crate) fn is_array(&self) -> bool {
        matches!(self, Self::Array(_))
    }

    /// A string itself; anything else as JSON, nothing of `Null`.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::String(text) => Some(text.clone()),
            other => Some(other.to_json()),
        }
    }

    /// As JSON, without space.
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// Whether every number in it is one that `u64`, `i64` or `f64` gives back as it was written.
    pub(crate) fn is_exact(&self) -> bool {
        match self {
            Self::Number(digits) => {
                digits.parse::<i64>().is_ok()
                    || digits.parse::<u64>().is_ok()
                    || digits.parse::<f64>().is_ok_and(|value| {
                        // Fifteen significant digits survive a double.
                        let significant = digits.bytes().filter(u8::is_ascii_digit).count();
                        value.is_finite() && significant <= 15
                    })
            }
            Self::Array(items) => items.iter().all(Self::is_exact),
            Self::Object(members) => members.iter().all(|(_, value)| value.is_exact()),
            _ => true,
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(digits) => out.push_str(digits),
            Self::String(text) => quote(text, out),
            Self::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    out.push(if i == 0 { '[' } else { ',' });
                    item.write(out);
                }
                out.push_str(if items.is_empty() { "[]" } else { "]" });
            }
            Self::Object(members) => {
                for (i, (key, value)) in members.iter().enumerate() {
                    out.push(if i == 0 { '{' } else { ',' });
                    quote(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push_str(if members.is_empty() { "{}" } else { "}" });
            }
        }
    }
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
            b'-' | b'0'..=b'9' => self.number(),
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
        let mut text = Vec::new();
        loop {
            let rest = &self.bytes[self.at..];
            let Some(end) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) else {
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

    fn number(&mut self) -> Json {
        let rest = &self.bytes[self.at..];
        let end = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let digits = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.at += end;
        // RFC 8259 section 6, by a parser that knows it; what is out of its range is still one.
        let valid = serde_json::from_str::<&serde_json::value::RawValue>(&digits).is_ok();
        if valid {
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

fn quote(text: &str, out: &mut String) {
    // Writing a string into memory does not fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

fn repeats(members: &[(String, Json)]) -> bool {
    let mut seen = BTreeSet::new();
    members.iter().any(|(key, _)| !seen.insert(key.as_str()))
}
