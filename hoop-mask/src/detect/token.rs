//! Tokens: long runs of letters, digits, `_` and `-`, told by their prefix or by what is before them.

use super::network::is_mac;
use super::vendors::JOINED;
use super::{CORE, Core, NATIONAL, Scan, Shape, VENDORS, Vendor, entropy};
use crate::bytes::{self, ALNUM, DIGIT, HEX, JOINER, TOKEN, WORD};

/// A token that is no longer masked whole at once but to its end, however far that is.
const HEAD: usize = 512;
/// The most parts that a token has.
const PARTS: usize = 5;
/// The fewest bits per byte: less has a template's token (`ghp_xxxx...`).
const MIN_ENTROPY: f64 = 2.5;

/// Looks at the run of token bytes that starts at `start`.
pub(super) fn look(scan: &mut Scan<'_>, start: usize) {
    let text = scan.text;
    let mut first = start;
    while bytes::is(text[first], JOINER) && first < start + 8 {
        first += 1;
    }
    let before = bytes::before(text, start);
    match before {
        b'.' | b'/' | b':' | b'~' => {
            if let Some((i, from)) = joined(text, start) {
                vendor(scan, i, from, start);
                return;
            }
        }
        b' ' if bearer(scan, start) => return,
        _ => {}
    }
    if text[first..].starts_with(b"eyJ") && jwt(scan, first) {
        return;
    }
    if let Some(i) = prefixed(&text[first..]) {
        let after = first + VENDORS[i].prefix.len();
        if vendor(scan, i, first, after) {
            return;
        }
    }
    if text[start + 2] != b'-' {
        return;
    }
    let end = bytes::run_end(text, start, TOKEN, 18);
    if end - start == 17 && is_mac(&text[start..end], b'-') {
        scan.report(Core::MacAddress, start, end);
    }
}

/// No vendor.
const NONE: u8 = u8::MAX;

/// By first byte the first vendor, and by vendor the next one with that first byte.
static CHAINS: ([u8; 256], [u8; VENDORS.len()]) = {
    let (mut first, mut next) = ([NONE; 256], [NONE; VENDORS.len()]);
    let mut i = VENDORS.len();
    while i > 0 {
        i -= 1;
        let byte = VENDORS[i].prefix[0] as usize;
        next[i] = first[byte];
        first[byte] = i as u8;
    }
    (first, next)
};

/// By first byte a bit for each second byte of the prefixes.
static SECONDS: [u32; 128] = {
    let mut seconds = [0; 128];
    let mut i = 0;
    while i < VENDORS.len() {
        let prefix = VENDORS[i].prefix;
        if prefix.len() > 1 {
            seconds[(prefix[0] & 127) as usize] |= 1 << (prefix[1] & 31);
        }
        i += 1;
    }
    seconds
};

/// The first vendor whose prefix `text` has.
fn prefixed(text: &[u8]) -> Option<usize> {
    let &[first, second, ..] = text else {
        return None;
    };
    if SECONDS[(first & 127) as usize] & 1 << (second & 31) == 0 {
        return None;
    }
    let mut i = CHAINS.0[first as usize];
    while i != NONE {
        let prefix = VENDORS[i as usize].prefix;
        if prefix.len() > 1 && prefix[1] == second && text.starts_with(prefix) {
            return Some(i as usize);
        }
        i = CHAINS.1[i as usize];
    }
    None
}

/// The vendor whose prefix ends before `at`, and where it starts.
fn joined(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let before = &text[at.saturating_sub(96)..at];
    let in_path = before.ends_with(b"/");
    if in_path || before.ends_with(b".") {
        for (i, vendor) in VENDORS.iter().enumerate().skip(JOINED) {
            let known =
                matches!(vendor.prefix.last(), Some(b'.' | b'/')) && vendor.prefix.len() > 1;
            if known && before.ends_with(vendor.prefix) {
                return Some((i, at - vendor.prefix.len()));
            }
            // Slack's and Discord's have more parts before the last.
            if in_path
                && vendor.prefix.ends_with(b"/")
                && let Some(place) = memchr::memmem::find(before, vendor.prefix)
                && before[place + vendor.prefix.len()..]
                    .iter()
                    .all(|&byte| bytes::is(byte, ALNUM) || byte == b'/')
            {
                return Some((i, at - before.len() + place));
            }
        }
        return sendgrid(text, at).or_else(|| discord(text, at));
    }
    if before.ends_with(b":") && text[at..].starts_with(b"AA") {
        let start = bytes::run_start(text, at - 1, DIGIT, 11);
        let known = (8..=10).contains(&(at - 1 - start));
        return known.then(|| (super::vendors::position("telegram"), start));
    }
    if before.ends_with(b"Q~") {
        let start = bytes::run_start(text, at - 2, ALNUM | JOINER, 5);
        let known = at - 2 - start == 4 && text[at - 3].is_ascii_digit();
        return known.then(|| (super::vendors::position("azure-client-secret"), start));
    }
    None
}

/// `SG.`, 22 bytes, a dot, 43 bytes: the run at `at` is the last part.
fn sendgrid(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = bytes::run_start(text, at - 1, TOKEN, 32);
    let known = at - 1 - first >= 16 && text[..first].ends_with(b"SG.");
    known.then(|| (super::vendors::position("sendgrid"), first - 3))
}

/// Three parts, the first the base64 of a number: the run at `at` is the last part.
fn discord(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let middle = bytes::run_start(text, at - 1, TOKEN, 8);
    if at - 1 - middle != 6 || bytes::before(text, middle) != b'.' {
        return None;
    }
    let first = bytes::run_start(text, middle - 1, TOKEN, 32);
    let known =
        (23..=28).contains(&(middle - 1 - first)) && matches!(text[first], b'M' | b'N' | b'O');
    known.then(|| (super::vendors::position("discord"), first))
}

/// Reports the token of vendor `i` that starts at `start`; its variable part starts at `after`.
fn vendor(scan: &mut Scan<'_>, i: usize, start: usize, after: usize) -> bool {
    let text = scan.text;
    let Vendor { chars, min, .. } = VENDORS[i];
    let end = dotted_end(text, after, chars, i);
    let body = &text[after..end.min(after + HEAD)];
    let whole = end - start >= VENDORS[i].prefix.len() + min || end - after >= min;
    // Short prefixes are those of words, too. Few tokens are without a digit, and fewer without capitals.
    let capitals = body.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    let telling = VENDORS[i].prefix.len() > 3
        || body.len() >= 32
        || capitals >= 3
        || body.iter().any(u8::is_ascii_digit);
    if !whole || entropy(body) < MIN_ENTROPY || !telling {
        return false;
    }
    // Hexadecimal that goes on with other letters is none.
    if chars == HEX && bytes::is(bytes::get(text, end), WORD) {
        return false;
    }
    scan.push(
        CORE.len() + NATIONAL.len() + i,
        start,
        end,
        Some(Shape::Token),
    );
    true
}

/// Where a token ends: some have parts that are joined by dots.
fn dotted_end(text: &[u8], after: usize, chars: u8, i: usize) -> usize {
    let mut end = bytes::run_end(text, after, chars, usize::MAX);
    let dotted = VENDORS[i].prefix.contains(&b'.') || VENDORS[i].prefix.starts_with(b"gl");
    let mut parts = 1;
    while dotted
        && parts < PARTS
        && bytes::get(text, end) == b'.'
        && bytes::is(bytes::get(text, end + 1), TOKEN)
    {
        end = bytes::run_end(text, end + 1, TOKEN, usize::MAX);
        parts += 1;
    }
    end
}

/// What follows `Bearer ` or `Basic `, wherever that is.
fn bearer(scan: &mut Scan<'_>, start: usize) -> bool {
    let text = scan.text;
    let scheme = &text[start.saturating_sub(7)..start - 1];
    let known = scheme.eq_ignore_ascii_case(b"bearer")
        || scheme.len() >= 5 && scheme[scheme.len() - 5..].eq_ignore_ascii_case(b"basic");
    if !known || text[start..].starts_with(b"eyJ") || prefixed(&text[start..]).is_some() {
        return false;
    }
    let end = start
        + text[start..]
            .iter()
            .position(|&byte| {
                !bytes::is(byte, TOKEN | bytes::BASE64) && !matches!(byte, b'=' | b'.' | b'~')
            })
            .unwrap_or(text.len() - start);
    let head = &text[start..end.min(start + HEAD)];
    if !head.iter().any(u8::is_ascii_digit) || entropy(head) < MIN_ENTROPY {
        return false;
    }
    scan.report_open(Core::Authorization, start, end, Shape::Token);
    true
}

/// A JSON web token, signed or not: RFC 7519.
fn jwt(scan: &mut Scan<'_>, start: usize) -> bool {
    let text = scan.text;
    // The claims of one that was seen already.
    if bytes::before(text, start) == b'.' {
        let header = bytes::run_start(text, start - 1, TOKEN, HEAD);
        if text[header..].starts_with(b"eyJ") {
            return true;
        }
    }
    let mut end = bytes::run_end(text, start, TOKEN, usize::MAX);
    let mut parts = 1;
    while parts < PARTS
        && bytes::get(text, end) == b'.'
        && (bytes::is(bytes::get(text, end + 1), TOKEN) || parts == 2)
    {
        end = bytes::run_end(text, end + 1, TOKEN, usize::MAX);
        parts += 1;
    }
    let truncated = end == text.len() && !scan.at_end;
    if parts < 3 && !(truncated && parts > 1) && !(truncated && end - start > HEAD) {
        return false;
    }
    scan.report_open(Core::Jwt, start, end, Shape::Token);
    true
}
