//! Classes of bytes.

pub(crate) const DIGIT: u8 = 1;
pub(crate) const ALPHA: u8 = 2;
/// Hexadecimal digits.
pub(crate) const HEX: u8 = 4;
/// `_` and `-`, which join the words of a token.
pub(crate) const JOINER: u8 = 8;
/// `+` and `/`, the rest of base64 (RFC 4648, section 4).
pub(crate) const BASE64: u8 = 16;
/// What a local part may hold besides letters and digits (RFC 5322, section 3.2.3, those in use).
pub(crate) const LOCAL: u8 = 32;
/// Bytes beyond ASCII: letters, as far as words go.
pub(crate) const HIGH: u8 = 64;
/// White space.
pub(crate) const SPACE: u8 = 128;

pub(crate) const ALNUM: u8 = DIGIT | ALPHA;
pub(crate) const TOKEN: u8 = ALNUM | JOINER;
pub(crate) const WORD: u8 = ALNUM | HIGH;

static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        let mut class = 0;
        if byte.is_ascii_digit() {
            class |= DIGIT;
        }
        if byte.is_ascii_alphabetic() {
            class |= ALPHA;
        }
        if byte.is_ascii_hexdigit() {
            class |= HEX;
        }
        if matches!(byte, b'_' | b'-') {
            class |= JOINER;
        }
        if matches!(byte, b'+' | b'/') {
            class |= BASE64;
        }
        if matches!(
            byte,
            b'.' | b'_' | b'%' | b'+' | b'-' | b'\'' | b'!' | b'#' | b'$' | b'&' | b'*' | b'~'
        ) {
            class |= LOCAL;
        }
        if byte >= 0x80 {
            class |= HIGH;
        }
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            class |= SPACE;
        }
        table[i] = class;
        i += 1;
    }
    table
};

/// Whether `byte` is in one of `classes`.
#[inline]
pub(crate) fn is(byte: u8, classes: u8) -> bool {
    CLASS[byte as usize] & classes != 0
}

/// The byte at `at`, or 0 beyond the end.
#[inline]
pub(crate) fn get(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

/// The byte before `at`, or 0 at the start.
#[inline]
pub(crate) fn before(text: &[u8], at: usize) -> u8 {
    at.checked_sub(1).map_or(0, |at| get(text, at))
}

/// Where the run of `classes` that holds `at` ends, no further than `limit` bytes on.
#[inline]
pub(crate) fn run_end(text: &[u8], at: usize, classes: u8, limit: usize) -> usize {
    let tail = &text[at.min(text.len())..text.len().min(at.saturating_add(limit))];
    at + tail
        .iter()
        .position(|&byte| !is(byte, classes))
        .unwrap_or(tail.len())
}

/// Where the run of `classes` that ends before `at` starts, no further than `limit` bytes back.
#[inline]
pub(crate) fn run_start(text: &[u8], at: usize, classes: u8, limit: usize) -> usize {
    let head = &text[at.saturating_sub(limit)..at];
    at - head
        .iter()
        .rev()
        .position(|&byte| !is(byte, classes))
        .unwrap_or(head.len())
}

/// The value of a hexadecimal digit.
#[inline]
pub(crate) fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
