//! Where in a JSON document a place is, so far as masking asks.

use std::ops::Range;

/// The longest number that is masked as one.
pub(crate) const NUMBER_LIMIT: usize = 64;
/// Containers deeper than that are not told apart.
const DEEPEST: u32 = 64;

/// Reads a document as it goes by: is a place in a string, in an object, in an array?
///
/// A line feed ends a string (RFC 8259, section 7, allows none in it): text that is no JSON does not
/// confuse what comes after it for longer than a line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Structure {
    in_string: bool,
    escaped: bool,
    /// How many containers are open.
    depth: u32,
    /// The last byte outside of strings that is no white space.
    last: u8,
}

impl Structure {
    /// Reads `bytes`.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            if self.in_string && !self.escaped {
                let next = memchr::memchr3(b'"', b'\\', b'\n', &bytes[at..]);
                let Some(next) = next else {
                    return;
                };
                at += next;
            }
            let byte = bytes[at];
            at += 1;
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    _ => {
                        self.in_string = false;
                        self.last = byte;
                    }
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth = (self.depth + 1).min(DEEPEST),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                b' ' | b'\t' | b'\r' | b'\n' => continue,
                _ => {}
            }
            self.last = byte;
        }
    }

    /// Whether this place is in a string.
    pub(crate) fn in_string(&self) -> bool {
        self.in_string
    }

    /// Whether a value can start here that is no string.
    pub(crate) fn expects_value(&self) -> bool {
        !self.in_string && self.depth > 0 && matches!(self.last, b':' | b',' | b'[')
    }
}

/// A JSON number that stands by itself (RFC 8259, section 6).
pub(crate) struct Number<'a> {
    pub(crate) range: Range<usize>,
    /// The quote at the end of the key before it, with its backslashes; empty if there is none.
    pub(crate) key_quote: &'a [u8],
}

impl<'a> Number<'a> {
    /// The number that `part` is part of.
    pub(crate) fn around(text: &'a [u8], part: Range<usize>) -> Option<Self> {
        let in_number = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let head = text[..part.start]
            .iter()
            .rev()
            .take(NUMBER_LIMIT)
            .take_while(in_number)
            .count();
        let tail = text[part.end..]
            .iter()
            .take(NUMBER_LIMIT)
            .take_while(in_number)
            .count();
        let range = part.start - head..part.end + tail;
        let sound = text[range.clone()].iter().all(|byte| in_number(&byte))
            && text[range.clone()]
                .iter()
                .filter(|byte| matches!(byte, b'-' | b'+'))
                .count()
                < 2;
        let before = text[..range.start].trim_ascii_end();
        let after = text[range.end..].trim_ascii_start();
        let key = before
            .strip_suffix(b":")
            .unwrap_or_default()
            .trim_ascii_end();
        // What is no JSON is told by what is before the colon or comma, most often.
        let starts = match before {
            [.., b':'] => key.ends_with(b"\""),
            [rest @ .., b','] => matches!(
                rest.trim_ascii_end().last(),
                None | Some(b'0'..=b'9' | b'"' | b'}' | b']' | b'e' | b'l')
            ),
            [.., b'['] => true,
            _ => false,
        };
        let ends = matches!(after.first(), None | Some(b',' | b'}' | b']' | b'\\'));
        if !sound || !starts || !ends {
            return None;
        }
        let own = key
            .strip_suffix(b"\"")
            .map(|rest| rest.iter().rev().take_while(|&&byte| byte == b'\\').count());
        Some(Self {
            range,
            key_quote: own.map_or(&[], |own| &key[key.len() - 1 - own..]),
        })
    }
}

/// The longest key that is kept.
const KEY_LIMIT: usize = 128;

/// The JSON path of a place: `messages.0.content`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path {
    at: u64,
    /// The path, a dot before each of its parts.
    path: String,
    /// Of each open container: how long the path was before it, and its next index if it is an array.
    open: Vec<(usize, Option<usize>)>,
    /// Containers that are open and too deep to be told apart.
    deeper: usize,
    in_string: bool,
    escaped: bool,
    /// The last string: a key if a colon follows.
    string: Vec<u8>,
}

impl Path {
    /// The path of a field that has a name and no document.
    pub(crate) fn field(name: &str) -> Self {
        Self {
            path: format!(".{name}"),
            ..Self::default()
        }
    }

    /// How far it has read.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The path.
    pub(crate) fn whole(&self) -> &str {
        self.path.strip_prefix('.').unwrap_or_default()
    }

    /// Its last part.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// Reads on.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        self.at += bytes.len() as u64;
        for &byte in bytes {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' | b'\n' => self.in_string = false,
                    _ if self.string.len() < KEY_LIMIT => self.string.push(byte),
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => {
                    self.in_string = true;
                    self.string.clear();
                }
                b':' => self.key(),
                b'{' => self.enter(None),
                b'[' => self.enter(Some(0)),
                b'}' | b']' => self.leave(),
                b',' => self.next(),
                _ => {}
            }
        }
    }

    fn key(&mut self) {
        if let Some(&(len, None)) = self.open.last()
            && self.deeper == 0
        {
            self.path.truncate(len);
            self.path.push('.');
            self.path.push_str(&String::from_utf8_lossy(&self.string));
        }
    }

    fn enter(&mut self, index: Option<usize>) {
        if self.open.len() == DEEPEST as usize {
            self.deeper += 1;
            return;
        }
        self.open.push((self.path.len(), index));
        if index.is_some() {
            self.path.push_str(".0");
        }
    }

    fn leave(&mut self) {
        if self.deeper > 0 {
            self.deeper -= 1;
        } else if let Some((len, _)) = self.open.pop() {
            self.path.truncate(len);
        }
    }

    fn next(&mut self) {
        if self.deeper > 0 {
            return;
        }
        if let Some((len, Some(index))) = self.open.last_mut() {
            *index += 1;
            self.path.truncate(*len);
            self.path.push_str(&format!(".{index}"));
        }
    }
}
