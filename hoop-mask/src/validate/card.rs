//! Payment card numbers.

use super::checksum::luhn;
use super::text::{Digits, all_equal};

/// Whether `text` is a primary account number: a prefix and length that a card brand issues, and
/// the Luhn check digit (ISO/IEC 7812-1). Groups may be set apart by spaces or hyphens.
pub fn is_card(text: &[u8]) -> bool {
    Digits::<19>::read(text).is_some_and(|digits| {
        let digits = digits.values();
        Brand::of(digits).is_some() && luhn(digits) && !all_equal(digits)
    })
}

/// Whether `text` is two or more digits that end in a Luhn check digit, up to the 19 of ISO/IEC
/// 7812-1.
pub fn is_luhn(text: &[u8]) -> bool {
    Digits::<19>::read(text)
        .is_some_and(|digits| digits.values().len() > 1 && luhn(digits.values()))
}

/// A card brand, told by the issuer identification number and the length of the whole number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Brand {
    Visa,
    Mastercard,
    AmericanExpress,
    Discover,
    DinersClub,
    Jcb,
    UnionPay,
    Maestro,
    Mir,
    RuPay,
    Troy,
    Uatp,
}

impl Brand {
    /// The brand of a number, from the ranges that the brands publish (Visa, Mastercard, American
    /// Express, Discover Global Network, JCB, `UnionPay`, NPCI, NSPK, BKM, UATP). Where two brands
    /// share a range either answer is right.
    fn of(digits: &[u8]) -> Option<Self> {
        let prefix = digits
            .get(..6)?
            .iter()
            .fold(0_u32, |sum, &digit| sum * 10 + u32::from(digit));
        match (prefix, digits.len()) {
            (400_000..=499_999, 13 | 16 | 18 | 19) => Some(Self::Visa),
            (510_000..=559_999 | 222_100..=272_099, 16) => Some(Self::Mastercard),
            (340_000..=349_999 | 370_000..=379_999, 15) => Some(Self::AmericanExpress),
            (601_100..=601_199 | 622_126..=622_925 | 644_000..=659_999, 16..=19) => {
                Some(Self::Discover)
            }
            (
                300_000..=305_999 | 309_500..=309_599 | 360_000..=369_999 | 380_000..=399_999,
                14..=19,
            ) => Some(Self::DinersClub),
            (352_800..=358_999, 16..=19) | (213_100..=213_199 | 180_000..=180_099, 15) => {
                Some(Self::Jcb)
            }
            (620_000..=629_999 | 810_000..=817_199, 16..=19) => Some(Self::UnionPay),
            // 0604 and 6390 are no longer issued, but still in data.
            (
                60_400..=60_499
                | 500_000..=509_999
                | 560_000..=589_999
                | 630_400..=630_499
                | 639_000..=639_099
                | 670_000..=679_999,
                12..=19,
            ) => Some(Self::Maestro),
            (220_000..=220_499, 16..=19) => Some(Self::Mir),
            (600_000..=608_999 | 817_200..=829_999, 16) => Some(Self::RuPay),
            (979_200..=979_299, 16) => Some(Self::Troy),
            (100_000..=199_999, 15) => Some(Self::Uatp),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Caught, Scheme, assert_catches};
    use super::*;

    /// Numbers that the brands and payment processors publish for tests.
    const EXAMPLES: &[(&str, Brand)] = &[
        ("4242424242424242", Brand::Visa),
        ("4111 1111 1111 1111", Brand::Visa),
        ("4222222222222", Brand::Visa),
        ("5555-5555-5555-4444", Brand::Mastercard),
        ("2223003122003222", Brand::Mastercard),
        ("2720 9900 0000 0007", Brand::Mastercard),
        ("378282246310005", Brand::AmericanExpress),
        ("3714 496353 98431", Brand::AmericanExpress),
        ("6011111111111117", Brand::Discover),
        ("30569309025904", Brand::DinersClub),
        ("36227206271667", Brand::DinersClub),
        ("3566002020360505", Brand::Jcb),
        ("180001638277392", Brand::Jcb),
        ("6200000000000005", Brand::UnionPay),
        ("6759649826438453", Brand::Maestro),
        ("6304000000000000", Brand::Maestro),
        ("2200000000000004", Brand::Mir),
    ];

    #[test]
    fn known_numbers_are_of_their_brand() {
        for &(text, brand) in EXAMPLES {
            assert!(is_card(text.as_bytes()), "{text}");
            let digits = Digits::<19>::read(text.as_bytes());
            assert_eq!(
                digits.and_then(|digits| Brand::of(digits.values())),
                Some(brand),
                "{text}"
            );
        }
    }

    #[test]
    fn a_brand_has_its_lengths_only() {
        // Each has a right check digit.
        for text in [
            "411111111111116",
            "55555555555555552",
            "3782822463100003",
            "9999999999999995",
        ] {
            assert!(is_luhn(text.as_bytes()), "{text}");
            assert!(!is_card(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn errors_are_caught() {
        assert_catches(
            is_card,
            &Scheme {
                shape: "4999999999999999",
                check: 1,
                caught: Caught::AnyDigit,
            },
        );
        assert_catches(
            is_luhn,
            &Scheme {
                shape: "999999999",
                check: 1,
                caught: Caught::AnyDigit,
            },
        );
    }

    #[test]
    fn a_number_is_digits_and_single_separators() {
        for text in [
            "",
            "4",
            "-4242424242424242",
            "4242424242424242 ",
            "4242a42424242424",
            "4242     424242424242",
        ] {
            assert!(!is_card(text.as_bytes()), "{text}");
        }
        assert!(is_card("4242\u{a0}4242\u{202f}4242\u{2011}4242".as_bytes()));
    }
}
