//! E-mail addresses: RFC 5321, section 4.1.2, in the forms that are in use.

use super::{Core, Scan};
use crate::bytes::{self, ALNUM, HIGH, LOCAL, WORD};

/// RFC 5321 allows 64; what is longer is masked all the same.
const LOCAL_LIMIT: usize = 256;
/// RFC 1035, section 2.3.4.
const DOMAIN_LIMIT: usize = 253;

/// Names that end like a domain and are files, as in `icon@2x.png`.
const FILES: &[&[u8]] = &[
    b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js", b"ts", b"json", b"html", b"py",
];

/// Looks around the `@` at `at`.
pub(super) fn look(scan: &mut Scan<'_>, at: usize) {
    let text = scan.text;
    if !bytes::is(bytes::get(text, at + 1), WORD) {
        return;
    }
    let mut start = bytes::run_start(text, at, ALNUM | HIGH | LOCAL, LOCAL_LIMIT);
    while start < at && !bytes::is(text[start], WORD) && text[start] != b'_' {
        start += 1;
    }
    // `name=bob@example.com` in a form is cut at the last `&`.
    if let Some(ampersand) = text[start..at].iter().rposition(|&byte| byte == b'&') {
        start += ampersand + 1;
    }
    if start == at || &text[start..at] == b"git" {
        return;
    }
    if let Some(end) = domain_end(text, at + 1) {
        scan.report(Core::Email, start, end);
    }
}

/// Where the domain name at `start` ends, if it is one with a top level.
fn domain_end(text: &[u8], start: usize) -> Option<usize> {
    let limit = text.len().min(start + DOMAIN_LIMIT);
    let mut end = start;
    while end < limit && (bytes::is(text[end], WORD) || matches!(text[end], b'.' | b'-')) {
        end += 1;
    }
    // Words may follow without a space: the top level is the last label that can be one.
    while end > start && matches!(text[end - 1], b'.' | b'-') {
        end -= 1;
    }
    let dot = text[start..end].iter().rposition(|&byte| byte == b'.')?;
    let top = &text[start + dot + 1..end];
    let letters = top
        .iter()
        .take_while(|&&byte| byte.is_ascii_alphabetic() || byte >= 0x80)
        .count();
    if dot == 0
        || letters < 2
        || !(letters == top.len() || top.starts_with(b"xn--") || top[letters] == b'-')
    {
        return None;
    }
    let end = if letters < top.len() && top[letters] == b'-' && !top.starts_with(b"xn--") {
        start + dot + 1 + letters
    } else {
        end
    };
    let top = top.to_ascii_lowercase();
    (!FILES.contains(&top.as_slice())).then_some(end)
}
