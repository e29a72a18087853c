//! Values that a sentence or an element names: `my password is `, `the API key **...**`,
//! `<client_secret>`.

use super::keyed::{self, Kind};
use super::{Core, Scan, entropy};
use crate::bytes::{self, ALNUM, ALPHA, JOINER};
use crate::prefilter::TOKEN_RUN;

/// A longer value goes to [`super::keyed`] or [`super::token`], or is none that people write.
const LIMIT: usize = 128;
/// So many bytes of what names the value are read.
const NAME_LIMIT: usize = 40;
/// Words between the name and the value.
const LINKS: [&[u8]; 8] = [b"is", b"was", b"are", b"to", b"be", b"as", b"ist", b"est"];

/// Looks at the value around a digit that follows a letter, unless it is long and has a run that
/// [`look`] is called for.
pub(super) fn look_at_digit(scan: &mut Scan<'_>, at: usize) {
    if at < scan.word_end {
        return;
    }
    let start = start_of(scan.text, at, TOKEN_RUN);
    if at - start < TOKEN_RUN && may_be_named(scan.text, start) {
        let end = end_of(scan.text, at);
        scan.word_end = end;
        judge(scan, start, end);
    }
}

/// Looks at the value around `at`.
pub(super) fn look(scan: &mut Scan<'_>, at: usize) {
    let start = start_of(scan.text, at, LIMIT);
    if may_be_named(scan.text, start) {
        let end = end_of(scan.text, at);
        judge(scan, start, end);
    }
}

/// Whether what is right before `start` can name a value: most are names in a program.
fn may_be_named(text: &[u8], start: usize) -> bool {
    let head = &text[start.saturating_sub(NAME_LIMIT)..start];
    if head.ends_with(b">") {
        return true;
    }
    let wrapped = head.iter().rev().take_while(|&&byte| wraps(byte));
    let head = &head[..head.len() - wrapped.count()];
    match *head {
        [.., b':' | b'=', b' '] => true,
        [.., a, b, c, b' '] => {
            // The last two letters of `LINKS`.
            let link = [b | 0x20, c | 0x20];
            keyed::may_end(a, b, c)
                || matches!(&link, b"is" | b"as" | b"re" | b"to" | b"be" | b"st")
        }
        _ => false,
    }
}

/// Whether `byte` stands around a value in a text.
#[inline]
fn wraps(byte: u8) -> bool {
    matches!(byte, b'*' | b'_' | b'"' | b'\'' | b'`' | b'<' | b'(' | b'[')
}

fn start_of(text: &[u8], at: usize, limit: usize) -> usize {
    let parts = text[..at]
        .iter()
        .rev()
        .take(limit)
        .take_while(|&&byte| is_part(byte));
    at - parts.count()
}

fn end_of(text: &[u8], at: usize) -> usize {
    at + text[at..]
        .iter()
        .take(LIMIT)
        .take_while(|&&byte| is_part(byte))
        .count()
}

/// Reports the value if what is before it names it.
fn judge(scan: &mut Scan<'_>, mut start: usize, mut end: usize) {
    let text = scan.text;
    if end - start >= LIMIT {
        return;
    }
    while end > start && matches!(text[end - 1], b'.' | b':' | b'!' | b'?' | b'*' | b'_') {
        end -= 1;
    }
    while start < end && matches!(text[start], b'*' | b'_' | b'.' | b':') {
        start += 1;
    }
    if end < start + 6 {
        return;
    }
    let value = &text[start..end];
    let mixed = value.iter().any(u8::is_ascii_digit) || keyed::is_mixed_up(value);
    if !mixed || !value.iter().any(u8::is_ascii_alphabetic) {
        return;
    }
    let Some((kind, linked)) = name(text, start) else {
        return;
    };
    let core = match kind {
        Kind::Password if (linked || is_strong(value)) && is_chosen(value) => Core::Password,
        Kind::Secret | Kind::AwsSecret
            if is_generated(value) && (linked || is_of_one_piece(value)) =>
        {
            Core::Secret
        }
        _ => return,
    };
    scan.report(core, start, end);
}

/// What the words before `start`, or the element that starts there, say of the value, and whether they
/// say that it is one: `password is `, and not `password `.
fn name(text: &[u8], start: usize) -> Option<(Kind, bool)> {
    let from = start.saturating_sub(NAME_LIMIT);
    let mut before = &text[from..start];
    if before.ends_with(b">") {
        let open = before.iter().rposition(|&byte| byte == b'<')?;
        let tag = &before[open + 1..before.len() - 1];
        return tag
            .iter()
            .all(|&byte| bytes::is(byte, ALNUM | JOINER))
            .then(|| keyed::kind_of(tag))?
            .map(|kind| (kind, true));
    }
    let wrapped = before.iter().rev().take_while(|&&byte| wraps(byte)).count();
    before = &before[..before.len() - wrapped];
    // A bare word after a colon or an equals sign is the value of a key.
    before = before.strip_suffix(b" ")?;
    let unlinked = before;
    for _ in 0..2 {
        let link = before
            .strip_suffix(b":")
            .or_else(|| before.strip_suffix(b"="))
            .or_else(|| {
                let word = bytes::run_start(before, before.len(), ALPHA, 4);
                let is_link = LINKS
                    .iter()
                    .any(|link| before[word..].eq_ignore_ascii_case(link));
                is_link.then(|| before[..word].strip_suffix(b" "))?
            });
        before = link.map_or(before, <[u8]>::trim_ascii_end);
    }
    let words = before
        .iter()
        .rev()
        .take_while(|&&byte| bytes::is(byte, ALNUM | JOINER) || byte == b' ');
    let name = &before[before.len() - words.count()..];
    let linked = before.len() != unlinked.len();
    // To pass something is no word of it.
    if !linked && name.ends_with(b" pass") || name == b"pass" {
        return None;
    }
    Some((keyed::kind_of(name)?, linked || wrapped > 0))
}

/// Whether a value that people write can hold `byte`.
#[inline]
fn is_part(byte: u8) -> bool {
    PART[byte as usize]
}

static PART: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        table[byte as usize] = !matches!(
            byte,
            b'"' | b'\''
                | b'`'
                | b'<'
                | b'>'
                | b'('
                | b')'
                | b'{'
                | b'}'
                | b'['
                | b']'
                | b'|'
                | b','
                | b';'
                | b'\\'
                | b'&'
        );
        byte += 1;
    }
    table
};

/// Whether somebody may have chosen it: no version, no date, and no standard as in `is SHA-256 hashed`.
fn is_chosen(value: &[u8]) -> bool {
    let letters = value
        .iter()
        .filter(|byte| byte.is_ascii_alphabetic())
        .count();
    let numeric = |&byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'/' | b'%');
    let version =
        letters <= 2 && value.iter().filter(|byte| numeric(byte)).count() + letters == value.len();
    let stem = value
        .iter()
        .position(|byte| !byte.is_ascii_alphabetic())
        .map_or(value, |len| &value[..len]);
    let standard = STANDARDS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(stem));
    !version && !standard && entropy(value) >= 2.0 && !is_path(value)
}

/// What the names of algorithms and formats start with before their first figure.
const STANDARDS: [&[u8]; 16] = [
    b"sha", b"md", b"base", b"utf", b"oauth", b"aes", b"rsa", b"ed", b"argon", b"ipv", b"http",
    b"iso", b"rfc", b"pbkdf", b"crc", b"ascii",
];

/// Whether a value after a bare `password ` is one: of three kinds of characters.
fn is_strong(value: &[u8]) -> bool {
    let any = |is: fn(&u8) -> bool| usize::from(value.iter().any(is));
    let kinds = any(u8::is_ascii_lowercase)
        + any(u8::is_ascii_uppercase)
        + any(u8::is_ascii_digit)
        + any(|byte| byte.is_ascii_punctuation() && !b".-_:/%'".contains(byte));
    value.len() >= 8 && kinds >= 3
}

/// Whether a value after a bare `token ` is more than short words and figures, as `gpt-4o-2024-08-06`
/// is. A UUID has a part of 12.
fn is_of_one_piece(value: &[u8]) -> bool {
    value
        .split(|byte| !byte.is_ascii_alphanumeric())
        .any(|part| part.len() >= 12)
}

fn is_path(value: &[u8]) -> bool {
    value.contains(&b'/') || value.windows(2).any(|pair| pair == b"::")
}

/// Whether a value is random rather than a name: of all three kinds of characters, or full of digits.
fn is_generated(value: &[u8]) -> bool {
    let count = |is: fn(&u8) -> bool| value.iter().filter(|&byte| is(byte)).count();
    let digits = count(u8::is_ascii_digit);
    let mixed =
        count(u8::is_ascii_lowercase) > 0 && count(u8::is_ascii_uppercase) > 0 && digits > 1;
    value.len() >= 16
        && (mixed || digits * 5 >= value.len() || keyed::is_mixed_up(value))
        && entropy(value) >= 3.0
        && !value.windows(3).any(|part| part == b"://")
}
