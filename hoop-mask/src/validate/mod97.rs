//! Personal numbers of France, Belgium (modulo 97) and Italy (modulo 26).

use super::checksum::remainder;
use super::date::is_day;
use super::text::{compact, digit, digits, digits_of, number};

/// Whether `text` is a French social security number (NIR) with its key: sex, year, month and place
/// of birth, a sequence, and 97 less the number modulo 97. Corsica's 2A and 2B count as 19 and 18
/// (INSEE; arrêté of 1996).
pub fn is_fr_nir(text: &[u8]) -> bool {
    compact::<15>(text).is_some_and(|mut bytes| {
        if let [b'2', letter @ (b'A' | b'B')] = bytes[5..7] {
            bytes[5] = b'1';
            bytes[6] = if letter == b'A' { b'9' } else { b'8' };
        }
        let Some(digits) = digits_of(&bytes) else {
            return false;
        };
        // 1 and 2, 3 and 4 for foreigners, 7 and 8 while the number is provisional; months from 20
        // on are unknown.
        matches!(digits[0], 1..=4 | 7 | 8)
            && matches!(number(&digits[3..5]), 1..=12 | 20..=42 | 50..=99)
            && number(&digits[5..10]) != 0
            && number(&digits[10..13]) != 0
            && 97 - remainder(&digits[..13], 97) == number(&digits[13..])
    })
}

/// Whether `text` is a Belgian national register or bis number (month 20 or 40 more): day of birth,
/// a sequence, and 97 less the number modulo 97, with a 2 put in front of those born from 2000 on
/// (Royal Decree of 3 April 1984).
pub fn is_be_national_number(text: &[u8]) -> bool {
    digits::<11>(text).is_some_and(|digits| {
        let check = number(&digits[9..]);
        let before_2000 = remainder(&digits[..9], 97);
        // 2 times 10^9 modulo 97.
        let since_2000 = (before_2000 + 2 * remainder(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 97)) % 97;
        let (year, month, day) = (
            number(&digits[..2]),
            number(&digits[2..4]) % 20,
            number(&digits[4..6]),
        );
        // Month or day are 0 where they are not known.
        let exists = |century| {
            (month == 0 || day == 0) && month <= 12 && day <= 31
                || is_day(century + year, month, day)
        };
        number(&digits[2..4]) < 60
            && number(&digits[6..9]) != 0
            && (check == 97 - before_2000 && exists(1900)
                || check == 97 - since_2000 && exists(2000))
    })
}

/// Whether `text` is an Italian fiscal code of a person: letters of the name, day of birth and sex,
/// place, and a check letter modulo 26; digits may be replaced by letters where two persons would
/// have the same code (decree of the Ministry of Finance of 23 December 1976).
pub fn is_it_codice_fiscale(text: &[u8]) -> bool {
    compact::<16>(text).is_some_and(|bytes| {
        let letters =
            |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_alphabetic);
        let (Some(_year), Some(day)) = (pair(bytes[6], bytes[7]), pair(bytes[9], bytes[10])) else {
            return false;
        };
        letters(0..6)
            && b"ABCDEHLMPRST".contains(&bytes[8])
            && matches!(day, 1..=31 | 41..=71)
            && letters(11..12)
            && bytes[12..15].iter().all(|&byte| omocodia(byte).is_some())
            && bytes[15] == b'A' + (fiscal_sum(&bytes[..15]) % 26) as u8
    })
}

/// The value of two characters that are digits, or letters in their place.
fn pair(tens: u8, units: u8) -> Option<u8> {
    Some(omocodia(tens)? * 10 + omocodia(units)?)
}

/// A digit, or the letter that replaces it.
fn omocodia(byte: u8) -> Option<u8> {
    digit(byte).or_else(|| {
        b"LMNPQRSTUV"
            .iter()
            .position(|&letter| letter == byte)
            .map(|value| value as u8)
    })
}

/// Characters in odd places, the first being one, have values in a scrambled order, the others
/// their own.
fn fiscal_sum(bytes: &[u8]) -> u32 {
    const ODD: [u8; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let value = |(place, &byte): (usize, &u8)| {
        let own = digit(byte).unwrap_or_else(|| byte - b'A');
        u32::from(if place % 2 == 0 {
            ODD[usize::from(own)]
        } else {
            own
        })
    };
    bytes.iter().enumerate().map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Caught, Scheme, assert_catches, assert_examples};
    use super::*;

    #[test]
    fn examples() {
        assert_examples(
            is_fr_nir,
            &[
                "255081416802538",
                "2 55 08 14 168 025 38",
                "1 84 12 76 451 089 46",
            ],
            &[
                "255081416802539",
                "2 55 08 14 168 052 38",
                "555081416802538",
                "2A5081416802538",
            ],
        );
        assert_examples(
            is_be_national_number,
            &["85.07.30-033 28", "85073003328", "17073003384"],
            &["85.07.30-033 29", "85.17.30-033 28", "85.07.30-000 28"],
        );
        assert_examples(
            is_it_codice_fiscale,
            &[
                "RSSMRA85T10A562S",
                "rssmra85t10a562s",
                "MRTMTT25D09F205Z",
                "MRTMTT91D08F205J",
            ],
            &[
                "RSSMRA85T10A562T",
                "RSSMRA85T40A562S",
                "RSSMRA85X10A562S",
                "RSSMRA85T01A562S",
            ],
        );
    }

    #[test]
    fn corsica_counts_as_a_number() {
        let key = |department: &str, digits: &str| {
            (1..=97_u32)
                .map(|key| format!("18412{department}451089{key:02}"))
                .filter(|text| is_fr_nir(text.as_bytes()))
                .map(|text| text[13..].to_owned())
                .find(|key| is_fr_nir(format!("18412{digits}451089{key}").as_bytes()))
        };
        assert!(
            key("2A", "19").is_some() && key("2B", "18").is_some() && key("2A", "18").is_none()
        );
    }

    #[test]
    fn errors_are_caught() {
        assert_catches(
            is_fr_nir,
            &Scheme {
                shape: "199059999999999",
                check: 2,
                caught: Caught::Transpositions,
            },
        );
        // Numbers of both centuries: an error may fit the other, so that only its own promise is
        // asked.
        assert_catches(
            is_it_codice_fiscale,
            &Scheme {
                shape: "RSSMRA99T19A999S",
                check: 3,
                caught: Caught::AnyDigit,
            },
        );
    }
}
