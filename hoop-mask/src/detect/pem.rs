//! Private keys in PEM armor: RFC 7468, and the labels of OpenSSH and PGP.

use super::{Core, Scan, Shape};
use crate::bytes::{self, ALNUM, SPACE};

const LABEL_LIMIT: usize = 64;

/// Looks at the fifth of the dashes that open the armor.
pub(super) fn look(scan: &mut Scan<'_>, at: usize) {
    let text = scan.text;
    let start = at + 1 - crate::prefilter::DASH_RUN;
    // In a form a space is a `+`.
    if !text[at + 1..].starts_with(b"BEGIN ") && !text[at + 1..].starts_with(b"BEGIN+") {
        return;
    }
    let label = at + 1 + b"BEGIN ".len();
    let limit = text.len().min(label + LABEL_LIMIT);
    let Some(len) = memchr::memmem::find(&text[label..limit], b"-----") else {
        return;
    };
    let kind = &text[label..label + len];
    if ![&b"PRIVATE KEY"[..], b"PRIVATE+KEY"]
        .iter()
        .any(|name| memchr::memmem::find(kind, name).is_some())
    {
        return;
    }
    let body = label + len + b"-----".len();
    let end = armor_end(text, body);
    scan.report_open(Core::PrivateKey, start, end, Shape::Pem);
}

/// Where the armor ends whose body starts at `body`: after its last dash, or where it is broken off.
fn armor_end(text: &[u8], body: usize) -> usize {
    let mut at = body;
    while at < text.len() && in_armor(text[at]) {
        if text[at..].starts_with(b"-----END ") || text[at..].starts_with(b"-----END+") {
            let rest = at + b"-----END ".len();
            let limit = text.len().min(rest + LABEL_LIMIT);
            return match memchr::memmem::find(&text[rest..limit], b"-----") {
                Some(len) => rest + len + b"-----".len(),
                None => bytes::run_end(text, rest, ALNUM, LABEL_LIMIT),
            };
        }
        // The next one starts: this one has no end.
        if text[at..].starts_with(b"-----BEGIN ") {
            break;
        }
        at += 1;
    }
    if at == text.len() {
        return at;
    }
    body + text[body..at].trim_ascii_end().len()
}

/// Whether armor holds `byte`: base64, the header lines of RFC 1421, white space.
pub(crate) fn in_armor(byte: u8) -> bool {
    bytes::is(byte, ALNUM | SPACE)
        || matches!(
            byte,
            b'+' | b'/' | b'=' | b'-' | b':' | b',' | b'.' | b'(' | b')'
        )
}
