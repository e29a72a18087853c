//! International bank account numbers.

use super::text::{Compact, digit};

/// Whether `text` is an IBAN (ISO 13616-1): the length that the country of its first two letters
/// registered with SWIFT, and MOD 97-10 check digits (ISO/IEC 7064). Letters in either case; groups
/// may be set apart.
pub fn is_iban(text: &[u8]) -> bool {
    Compact::<MAX_LENGTH>::read(text).is_some_and(|iban| {
        let iban = iban.as_bytes();
        iban.len() >= 4 && length(iban[0], iban[1]) == Some(iban.len()) && checks(iban)
    })
}

/// The length that a country registered, in characters.
pub(crate) fn length(first: u8, second: u8) -> Option<usize> {
    let country = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
    let found = LENGTHS
        .binary_search_by(|(name, _)| name.as_slice().cmp(&country))
        .ok()?;
    Some(usize::from(LENGTHS[found].1))
}

/// The longest in the registry, Russia's.
pub(crate) const MAX_LENGTH: usize = 33;

/// Country and length, from the SWIFT IBAN registry, release 99.
const LENGTHS: &[(&[u8; 2], u8)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// The first four characters moved to the end and letters read as 10 to 35, the number is 1 modulo
/// 97; check digits 00, 01 and 99 are congruent to ones that are issued, and never issued
/// themselves.
fn checks(iban: &[u8]) -> bool {
    let (head, body) = iban.split_at(4);
    let (Some(tens), Some(units)) = (digit(head[2]), digit(head[3])) else {
        return false;
    };
    if !(2..=98).contains(&(tens * 10 + units)) {
        return false;
    }
    let rest = body
        .iter()
        .chain(head)
        .fold(0_u32, |rest, &byte| match byte {
            b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
            _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
        });
    rest == 1
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Caught, Scheme, assert_catches};
    use super::*;

    /// Examples of the registry.
    const EXAMPLES: &[&str] = &[
        "AD12 0001 2030 2003 5910 0100",
        "AE070331234567890123456",
        "BE68 5390 0754 7034",
        "CH93 0076 2011 6238 5295 7",
        "DE89370400440532013000",
        "ES91 2100 0418 4502 0005 1332",
        "FR14 2004 1010 0505 0001 3M02 606",
        "GB29 NWBK 6016 1331 9268 19",
        "gb29nwbk60161331926819",
        "IT60X0542811101000000123456",
        "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
        "NL91-ABNA-0417-1643-00",
        "NO93 8601 1117 947",
        "PL61 1090 1014 0000 0712 1981 2874",
        "SA0380000000608010167519",
        "SE45 5000 0000 0583 9825 7466",
    ];

    #[test]
    fn known_numbers_pass() {
        for text in EXAMPLES {
            assert!(is_iban(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_table_can_be_searched() {
        assert!(LENGTHS.is_sorted());
        assert!(
            LENGTHS
                .iter()
                .all(|&(_, length)| usize::from(length) <= MAX_LENGTH)
        );
    }

    #[test]
    fn length_and_check_digits_must_fit() {
        for text in [
            "DE8937040044053201300",
            "ZZ89370400440532013000",
            "DE",
            "",
            "DEXX370400440532013000",
        ] {
            assert!(!is_iban(text.as_bytes()), "{text}");
        }
        // 1 modulo 97 as well, but outside 02 to 98: 99 is 02 and 01 is 98.
        let twin = (0..10_000_000_u32)
            .map(|account| format!("DE0237040044{account:010}"))
            .find(|text| is_iban(text.as_bytes()));
        let twin = twin.map(|text| text.replacen("DE02", "DE99", 1));
        assert!(twin.is_some_and(|text| !is_iban(text.as_bytes())));
    }

    #[test]
    fn errors_are_caught() {
        assert_catches(
            is_iban,
            &Scheme {
                shape: "DE99999999999999999999",
                check: 2,
                caught: Caught::Transpositions,
            },
        );
        assert_catches(
            is_iban,
            &Scheme {
                shape: "GB99NWBK99999999999999",
                check: 2,
                caught: Caught::Transpositions,
            },
        );
    }
}
