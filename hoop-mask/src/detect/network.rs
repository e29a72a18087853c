//! Addresses with colons: IPv6 (RFC 4291, section 2.2) and MAC (IEEE 802). IPv4 is a number.

use std::net::Ipv6Addr;

use super::{Core, Scan};
use crate::bytes::{self, HEX, WORD};

/// The longest textual IPv6 address, with IPv4 at its end.
const LIMIT: usize = 45;

/// Looks at the run of hexadecimal digits and colons that starts at `start`.
#[inline(never)]
pub(super) fn look_at_run(scan: &mut Scan<'_>, start: usize) {
    let colon = scan.text[start..]
        .iter()
        .take(5)
        .position(|&byte| byte == b':');
    if let Some(colon) = colon {
        look(scan, start + colon);
    }
}

/// Looks around the `:` at `at`, if it is an address's first.
pub(super) fn look(scan: &mut Scan<'_>, at: usize) {
    let text = scan.text;
    let next = bytes::get(text, at + 1);
    if next != b':' && !bytes::is(next, HEX) {
        return;
    }
    let start = bytes::run_start(text, at, HEX, 5);
    let before = bytes::before(text, start);
    if at - start > 4 || before == b':' || before == b'.' {
        return;
    }
    // `mac:00:1a:...`: the word names the address.
    let named = bytes::is(before, WORD);
    if named && next == b':' {
        return;
    }
    let start = if named { at + 1 } else { start };
    let mut end = start;
    let limit = text.len().min(start + LIMIT + 1);
    while end < limit && (bytes::is(text[end], HEX) || matches!(text[end], b':' | b'.')) {
        end += 1;
    }
    while end > at && matches!(text[end - 1], b':' | b'.') && !text[..end].ends_with(b"::") {
        end -= 1;
    }
    let address = &text[start..end];
    if address.len() > LIMIT || bytes::is(bytes::get(text, end), WORD) {
        return;
    }
    if is_mac(address, b':') {
        scan.report(Core::MacAddress, start, end);
    } else if is_ipv6(address) {
        scan.report(Core::IpAddress, start, end);
    }
}

/// Whether it is six bytes in hexadecimal.
pub(super) fn is_mac(text: &[u8], separator: u8) -> bool {
    text.len() == 17
        && text.chunks(3).all(|group| {
            group[..2].iter().all(|&byte| bytes::is(byte, HEX))
                && group.get(2).is_none_or(|&byte| byte == separator)
        })
        && text.iter().any(|&byte| !matches!(byte, b'0' | b':' | b'-'))
}

fn is_ipv6(text: &[u8]) -> bool {
    // `a::b` is a path in many languages: an address has a digit or is written out.
    let colons = text.iter().filter(|&&byte| byte == b':').count();
    let shortened = text.windows(2).any(|pair| pair == b"::");
    (colons == 7 || (shortened || colons == 6) && text.iter().any(u8::is_ascii_digit))
        && str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<Ipv6Addr>().ok())
            .is_some_and(|address| !address.is_unspecified() && !address.is_loopback())
}
