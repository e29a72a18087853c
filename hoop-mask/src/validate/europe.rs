//! Personal numbers of western and central Europe and Turkey, with a check digit modulo 11 or by
//! their own rule.

use super::checksum::{mod_11_10, weighted};
use super::date::is_day;
use super::text::{all_equal, compact, digits, digits_of, number};

/// Whether `text` is a number of the National Health Service of England, Wales and the Isle of Man:
/// ten digits, the last a check digit modulo 11 (NHS Data Dictionary, NHS NUMBER).
pub fn is_uk_nhs(text: &[u8]) -> bool {
    digits::<10>(text).is_some_and(|digits| {
        weighted(&digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
            && !all_equal(&digits)
    })
}

/// Whether `text` is a German tax identification number: eleven digits, the first not 0, of the
/// first ten exactly one that comes twice or three times (not three in a row), and the check digit
/// MOD 11,10 of ISO/IEC 7064 (Bundeszentralamt für Steuern, § 139b AO).
pub fn is_de_steuer_id(text: &[u8]) -> bool {
    digits::<11>(text).is_some_and(|digits| {
        let body = &digits[..10];
        let count = |digit| body.iter().filter(|&&other| other == digit).count();
        let repeated = (0..10).filter(|&digit| count(digit) > 1).count();
        digits[0] != 0
            && repeated == 1
            && (0..10).all(|digit| count(digit) <= 3)
            && !body.windows(3).any(all_equal)
            && mod_11_10(&digits)
    })
}

/// Whether `text` is a Dutch citizen service number: eight or nine digits that pass the eleven
/// test, in which the last counts negative (Wet algemene bepalingen burgerservicenummer).
pub fn is_nl_bsn(text: &[u8]) -> bool {
    digits::<9>(text).is_some_and(|digits| {
        let sum = weighted(&digits[..8], &[9, 8, 7, 6, 5, 4, 3, 2]);
        number(&digits[..4]) != 0 && sum % 11 == u32::from(digits[8])
    })
}

/// Whether `text` is a Polish PESEL: a day of birth whose month says the century, and a check digit
/// modulo 10 (Ministry of Digital Affairs).
pub fn is_pl_pesel(text: &[u8]) -> bool {
    digits::<11>(text).is_some_and(|digits| {
        let month = number(&digits[2..4]);
        let century = match month / 20 {
            4 => 1800,
            after => 1900 + after * 100,
        };
        is_day(
            century + number(&digits[..2]),
            month % 20,
            number(&digits[4..6]),
        ) && weighted(&digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_multiple_of(10)
    })
}

/// Whether `text` is a Portuguese tax number: nine digits, a first that is in use, and a check
/// digit modulo 11 (Decreto-Lei 14/2013).
pub fn is_pt_nif(text: &[u8]) -> bool {
    digits::<9>(text).is_some_and(|digits| {
        let check = match weighted(&digits, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11 {
            0 | 1 => 0,
            rest => 11 - rest,
        };
        !matches!(digits[0], 0 | 4) | matches!(digits[..2], [4, 5]) && u32::from(digits[8]) == check
    })
}

/// Whether `text` is a Swiss social security number: 756, nine digits and the check digit of an
/// EAN-13 (Central Compensation Office, AHVN13).
pub fn is_ch_ahv(text: &[u8]) -> bool {
    digits::<13>(text).is_some_and(|digits| {
        digits.starts_with(&[7, 5, 6])
            && weighted(&digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
    })
}

/// Whether `text` is a Turkish identity number: eleven digits, the first not 0, the last two check
/// digits (Nüfus ve Vatandaşlık İşleri).
pub fn is_tr_tckn(text: &[u8]) -> bool {
    digits::<11>(text).is_some_and(|digits| {
        // 7 times the odd places, less the even ones: modulo 10 that is plus 9 times these.
        let tenth = weighted(&digits, &[7, 9, 7, 9, 7, 9, 7, 9, 7]) % 10;
        let sum = weighted(&digits, &[1; 10]) % 10;
        digits[0] != 0 && u32::from(digits[9]) == tenth && u32::from(digits[10]) == sum
    })
}

/// Whether `text` is a Spanish DNI or, with X, Y or Z in front, NIE: the last letter tells the
/// number modulo 23 (Real Decreto 1553/2005; Orden INT/2058/2008).
pub fn is_es_dni(text: &[u8]) -> bool {
    compact::<9>(text).is_some_and(|mut bytes| {
        bytes[0] = match bytes[0] {
            b'X' => b'0',
            b'Y' => b'1',
            b'Z' => b'2',
            other => other,
        };
        let Some(digits) = bytes.first_chunk::<8>().and_then(digits_of) else {
            return false;
        };
        bytes[8] == b"TRWAGMYFPDXBNJZSQVHLCKE"[number(&digits) as usize % 23]
            && number(&digits) != 0
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Caught, Scheme, assert_catches, assert_examples};
    use super::*;

    #[test]
    fn examples() {
        assert_examples(
            is_uk_nhs,
            &["943 476 5919", "4505577104"],
            &["943 476 5918", "943 476 9519", "0000000000"],
        );
        assert_examples(
            is_de_steuer_id,
            &["86095742719", "47036892816", "65 929 970 489"],
            &[
                "86095742710",
                "06095742719",
                "11111111111",
                "86095742791",
                "12345678903",
            ],
        );
        assert_examples(
            is_nl_bsn,
            &["111222333", "123456782", "1234.56.782"],
            &["111222334", "000000000", "12345678"],
        );
        assert_examples(
            is_pl_pesel,
            &["44051401359", "02070803628", "02290100006"],
            &["44051401358", "44131401359", "44053201359"],
        );
        assert_examples(
            is_pt_nif,
            &["123456789", "501964843"],
            &["123456788", "023456789", "412345678"],
        );
        assert_examples(
            is_ch_ahv,
            &["756.9217.0769.85", "7569217076985"],
            &["756.9217.0769.84", "757.9217.0769.85"],
        );
        assert_examples(
            is_tr_tckn,
            &["10000000146", "19191919190"],
            &["10000000147", "01000000046", "10000000164"],
        );
        assert_examples(
            is_es_dni,
            &[
                "12345678Z",
                "12345678-z",
                "X1234567L",
                "Y-1234567-X",
                "Z1234567R",
            ],
            &["12345678A", "W1234567L", "12345687Z", "1234567L"],
        );
    }

    #[test]
    fn errors_are_caught() {
        for (check, shape, digits, caught) in [
            (
                is_uk_nhs as fn(&[u8]) -> bool,
                "9999999999",
                1,
                Caught::Transpositions,
            ),
            (is_de_steuer_id, "99999999999", 1, Caught::AnyDigit),
            (is_nl_bsn, "999999999", 1, Caught::Transpositions),
            (is_pl_pesel, "99999999999", 1, Caught::AnyDigit),
            (is_pt_nif, "299999999", 1, Caught::CheckDigits),
            (is_ch_ahv, "756.9999.9999.99", 1, Caught::AnyDigit),
            (is_tr_tckn, "99999999999", 2, Caught::AnyDigit),
            (is_es_dni, "99999999Z", 2, Caught::Transpositions),
        ] {
            assert_catches(
                check,
                &Scheme {
                    shape,
                    check: digits,
                    caught,
                },
            );
        }
    }
}
