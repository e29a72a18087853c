//! Addresses of the network and of its interfaces.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Whether `text` is an IPv4 address in dotted decimal (RFC 3986, `IPv4address`: no leading zeros).
pub fn is_ipv4(text: &[u8]) -> bool {
    parses::<Ipv4Addr>(text)
}

/// Whether `text` is an IPv6 address in one of the forms of RFC 4291, section 2.2, with a zone (RFC
/// 4007) if it is link-local.
pub fn is_ipv6(text: &[u8]) -> bool {
    let (address, zone) = match text.iter().position(|&byte| byte == b'%') {
        Some(place) => (&text[..place], Some(&text[place + 1..])),
        None => (text, None),
    };
    let zone_fits = |zone: &[u8]| {
        !zone.is_empty()
            && zone
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-~".contains(byte))
    };
    zone.is_none_or(zone_fits) && parses::<Ipv6Addr>(address)
}

/// Whether `text` is a 48-bit MAC address (IEEE 802: `00-1a-2b-3c-4d-5e`), also with colons, or in
/// three groups with dots; the null and the broadcast address say nothing of anybody and do not
/// pass.
pub fn is_mac(text: &[u8]) -> bool {
    let (group, separator) = match text.len() {
        17 => (2, text[2]),
        14 => (4, text[4]),
        _ => return false,
    };
    let fits = |(place, &byte): (usize, &u8)| match place % (group + 1) {
        inside if inside < group => byte.is_ascii_hexdigit(),
        _ => byte == separator,
    };
    let alike = |digit: u8| {
        text.iter()
            .filter(|byte| byte.eq_ignore_ascii_case(&digit))
            .count()
            == 12
    };
    matches!((group, separator), (2, b':' | b'-') | (4, b'.'))
        && text.iter().enumerate().all(fits)
        && !alike(b'0')
        && !alike(b'f')
}

/// An address longer than the longest form is not looked at.
fn parses<Address: FromStr>(text: &[u8]) -> bool {
    text.len() <= 45 && std::str::from_utf8(text).is_ok_and(|text| text.parse::<Address>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::testing::assert_examples;
    use super::*;

    #[test]
    fn examples() {
        assert_examples(
            is_ipv4,
            &["192.0.2.1", "0.0.0.0", "255.255.255.255"],
            &[
                "192.0.2",
                "192.0.2.256",
                "192.0.2.01",
                "192.0.2.1.",
                "1.2.3.4.5",
                "",
            ],
        );
        assert_examples(
            is_ipv6,
            &[
                "2001:db8::1",
                "::",
                "::1",
                "1::",
                "fe80::1%eth0",
                "::ffff:192.0.2.1",
                "2001:DB8:0:0:8:800:200C:417A",
            ],
            &[
                "2001:db8",
                "1:2:3:4:5:6:7:8:9",
                "12345::",
                "::1::",
                "fe80::1%",
                "fe80::1%a b",
                "12:34:56",
            ],
        );
        assert_examples(
            is_mac,
            &["00:1A:2b:3c:4D:5e", "00-1a-2b-3c-4d-5e", "001a.2b3c.4d5e"],
            &[
                "00:1a:2b:3c:4d",
                "00:1a:2b:3c:4d-5e",
                "00:00:00:00:00:00",
                "FF:ff:ff:ff:ff:ff",
                "00.1a.2b.3c.4d.5e",
                "00:1g:2b:3c:4d:5e",
            ],
        );
    }
}
