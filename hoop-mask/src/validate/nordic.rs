//! Personal numbers of the Nordic countries.

use super::checksum::{luhn, weighted};
use super::date::{is_day, is_day_of_some_century};
use super::text::{Digits, all_equal, digits, digits_of, number};

/// Whether `text` is a Swedish personal or coordination number: a day of birth (60 more for
/// coordination), a birth number and the Luhn check digit over the last ten digits (Skatteverket,
/// SKV 704). `-`, or `+` from the year in which the person becomes 100, may stand before the last
/// four.
pub fn is_se_personnummer(text: &[u8]) -> bool {
    let mut buffer = [0; 13];
    let text = match text.len().checked_sub(5) {
        Some(place @ ..=8) if text[place] == b'+' => {
            let buffer = &mut buffer[..text.len()];
            buffer.copy_from_slice(text);
            buffer[place] = b'-';
            buffer
        }
        _ => text,
    };
    Digits::<12>::read(text).is_some_and(|digits| {
        let (century, digits) = match digits.values() {
            [century @ .., _, _, _, _, _, _, _, _, _, _] => {
                (number(century), &digits.values()[century.len()..])
            }
            _ => return false,
        };
        let (year, month, day) = (
            number(&digits[..2]),
            number(&digits[2..4]),
            number(&digits[4..6]),
        );
        let day = if day > 60 { day - 60 } else { day };
        let exists = match digits_before(century) {
            Some(century) => is_day(century + year, month, day),
            None => is_day_of_some_century(year, month, day),
        };
        exists && luhn(digits)
    })
}

/// Whether `text` is a Finnish personal identity code: a day of birth, the sign of the century, an
/// individual number and a check character modulo 31 (Digital and Population Data Services Agency).
pub fn is_fi_hetu(text: &[u8]) -> bool {
    let Some(
        &[
            date0,
            date1,
            date2,
            date3,
            date4,
            date5,
            century,
            serial0,
            serial1,
            serial2,
            check,
        ],
    ) = text.first_chunk::<11>().filter(|_| text.len() == 11)
    else {
        return false;
    };
    let digits = [
        date0, date1, date2, date3, date4, date5, serial0, serial1, serial2,
    ];
    let Some(digits) = digits_of(&digits) else {
        return false;
    };
    let century = match century.to_ascii_uppercase() {
        b'+' => 1800,
        b'-' | b'U'..=b'Y' => 1900,
        b'A'..=b'F' => 2000,
        _ => return false,
    };
    is_day(
        century + number(&digits[4..6]),
        number(&digits[2..4]),
        number(&digits[..2]),
    ) && number(&digits[6..]) >= 2
        && check.to_ascii_uppercase()
            == b"0123456789ABCDEFHJKLMNPRSTUVWXY"[number(&digits) as usize % 31]
}

/// Whether `text` is a Norwegian birth number or D number (day of birth 40 more): two check digits
/// modulo 11 (Skatteetaten). The synthetic persons of test systems (month 40 or 80 more) pass.
pub fn is_no_fodselsnummer(text: &[u8]) -> bool {
    digits::<11>(text).is_some_and(|digits| {
        let (day, month) = (number(&digits[..2]), number(&digits[2..4]));
        let day = if day > 40 { day - 40 } else { day };
        is_day_of_some_century(number(&digits[4..6]), month % 40, day)
            && weighted(&digits, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]).is_multiple_of(11)
            && weighted(&digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
    })
}

/// Whether `text` can be a Danish CPR number: a day of birth and four digits, not all alike. The
/// check digit modulo 11 was given up in 2007, so that only the date is told (CPR-kontoret).
pub fn is_dk_cpr(text: &[u8]) -> bool {
    digits::<10>(text).is_some_and(|digits| {
        is_day_of_some_century(
            number(&digits[4..6]),
            number(&digits[2..4]),
            number(&digits[..2]),
        ) && !all_equal(&digits[6..])
    })
}

/// The first year of the century that the digits in front of a short number say.
fn digits_before(century: u32) -> Option<u32> {
    (century != 0).then_some(century * 100)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Caught, Scheme, assert_catches, assert_examples};
    use super::*;

    #[test]
    fn examples() {
        assert_examples(
            is_se_personnummer,
            &[
                "811228-9874",
                "19811228-9874",
                "198112289874",
                "8112289874",
                "811228+9874",
                "701063-2391",
                "121212-1212",
            ],
            &[
                "811228-9875",
                "811328-9874",
                "811228-98740",
                "29811228987",
                "+9874",
                "",
            ],
        );
        assert_examples(
            is_fi_hetu,
            &["131052-308T", "010594Y9032", "131052-308t", "020502E902X"],
            &[
                "131052-308U",
                "311352-308T",
                "131052/308T",
                "131052-308",
                "131052-001T",
            ],
        );
        assert_examples(
            is_no_fodselsnummer,
            &["01010750160", "010107 50160", "29020000064"],
            &["01010750161", "01130750160", "01010750610"],
        );
        assert_examples(
            is_dk_cpr,
            &["070761-4285", "0707614285"],
            &["320761-4285", "071361-4285", "070761-0000"],
        );
    }

    #[test]
    fn errors_are_caught() {
        assert_catches(
            is_se_personnummer,
            &Scheme {
                shape: "819999-9999",
                check: 1,
                caught: Caught::AnyDigit,
            },
        );
        assert_catches(
            is_fi_hetu,
            &Scheme {
                shape: "139999-999T",
                check: 3,
                caught: Caught::Transpositions,
            },
        );
        assert_catches(
            is_no_fodselsnummer,
            &Scheme {
                shape: "01019999999",
                check: 2,
                caught: Caught::Transpositions,
            },
        );
    }
}
