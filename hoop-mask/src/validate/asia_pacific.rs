//! Personal numbers of Asia, Australia and South Africa.

use super::checksum::{luhn, verhoeff, weighted};
use super::date::{is_day, is_day_of_some_century};
use super::text::{Digits, compact, digits, digits_of, number};

/// Whether `text` is an Australian tax file number: nine digits whose weighted sum is a multiple of
/// 11 (Australian Taxation Office, TFN algorithm).
pub fn is_au_tfn(text: &[u8]) -> bool {
    digits::<9>(text).is_some_and(|digits| {
        let sum = weighted(&digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]);
        sum != 0 && sum.is_multiple_of(11)
    })
}

/// Whether `text` is an Australian Medicare card number: a first digit 2 to 6, a check digit in the
/// ninth place, an issue number and, if written, the person's reference number (Services
/// Australia).
pub fn is_au_medicare(text: &[u8]) -> bool {
    Digits::<11>::read(text).is_some_and(|digits| {
        let digits = digits.values();
        digits.len() >= 10
            && (2..=6).contains(&digits[0])
            && digits[9..].iter().all(|&digit| digit != 0)
            && weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == u32::from(digits[8])
    })
}

/// Whether `text` is an Indian Aadhaar number: twelve digits, the first 2 to 9, the last the
/// Verhoeff check digit (Unique Identification Authority of India).
pub fn is_in_aadhaar(text: &[u8]) -> bool {
    digits::<12>(text).is_some_and(|digits| digits[0] >= 2 && verhoeff(&digits))
}

/// Whether `text` is a Chinese resident identity number: the code of a province, a day of birth and
/// a check character of MOD 11-2 of ISO/IEC 7064 (GB 11643-1999).
pub fn is_cn_resident_id(text: &[u8]) -> bool {
    compact::<18>(text).is_some_and(|bytes| {
        let Some(body) = bytes.first_chunk::<17>().and_then(digits_of) else {
            return false;
        };
        let sum = weighted(
            &body,
            &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2],
        );
        is_province(number(&body[..2]))
            && is_birthday(
                number(&body[6..10]),
                number(&body[10..12]),
                number(&body[12..14]),
            )
            && bytes[17] == b"10X98765432"[sum as usize % 11]
    })
}

/// Whether `text` is a South Korean resident registration number: a day of birth, the digit of
/// century and sex, and a check digit (Resident Registration Act, enforcement rule); numbers given
/// since October 2020 have none, so that it is asked only of those born before.
pub fn is_kr_rrn(text: &[u8]) -> bool {
    digits::<13>(text).is_some_and(|digits| {
        let century = match digits[6] {
            1 | 2 | 5 | 6 => 1900,
            3 | 4 | 7 | 8 => 2000,
            _ => 1800,
        };
        let (year, month) = (century + number(&digits[..2]), number(&digits[2..4]));
        let sum = weighted(&digits, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
        let check = (11 - sum % 11) % 10;
        // Foreign residents (5 to 8) have a formula of their own, 2 more.
        let expected = if (5..=8).contains(&digits[6]) {
            (check + 2) % 10
        } else {
            check
        };
        is_birthday(year, month, number(&digits[4..6]))
            && ((year, month) >= (2020, 10) || u32::from(digits[12]) == expected)
    })
}

/// Whether `text` is a Singaporean NRIC or FIN: a letter of the series, seven digits and a check
/// letter (Immigration & Checkpoints Authority; the formula was never published, but is known).
pub fn is_sg_nric(text: &[u8]) -> bool {
    compact::<9>(text).is_some_and(|bytes| {
        let [series, body @ .., check] = bytes;
        let Some(digits) = digits_of::<7>(&body) else {
            return false;
        };
        let (letters, offset) = match series {
            b'S' => (b"JZIHGFEDCBA", 0),
            b'T' => (b"JZIHGFEDCBA", 4),
            b'F' => (b"XWUTRQPNMLK", 0),
            b'G' => (b"XWUTRQPNMLK", 4),
            b'M' => (b"XWUTRQPNJLK", 3),
            _ => return false,
        };
        let sum = offset + weighted(&digits, &[2, 7, 6, 5, 4, 3, 2]);
        check == letters[sum as usize % 11]
    })
}

/// Whether `text` is a South African identity number: a day of birth, a sequence, 0 to 2 for
/// citizenship, and the Luhn check digit (Department of Home Affairs).
pub fn is_za_id(text: &[u8]) -> bool {
    digits::<13>(text).is_some_and(|digits| {
        is_day_of_some_century(
            number(&digits[..2]),
            number(&digits[2..4]),
            number(&digits[4..6]),
        ) && digits[10] <= 2
            && luhn(&digits)
    })
}

/// Whether a province, municipality or region has the code (GB/T 2260).
fn is_province(code: u32) -> bool {
    matches!(code, 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83 | 91)
}

fn is_birthday(year: u32, month: u32, day: u32) -> bool {
    (1800..2100).contains(&year) && is_day(year, month, day)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Caught, Scheme, assert_catches, assert_examples};
    use super::*;

    #[test]
    fn examples() {
        assert_examples(
            is_au_tfn,
            &["123 456 782", "876543210"],
            &["123 456 783", "000000000", "123 456 728"],
        );
        assert_examples(
            is_au_medicare,
            &["2123 45670 1", "2951 93287 1", "2123456701/1"],
            &["1123 45670 1", "2123 45671 1", "2123 45670", "2123 45670 0"],
        );
        assert_examples(
            is_in_aadhaar,
            &["2341 2341 2346", "499118665246", "9999 4105 7058"],
            &["2341 2341 2347", "1341 2341 2346", "2341 2341 3246"],
        );
        assert_examples(
            is_cn_resident_id,
            &[
                "11010519491231002X",
                "440524188001010014",
                "110101199003074477",
            ],
            &[
                "110105194912310021",
                "99010519491231002X",
                "11010519491331002X",
                "11010519491231020X",
            ],
        );
        assert_examples(
            is_kr_rrn,
            &[
                "971013-9019902",
                "800101-2345671",
                "800101-5345672",
                "201001-3000000",
            ],
            &["971013-9019903", "971313-9019902", "971013-901990"],
        );
        assert_examples(
            is_sg_nric,
            &[
                "S1234567D",
                "s0000001i",
                "T0000001E",
                "F1234567N",
                "G1234567X",
                "M1234567K",
            ],
            &["S1234567E", "A1234567D", "S123456D", "T1234567D"],
        );
        assert_examples(
            is_za_id,
            &["8001015009087", "920220 4720 08 3"],
            &["8001015009088", "8013015009083", "8001015009987"],
        );
    }

    #[test]
    fn errors_are_caught() {
        assert_catches(
            is_au_tfn,
            &Scheme {
                shape: "999999999",
                check: 1,
                caught: Caught::Transpositions,
            },
        );
        assert_catches(
            is_in_aadhaar,
            &Scheme {
                shape: "999999999999",
                check: 1,
                caught: Caught::Transpositions,
            },
        );
        assert_catches(
            is_cn_resident_id,
            &Scheme {
                shape: "110105199912319999",
                check: 2,
                caught: Caught::Transpositions,
            },
        );
        assert_catches(
            is_sg_nric,
            &Scheme {
                shape: "S9999999D",
                check: 1,
                caught: Caught::Transpositions,
            },
        );
        assert_catches(
            is_za_id,
            &Scheme {
                shape: "8099999999099",
                check: 2,
                caught: Caught::AnyDigit,
            },
        );
    }
}
