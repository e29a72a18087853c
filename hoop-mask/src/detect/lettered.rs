//! Numbers with letters before or after them: IBAN, and personal numbers of some countries.

use super::national::{CHECKS, National};
use super::{CORE, Core, Scan, spoken};
use crate::bytes::{self, ALNUM, ALPHA, DIGIT, WORD};
use crate::validate::iban;

/// The longest of them, separators included.
const LIMIT: usize = 48;

/// Looks at the digits from `at` on, which follow a letter.
#[inline(never)]
pub(super) fn look(scan: &mut Scan<'_>, at: usize) {
    spoken::look_at_digit(scan, at);
    if bytes::get(scan.text, at + 1).is_ascii_digit() {
        let end = bytes::run_end(scan.text, at, DIGIT, LIMIT + 1);
        letters_first(scan, at, end - at);
    }
}

/// Personal numbers that start with digits and have letters after them.
pub(super) fn trailing_letter(scan: &mut Scan<'_>, start: usize, first_end: usize) {
    let text = scan.text;
    if !matches!(first_end - start, 6 | 8 | 17) {
        return;
    }
    let mut end = first_end;
    if matches!(bytes::get(text, end), b'-' | b'+') {
        end += 1;
    }
    let end = bytes::run_end(text, end, ALNUM, 8);
    if end > first_end {
        letters_and_digits(scan, start, end);
    }
}

/// Numbers that start with letters: IBAN, and the personal numbers of Spain, Italy, Singapore.
fn letters_first(scan: &mut Scan<'_>, at: usize, first: usize) {
    let text = scan.text;
    let start = bytes::run_start(text, at, ALPHA, 7);
    if !matches!(at - start, 1 | 2 | 6)
        || bytes::is(bytes::before(text, start), WORD)
        || bytes::before(text, start) == b'_'
    {
        return;
    }
    let letters = at - start;
    if letters == 2
        && first >= 2
        && let Some(end) = iban_end(text, start)
    {
        scan.report(Core::Iban, start, end);
        return;
    }
    let end = bytes::run_end(text, at, ALNUM, LIMIT);
    let len = end - start;
    if letters == 6 && len == 16 || letters == 1 && len == 9 {
        letters_and_digits(scan, start, end);
    }
}

/// Where the IBAN at `start` ends (ISO 13616): together or in groups of four.
fn iban_end(text: &[u8], start: usize) -> Option<usize> {
    let want = iban::length(
        text[start].to_ascii_uppercase(),
        text[start + 1].to_ascii_uppercase(),
    )?;
    let (mut at, mut count) = (start, 0);
    while count < want {
        let byte = bytes::get(text, at);
        if bytes::is(byte, ALNUM) {
            count += 1;
        } else if !(matches!(byte, b' ' | b'-' | b'+')
            && count % 4 == 0
            && count > 0
            && bytes::is(bytes::get(text, at + 1), ALNUM))
        {
            return None;
        }
        at += 1;
    }
    let value = &text[start..at];
    let spaced;
    let value = if value.contains(&b'+') {
        spaced = value
            .iter()
            .map(|&byte| if byte == b'+' { b' ' } else { byte })
            .collect::<Vec<_>>();
        &spaced
    } else {
        value
    };
    (!bytes::is(bytes::get(text, at), WORD) && iban::is_iban(value)).then_some(at)
}

fn letters_and_digits(scan: &mut Scan<'_>, start: usize, end: usize) {
    let text = scan.text;
    if bytes::is(bytes::get(text, end), WORD)
        || matches!(bytes::before(text, start), b'-' | b'.' | b'_')
    {
        return;
    }
    let value = &text[start..end];
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    if !value.iter().any(u8::is_ascii_alphabetic) {
        return;
    }
    let passes = |national: &National| national.passes(digits, value);
    if let Some(i) = CHECKS.iter().position(passes) {
        scan.push(CORE.len() + i, start, end, None);
    }
}
