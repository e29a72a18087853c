//! Values that a sentence or an element names: `my password is `, `the API key **...**`,
//! `<client_secret>`.

use super::keyed::{self, Kind};
use super::{Core, Scan, entropy};
use crate::bytes::{self, ALNUM, ALPHA, JOINER};

/// A longer value goes to [`super::keyed`] or [`super::token`], or is none that people write.
const LIMIT: usize = 128;
/// So many bytes of what names the value are read.
const NAME_LIMIT: usize = 40;
/// Words between the name and the value.
const LINKS: [&[u8]; 8] = [b"is", b"was", b"are", b"to", b"be", b"as", b"ist", b"est"];

/// Looks at the value around `at`, if what is before it names it.
pub(super) fn look(scan: &mut Scan<'_>, at: usize) {
    let text = scan.text;
    let mut start = at;
    while start > 0 && at - start < LIMIT && is_part(text[start - 1]) {
        start -= 1;
    }
    let limit = text.len().min(start + LIMIT);
    let mut end = at + text[at..limit].iter().take_while(|&&byte| is_part(byte)).count();
    while end > start && matches!(text[end - 1], b'.' | b':' | b'!' | b'?' | b'*' | b'_') {
        end -= 1;
    }
    while start < end && matches!(text[start], b'*' | b'_' | b'.' | b':') {
        start += 1;
    }
    // Most runs are names in a program.
    if end < start + 6 || end - start == LIMIT || start == 0 {
        return;
    }
    let value = &text[start..end];
    let mixed = value.iter().any(u8::is_ascii_digit) || keyed::is_mixed_up(value);
    if !mixed || !value.iter().any(u8::is_ascii_alphabetic) {
        return;
    }
    let Some(kind) = name(text, start) else {
        return;
    };
    let core = match kind {
        Kind::Password if entropy(value) >= 2.0 && !is_path(value) => Core::Password,
        Kind::Secret | Kind::AwsSecret if is_generated(value) => Core::Secret,
        _ => return,
    };
    scan.report(core, start, end);
}

/// What the words before `start`, or the element that starts there, say of the value.
fn name(text: &[u8], start: usize) -> Option<Kind> {
    let from = start.saturating_sub(NAME_LIMIT);
    let mut before = &text[from..start];
    if before.ends_with(b">") {
        let open = before.iter().rposition(|&byte| byte == b'<')?;
        let tag = &before[open + 1..before.len() - 1];
        return tag.iter().all(|&byte| bytes::is(byte, ALNUM | JOINER)).then(|| keyed::kind_of(tag))?;
    }
    let wrapped = before.iter().rev().take_while(|byte| b"*_\"'`<([".contains(byte)).count();
    before = &before[..before.len() - wrapped];
    // A bare word after a colon or an equals sign is the value of a key.
    before = before.strip_suffix(b" ")?;
    let unlinked = before;
    for _ in 0..2 {
        let link = before.strip_suffix(b":").or_else(|| before.strip_suffix(b"=")).or_else(|| {
            let word = bytes::run_start(before, before.len(), ALPHA, 4);
            let is_link = LINKS.iter().any(|link| before[word..].eq_ignore_ascii_case(link));
            is_link.then(|| before[..word].strip_suffix(b" "))?
        });
        before = link.map_or(before, <[u8]>::trim_ascii_end);
    }
    let words = before.iter().rev().take_while(|&&byte| bytes::is(byte, ALNUM | JOINER) || byte == b' ');
    let name = &before[before.len() - words.count()..];
    // To pass something is no word of it.
    if before.len() == unlinked.len() && name.ends_with(b" pass") || name == b"pass" {
        return None;
    }
    keyed::kind_of(name)
}

/// Whether a value that people write can hold `byte`.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"'`<>(){}[]|,;\\&".contains(&byte)
}

fn is_path(value: &[u8]) -> bool {
    value.contains(&b'/') || value.windows(2).any(|pair| pair == b"::")
}

/// Whether a value is random rather than a name: of all three kinds of characters, or full of digits.
fn is_generated(value: &[u8]) -> bool {
    let count = |is: fn(&u8) -> bool| value.iter().filter(|&byte| is(byte)).count();
    let digits = count(u8::is_ascii_digit);
    let mixed = count(u8::is_ascii_lowercase) > 0 && count(u8::is_ascii_uppercase) > 0 && digits > 1;
    value.len() >= 16
        && (mixed || digits * 5 >= value.len() || keyed::is_mixed_up(value))
        && entropy(value) >= 3.0
        && !value.windows(3).any(|part| part == b"://")
}
