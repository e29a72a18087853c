//! Telephone numbers: E.164, and as people write them.

use super::national::shaped;
use super::{Core, Scan, context};
use crate::bytes::{self, DIGIT, WORD};
use crate::validate::phone;

/// Reports the number from `start` to `end` if its form or what is said near it makes it one.
pub(super) fn look(scan: &mut Scan<'_>, start: usize, end: usize, hints: u32) -> bool {
    let text = scan.text;
    let plus = bytes::before(text, start) == b'+';
    let mut start = start - usize::from(plus);
    let closes = |start: usize| {
        let first = text[start..end]
            .iter()
            .find(|byte| matches!(byte, b'(' | b')'));
        bytes::before(text, start) == b'(' && first == Some(&b')')
    };
    if closes(start) {
        start -= 1;
    }
    if !plus && bytes::before(text, start) == b'+' {
        start -= 1;
    }
    let extended = extension_end(text, end);
    let value = &text[start..extended];
    let dialled = &text[start..end];
    // A number with a fraction is not separated.
    let separators = dialled[1..].iter().filter(|byte| !byte.is_ascii_digit());
    let separated = match separators.clone().count() {
        0 => false,
        1 => !separators.clone().any(|&byte| byte == b'.'),
        _ => true,
    };
    let sure = if value.starts_with(b"+") || value.starts_with(b"(+") {
        // With separators a wrong area code is more likely than another meaning.
        phone::is_international(value)
            || separated
                && plausible(dialled)
                && groups(dialled).next().is_some_and(|first| first <= 4)
    } else if value.starts_with(b"00") {
        separated && phone::is_international(value)
    } else {
        separated && phone::is_phone(value) && !value.starts_with(b"0") && is_american_form(dialled)
    };
    let known = hints & context::PHONE != 0 && plausible(dialled)
        || hints & context::MESSAGE != 0 && looks_dialled(dialled, separated);
    if (sure || known) && !is_time(text, end) {
        scan.report(Core::Phone, start, extended);
        return true;
    }
    false
}

/// The lengths of the groups of digits.
fn groups(value: &[u8]) -> impl Iterator<Item = usize> {
    value
        .split(|byte| !byte.is_ascii_digit())
        .map(<[u8]>::len)
        .filter(|&len| len > 0)
}

/// Whether the groups are those in which North American numbers are written.
fn is_american_form(value: &[u8]) -> bool {
    const FORMS: [&[usize]; 4] = [&[3, 3, 4], &[1, 3, 3, 4], &[3, 7], &[1, 3, 7]];
    FORMS
        .iter()
        .any(|form| groups(value).eq(form.iter().copied()))
}

/// Whether a number in a text about telephones can be one: E.164 allows 15 digits, and islands have
/// numbers of six, in pairs.
pub(super) fn plausible(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let count = |wanted| value.iter().filter(|&&byte| byte == wanted).count();
    ((7..=15).contains(&digits) || shaped(value, b"## ## ##"))
        && !shaped(value, b"####-##-##")
        && count(b'(') <= count(b')')
}

/// Whether a number in a text about messages looks like one to send them to, rather than years.
fn looks_dialled(value: &[u8], separated: bool) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let years =
        shaped(value, b"####-####") && (value.starts_with(b"19") || value.starts_with(b"20"));
    let least = if separated { 7 } else { 8 };
    digits >= least && plausible(value) && !years
}

/// Whether the last group before `end` is the hour of a time, after a date.
fn is_time(text: &[u8], end: usize) -> bool {
    matches!(text[end.min(text.len())..], [b':', tens, units, ..] if tens.is_ascii_digit() && units.is_ascii_digit())
}

/// Where the extension after a telephone number ends: `x12`, ` ext. 12`.
fn extension_end(text: &[u8], end: usize) -> usize {
    let mut at = end;
    if bytes::get(text, at) == b' ' {
        at += 1;
    }
    let rest = &text[at.min(text.len())..];
    let marker = [&b"ext. "[..], b"ext.", b"ext ", b"ext", b"x"]
        .into_iter()
        .find(|marker| {
            rest.len() > marker.len() && rest[..marker.len()].eq_ignore_ascii_case(marker)
        })
        .map_or(0, <[u8]>::len);
    let digits = bytes::run_end(text, at + marker, DIGIT, 7);
    if marker == 0 || digits == at + marker || bytes::is(bytes::get(text, digits), WORD) {
        return end;
    }
    digits
}
