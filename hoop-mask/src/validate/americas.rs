//! Personal and company numbers of Canada and Brazil.

use super::checksum::{luhn, weighted};
use super::text::{all_equal, compact, digits};

/// Whether `text` is a Canadian social insurance number: nine digits with the Luhn check digit, the
/// first not 0 (never issued) nor 8 (business numbers) (Employment and Social Development Canada).
pub fn is_ca_sin(text: &[u8]) -> bool {
    digits::<9>(text).is_some_and(|digits| !matches!(digits[0], 0 | 8) && luhn(&digits))
}

/// Whether `text` is a Brazilian CPF: eleven digits, the last two each modulo 11 of those before
/// (Receita Federal).
pub fn is_br_cpf(text: &[u8]) -> bool {
    digits::<11>(text).is_some_and(|digits| {
        let check = |weights: &[u8]| check_digit(weighted(&digits, weights));
        !all_equal(&digits)
            && digits[9] == check(&[10, 9, 8, 7, 6, 5, 4, 3, 2])
            && digits[10] == check(&[11, 10, 9, 8, 7, 6, 5, 4, 3, 2])
    })
}

/// Whether `text` is a Brazilian CNPJ: twelve digits or, from 2026, letters, and two check digits
/// modulo 11 (Receita Federal, Instrução Normativa 2.229/2024: a letter counts as its ASCII code
/// less 48).
pub fn is_br_cnpj(text: &[u8]) -> bool {
    compact::<14>(text).is_some_and(|bytes| {
        let values = bytes.map(|byte| byte - b'0');
        let check = |weights: &[u8]| check_digit(weighted(&values, weights));
        !all_equal(&values)
            && values[12] == check(&[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2])
            && values[13] == check(&[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2])
    })
}

/// Eleven less the remainder, where 10 and 11 are written 0.
fn check_digit(sum: u32) -> u8 {
    match sum % 11 {
        0 | 1 => 0,
        rest => 11 - rest as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Caught, Scheme, assert_catches, assert_examples};
    use super::*;

    #[test]
    fn examples() {
        assert_examples(
            is_ca_sin,
            &["130 692 544", "193-456-787"],
            &["046 454 286", "130 692 545", "846454286"],
        );
        assert_examples(
            is_br_cpf,
            &["529.982.247-25", "11144477735", "390.533.447-05"],
            &["111.111.111-11", "529.982.247-26", "529.982.247-52"],
        );
        assert_examples(
            is_br_cnpj,
            &[
                "11.222.333/0001-81",
                "11444777000161",
                "12.ABC.345/01DE-35",
                "12abc34501de35",
            ],
            &[
                "11.222.333/0001-82",
                "00000000000000",
                "12.ABC.345/01DE-36",
                "12ABC34501DEAB",
            ],
        );
    }

    #[test]
    fn errors_are_caught() {
        assert_catches(
            is_ca_sin,
            &Scheme {
                shape: "199999999",
                check: 1,
                caught: Caught::AnyDigit,
            },
        );
        assert_catches(
            is_br_cpf,
            &Scheme {
                shape: "99999999999",
                check: 2,
                caught: Caught::CheckDigits,
            },
        );
        assert_catches(
            is_br_cnpj,
            &Scheme {
                shape: "99999999999999",
                check: 2,
                caught: Caught::CheckDigits,
            },
        );
    }
}
