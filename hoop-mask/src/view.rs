//! Text with its escapes undone, and the way back.
//!
//! JSON strings (RFC 8259, section 7), JSON in such strings, and percent-encoding (RFC 3986, section
//! 2.1) are undone in one go, whatever the depth: `\n`, `\\n` and `%0A` are a line feed. Only quotes
//! keep their depth, since it tells where a value ends: the quote of a nested document is [`QUOTE`].

use crate::prefilter::{self, BLOCK};
use crate::{bytes, finding::Via};

/// The quote of a document that stands in a JSON string; the next byte is that of one level deeper.
pub(crate) const QUOTE: u8 = 0x11;
/// The deepest level of quotes that is told apart.
const DEEPEST: u32 = 3;

/// The level of a quote: 0 for `"`, 1 for `\"`, 2 for `\\\"`; `None` for another byte.
#[inline]
pub(crate) fn quote_level(byte: u8) -> Option<u32> {
    match byte {
        b'"' => Some(0),
        QUOTE..=0x13 => Some(u32::from(byte - QUOTE) + 1),
        _ => None,
    }
}

/// One escape.
#[derive(Clone, Copy)]
struct Escape {
    view: u32,
    raw: u32,
    raw_len: u32,
    view_len: u8,
    via: Via,
}

impl Escape {
    /// Where the bytes that it stands for end in the view.
    fn view_end(&self) -> usize {
        self.view as usize + usize::from(self.view_len)
    }

    /// Where it ends in the raw bytes.
    fn raw_end(&self) -> usize {
        self.raw as usize + self.raw_len as usize
    }
}

/// What a window of raw bytes says.
pub(crate) struct View<'a> {
    pub(crate) text: &'a [u8],
    escapes: &'a [Escape],
}

/// The memory of a view, to be used again.
#[derive(Default)]
pub(crate) struct Buffer {
    text: Vec<u8>,
    escapes: Vec<Escape>,
}

impl Buffer {
    /// Undoes the escapes of `raw`; without any it is its own view.
    pub(crate) fn view<'a>(&'a mut self, raw: &'a [u8]) -> View<'a> {
        self.escapes.clear();
        let Some(first) = memchr::memchr2(b'\\', b'%', raw) else {
            return View::plain(raw);
        };
        // No escape stands for more bytes than it has; a block more is room for whole copies.
        if self.text.len() < raw.len() + BLOCK {
            self.text.resize(raw.len() + BLOCK, 0);
        }
        let (mut len, mut done) = (0, 0);
        for start in (first..raw.len()).step_by(BLOCK) {
            let mut marks = match raw[start..].first_chunk() {
                Some(block) => prefilter::escapes(block),
                None => {
                    let mut block = [0; BLOCK];
                    block[..raw.len() - start].copy_from_slice(&raw[start..]);
                    prefilter::escapes(&block)
                }
            };
            while marks != 0 {
                let at = start + marks.trailing_zeros() as usize;
                marks &= marks - 1;
                if at < done {
                    continue;
                }
                if raw.get(at + 1) == Some(&b'n') && raw[at] == b'\\' {
                    // By far the most are line feeds.
                    len = self.copy(raw, done, at, len);
                    self.escapes.push(Escape {
                        view: len as u32,
                        raw: at as u32,
                        raw_len: 2,
                        view_len: 1,
                        via: Via::JsonEscaped,
                    });
                    self.text[len] = b'\n';
                    len += 1;
                    done = at + 2;
                    continue;
                }
                let escape = if raw[at] == b'\\' {
                    backslash(raw, at)
                } else {
                    percent(raw, at)
                };
                let Some((raw_len, decoded, via)) = escape else {
                    continue;
                };
                len = self.copy(raw, done, at, len);
                self.escapes.push(Escape {
                    view: len as u32,
                    raw: at as u32,
                    raw_len: raw_len as u32,
                    view_len: decoded.len,
                    via,
                });
                self.text[len..len + decoded.bytes.len()].copy_from_slice(&decoded.bytes);
                len += usize::from(decoded.len);
                done = at + raw_len;
            }
        }
        if self.escapes.is_empty() {
            return View::plain(raw);
        }
        len = self.copy(raw, done, raw.len(), len);
        View {
            text: &self.text[..len],
            escapes: &self.escapes,
        }
    }

    /// Copies the bytes from `from` to `to` to `at`; where they end.
    #[inline]
    fn copy(&mut self, raw: &[u8], from: usize, to: usize, at: usize) -> usize {
        let len = to - from;
        // A copy of a known length is some instructions.
        match raw[from..].first_chunk::<BLOCK>() {
            Some(block) if len <= BLOCK => self.text[at..at + BLOCK].copy_from_slice(block),
            _ => self.text[at..at + len].copy_from_slice(&raw[from..to]),
        }
        at + len
    }
}

impl<'a> View<'a> {
    /// Bytes that are their own view.
    pub(crate) fn plain(raw: &'a [u8]) -> Self {
        Self {
            text: raw,
            escapes: &[],
        }
    }

    /// Where what is at `at` in the view starts in the raw bytes.
    pub(crate) fn raw_start(&self, at: usize) -> usize {
        match self.escape_at(at) {
            None => at,
            Some(escape) if at < escape.view_end() => escape.raw as usize,
            Some(escape) => escape.raw_end() + (at - escape.view_end()),
        }
    }

    /// Where what ends before `at` in the view ends in the raw bytes.
    pub(crate) fn raw_end(&self, at: usize) -> usize {
        let Some(last) = at.checked_sub(1) else {
            return 0;
        };
        match self.escape_at(last) {
            Some(escape) if last < escape.view_end() => escape.raw_end(),
            _ => self.raw_start(last) + 1,
        }
    }

    /// The first position in the view of what starts at `raw` or later.
    pub(crate) fn position(&self, raw: usize) -> usize {
        let next = self
            .escapes
            .partition_point(|escape| (escape.raw as usize) < raw);
        let Some(escape) = next.checked_sub(1).map(|i| &self.escapes[i]) else {
            return raw.min(self.text.len());
        };
        let after = raw.saturating_sub(escape.raw_end());
        (escape.view_end() + after).min(self.text.len())
    }

    /// How the bytes from `start` to `end` were written.
    pub(crate) fn via(&self, start: usize, end: usize) -> Via {
        let first = self
            .escapes
            .partition_point(|escape| escape.view_end() <= start);
        match self.escapes.get(first) {
            Some(escape) if (escape.view as usize) < end => escape.via,
            _ => Via::Plain,
        }
    }

    fn escape_at(&self, at: usize) -> Option<&Escape> {
        let next = self
            .escapes
            .partition_point(|escape| escape.view as usize <= at);
        next.checked_sub(1).map(|i| &self.escapes[i])
    }
}

/// What an escape stands for: at most one character.
struct Decoded {
    bytes: [u8; 4],
    len: u8,
}

impl Decoded {
    #[inline]
    fn byte(byte: u8) -> Self {
        Self {
            bytes: [byte, 0, 0, 0],
            len: 1,
        }
    }

    fn char(char: char) -> Self {
        let mut bytes = [0; 4];
        let len = char.encode_utf8(&mut bytes).len() as u8;
        Self { bytes, len }
    }
}

/// The escape whose first backslash is at `at`.
#[inline(never)]
fn backslash(raw: &[u8], at: usize) -> Option<(usize, Decoded, Via)> {
    let run = raw[at..].iter().take_while(|&&byte| byte == b'\\').count();
    let next = bytes::get(raw, at + run);
    let via = Via::JsonEscaped;
    let (more, decoded) = match next {
        b'"' => {
            // The quote's own backslashes are 0, 1, 3, 7, ...: those before are escaped ones.
            let level = run.trailing_ones().min(DEEPEST);
            let own = (1_usize << level) - 1;
            if own == 0 || own < run {
                return Some((run - own, Decoded::byte(b'\\'), via));
            }
            (1, Decoded::byte(QUOTE + level as u8 - 1))
        }
        b'\'' | b'/' => (1, Decoded::byte(next)),
        b'n' | b'r' => (1, Decoded::byte(b'\n')),
        b't' | b'b' | b'f' => (1, Decoded::byte(b'\t')),
        b'u' | b'x' => {
            let digits = if next == b'u' { 4 } else { 2 };
            let first = at + run + 1;
            match hex_digits(raw.get(first..first + digits)) {
                Some(code) => {
                    let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                    (1 + digits, Decoded::char(char))
                }
                None => (0, Decoded::byte(b'\\')),
            }
        }
        _ => (0, Decoded::byte(b'\\')),
    };
    if run + more == 1 {
        return None;
    }
    Some((run + more, decoded, via))
}

/// The percent-encoded byte at `at`.
#[inline(never)]
fn percent(raw: &[u8], at: usize) -> Option<(usize, Decoded, Via)> {
    let code = hex_digits(raw.get(at + 1..at + 3))?;
    Some((3, Decoded::byte(code as u8), Via::PercentEncoded))
}

fn hex_digits(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |code, &digit| {
        Some(code << 4 | u32::from(bytes::hex(digit)?))
    })
}
