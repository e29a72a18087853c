//! Everything that starts with a digit: cards, personal numbers, telephone numbers, dates, IPv4.

use std::ops::Range;

use super::national::{CHECKS, National, shaped};
use super::{CORE, Core, Scan, context, lettered, phone};
use crate::bytes::{self, ALNUM, ALPHA, DIGIT, HIGH, WORD};
use crate::validate::{card, date, net, us};

/// The most groups of digits that one number is written in.
const GROUPS: usize = 12;
/// The fewest digits of a card.
const CARD_DIGITS: usize = 12;
/// The longest number, separators included.
const LIMIT: usize = 48;

/// The groups of digits from one place on.
struct Number {
    ends: [usize; GROUPS],
    /// The digits up to the end of each group.
    digits: [usize; GROUPS],
    groups: usize,
}

impl Number {
    /// Reads on over single separators, and over `) ` and ` (`, as telephone numbers have them.
    fn read(text: &[u8], start: usize, first_end: usize) -> Self {
        let mut number = Self {
            ends: [first_end; GROUPS],
            digits: [first_end - start; GROUPS],
            groups: 1,
        };
        let limit = text.len().min(start + LIMIT);
        let mut at = first_end;
        while number.groups < GROUPS && at < limit {
            let separator = separator(&text[at..limit]);
            if separator == 0 {
                break;
            }
            let group = bytes::run_end(text, at + separator, DIGIT, LIMIT);
            if group == at + separator || group > limit {
                break;
            }
            number.ends[number.groups] = group;
            number.digits[number.groups] =
                number.digits[number.groups - 1] + (group - at - separator);
            number.groups += 1;
            at = group;
        }
        number
    }
}

fn separator(text: &[u8]) -> usize {
    match text {
        [b')', b' ' | b'+' | b'-' | b'.' | b'/', ..]
        | [b' ' | b'+', b'(', ..]
        | [0xc2, 0xa0, ..] => 2,
        [b' ' | b'-' | b'.' | b'/' | b'(' | b')' | b'+', ..] => 1,
        [0xe2, 0x80, 0x90..=0x94 | 0xaf, ..] => 3,
        _ => 0,
    }
}

/// Looks at what may be the year of a date whose month has a name.
#[inline(never)]
pub(super) fn look_at_year(scan: &mut Scan<'_>, at: usize) {
    let text = scan.text;
    let end = bytes::run_end(text, at, DIGIT, 5);
    // Two digits are a year in the likes of `14-Mar-87` only.
    let year = match end - at {
        4 => matches!(text[at], b'1' | b'2'),
        2 => bytes::before(text, at) != b' ',
        _ => false,
    };
    if year {
        named_date(scan, at, end);
    }
}

/// Looks at the number whose first digit is at `at`.
#[inline(never)]
pub(super) fn look(scan: &mut Scan<'_>, at: usize) {
    let text = scan.text;
    let first_end = bytes::run_end(text, at, DIGIT, LIMIT + 1);
    let first = first_end - at;
    let before = bytes::before(text, at);
    // Most numbers in a text are short and stand alone, or are a decimal fraction.
    if first < 7 && !more_follows(text, first_end) || first > LIMIT || bytes::is(before, WORD) {
        return;
    }
    let before_that = bytes::before(text, at.saturating_sub(1));
    let joined = match before {
        b'.' | b'-' | b'/' | b'_' => bytes::is(before_that, ALNUM),
        // A time of day; but `ssn:078-05-1120`.
        b':' => before_that.is_ascii_digit(),
        // A group of thousands; but a column of digits before this one.
        b',' => {
            let grouped = matches!(bytes::get(text, first_end), b'-' | b'.');
            before_that.is_ascii_digit() && first == 3 && !grouped
        }
        _ => false,
    };
    if before == b'.' && joined && first >= 5 {
        return;
    }
    // In a row of numbers only what can be the start of one in groups.
    if before == b' ' && first < 3 && at >= 2 && text[at - 2].is_ascii_digit() {
        return;
    }
    let number = Number::read(text, at, first_end);
    // Of what goes on before it only a card is told, which has twelve digits or more: no time of day.
    let groups = if joined && number.digits[number.groups - 1] < CARD_DIGITS {
        0
    } else {
        number.groups
    };
    for group in (0..groups).rev() {
        let digits = number.digits[group];
        // IPv4 has the fewest.
        if digits < 4 {
            break;
        }
        let whole = group + 1 == number.groups;
        if judge(scan, at..number.ends[group], digits, joined, whole) {
            return;
        }
    }
    lettered::trailing_letter(scan, at, first_end);
}

#[inline]
fn more_follows(text: &[u8], end: usize) -> bool {
    let next = bytes::get(text, end);
    match next {
        b' ' | b'-' | b'.' | b'/' | b'(' | b')' | b'+' => {
            let after = bytes::get(text, end + 1);
            after.is_ascii_digit()
                || matches!(after, b' ' | b'+' | b'(' | b'-' | b'/' | b'.')
                    && bytes::get(text, end + 2).is_ascii_digit()
                || bytes::is(after, ALPHA) && next == b'-'
        }
        0xc2 | 0xe2 => true,
        _ => bytes::is(next, ALPHA),
    }
}

/// Judges the digits from `start` to `end`; the last of the tries is the shortest.
fn judge(
    scan: &mut Scan<'_>,
    range: Range<usize>,
    digits: usize,
    joined: bool,
    whole: bool,
) -> bool {
    let text = scan.text;
    let Range { start, end } = range;
    let after = bytes::get(text, end);
    if bytes::is(after, WORD) && !matches!(after, b'x' | b'X' | b'e' | b'T') || after == b'_' {
        return false;
    }
    let value = &text[start..end];
    // A fraction, or a file's name.
    if after == b'.' && bytes::is(bytes::get(text, end + 1), ALNUM) && whole {
        return false;
    }
    if (CARD_DIGITS..=19).contains(&digits) && is_grouped_card(value) && card::is_card(value) {
        scan.report(Core::Card, start, end);
        return true;
    }
    if joined {
        return false;
    }
    if digits <= 12
        && value.iter().filter(|&&byte| byte == b'.').count() == 3
        && net::is_ipv4(value)
    {
        return ipv4(scan, start, end);
    }
    if digits == 9 && shaped(value, b"###-##-####") && us::is_ssn(value) {
        scan.report(Core::UsSsn, start, end);
        return true;
    }
    if !(6..=18).contains(&digits) {
        return false;
    }
    let plus =
        start > 0 && text[start - 1] == b'+' || start > 1 && text[start - 2..start] == *b"+(";
    if plus {
        let hints = scan.context.subjects(text, start, end);
        return phone::look(scan, start, end, hints.all);
    }
    let mut hints = None;
    let mut hint =
        |scan: &mut Scan<'_>| *hints.get_or_insert_with(|| scan.context.subjects(text, start, end));
    // Most dates with a time are when something happened.
    let timed = matches!(after, b'T' | b' ') && bytes::get(text, end + 1).is_ascii_digit();
    if (6..=8).contains(&digits) && (timed && shaped(value, b"####-##-##") || is_date(value)) {
        let born = if timed {
            !matches!(bytes::before(text, start), 0 | b'\n')
                && context::key_says(text, start, context::BIRTH)
        } else {
            hint(scan).all & context::BIRTH != 0
        };
        if born {
            scan.report(Core::DateOfBirth, start, end);
        }
        return true;
    }
    let passes = |national: &National| national.passes(digits, value);
    let is_ssn = digits == 9 && us::is_ssn(value);
    if is_ssn || CHECKS.iter().any(passes) {
        let hints = hint(scan);
        // The end of a longer number is none by form alone, nor is what the last word calls a
        // telephone number.
        let phone = hints.nearest & context::PHONE != 0;
        let sure = !phone && !continues(text, start);
        let named = |subject| !phone && hints.all & subject != 0;
        if is_ssn && sure && named(context::SSN) {
            scan.report(Core::UsSsn, start, end);
            return true;
        }
        let fits = |national: &National| {
            passes(national) && (named(context::IDENTITY) || sure && (national.sure)(value))
        };
        if let Some(i) = CHECKS.iter().position(fits) {
            scan.push(CORE.len() + i, start, end, None);
            return true;
        }
    }
    if (CARD_DIGITS..=19).contains(&digits)
        && hint(scan).all & context::CARD != 0
        && is_grouped_card(value)
        && card::is_luhn(value)
    {
        scan.report(Core::Card, start, end);
        return true;
    }
    if (whole || digits >= 10) && phone::plausible(value) {
        let hints = hint(scan);
        return phone::look(scan, start, end, hints.all);
    }
    false
}

/// Whether digits and one separator are before the number.
fn continues(text: &[u8], start: usize) -> bool {
    start >= 2 && matches!(text[start - 1], b' ' | b'-' | b'.') && text[start - 2].is_ascii_digit()
}

/// Whether the digits are together, or in groups as cards have them.
fn is_grouped_card(value: &[u8]) -> bool {
    value
        .split(|byte| !byte.is_ascii_digit())
        .filter(|group| !group.is_empty())
        .all(|group| (2..=19).contains(&group.len()))
        && !value.iter().any(|byte| matches!(byte, b'/' | b')' | b'('))
}

fn ipv4(scan: &mut Scan<'_>, start: usize, end: usize) -> bool {
    let text = scan.text;
    let value = &text[start..end];
    let before = bytes::before(text, start);
    if bytes::get(text, end) == b'.' && bytes::is(bytes::get(text, end + 1), ALNUM) {
        return true;
    }
    if !matches!(value, b"127.0.0.1" | b"0.0.0.0" | b"255.255.255.255")
        && before != b'.'
        && before != b'-'
    {
        scan.report(Core::IpAddress, start, end);
    }
    true
}

/// A date of a calendar, in figures.
fn is_date(value: &[u8]) -> bool {
    value.iter().any(|byte| !byte.is_ascii_digit()) && date::is_date(value)
}

/// A date of birth with the month by name, whose year is at `at`.
fn named_date(scan: &mut Scan<'_>, at: usize, end: usize) {
    let text = scan.text;
    let [.., end_of_word, separator] = text[..at] else {
        return;
    };
    let follows = match separator {
        b' ' => bytes::is(end_of_word, ALPHA | HIGH) || matches!(end_of_word, b',' | b'.'),
        b'-' | b'/' | b'.' => bytes::is(end_of_word, ALPHA | HIGH),
        _ => false,
    };
    if !follows {
        return;
    }
    let (mut from, mut start, mut month) = (at, None, false);
    // `14 de marzo de 1987` has the most words.
    for _ in 0..4 {
        let gap = text[..from]
            .iter()
            .rev()
            .take(2)
            .take_while(|byte| b" ,.-/".contains(byte))
            .count();
        let word = bytes::run_start(text, from - gap, ALNUM | HIGH, 12);
        if gap == 0 || word == from - gap {
            break;
        }
        month |= date::is_month(&text[word..from - gap]);
        from = word;
        if month && date::is_date(&text[from..end]) {
            start = Some(from);
        }
    }
    let whole = |&start: &usize| !bytes::is(bytes::before(text, start), WORD);
    if let Some(start) = start.filter(whole)
        && scan.context.subjects(text, at, end).all & context::BIRTH != 0
    {
        scan.report(Core::DateOfBirth, start, end);
    }
}
