//! Numbers of the United States.

use super::checksum::weighted;
use super::text::{digits, number};

/// Whether `text` can be a social security number: area, group and serial are never all zeros, and
/// the areas 666 and 900 to 999 are not issued (Social Security Administration, POMS RM 10201.030).
/// There is no check digit. Numbers that became void by being printed in advertisements pass: to
/// mask one more of these harms nobody.
pub fn is_ssn(text: &[u8]) -> bool {
    digits::<9>(text).is_some_and(|digits| {
        let area = number(&digits[..3]);
        (1..900).contains(&area)
            && area != 666
            && number(&digits[3..5]) != 0
            && number(&digits[5..]) != 0
    })
}

/// Whether `text` can be an individual taxpayer identification number: 9, and then in the fourth
/// and fifth place 50 to 65, 70 to 88, 90 to 92 or 94 to 99 (Internal Revenue Manual 3.21.263).
/// There is no check digit.
pub fn is_itin(text: &[u8]) -> bool {
    digits::<9>(text).is_some_and(|digits| {
        digits[0] == 9 && matches!(number(&digits[3..5]), 50..=65 | 70..=88 | 90..=92 | 94..=99)
    })
}

/// Whether `text` is a routing number of the American Bankers Association: a prefix in use and the
/// check digit with weights 3, 7, 1 (ABA Key to Routing Numbers). One in thirty numbers of nine
/// digits is: ask for context.
pub fn is_aba_routing(text: &[u8]) -> bool {
    digits::<9>(text).is_some_and(|digits| {
        let prefix = number(&digits[..2]);
        matches!(prefix, 1..=12 | 21..=32 | 61..=72 | 80)
            && weighted(&digits, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Caught, Scheme, assert_catches, assert_examples};
    use super::*;

    #[test]
    fn examples() {
        assert_examples(
            is_ssn,
            &["078-05-1120", "219 09 9999", "899999999", "001-01-0001"],
            &[
                "000-12-3456",
                "666-12-3456",
                "900-12-3456",
                "123-00-4567",
                "123-45-0000",
                "123-45-678",
                "1234567890",
            ],
        );
        assert_examples(
            is_itin,
            &["900-70-0001", "912-94-1234", "999-88-9999", "900500000"],
            &[
                "900-49-0001",
                "900-66-0001",
                "900-93-0001",
                "900-89-1111",
                "800-70-0001",
            ],
        );
        assert_examples(
            is_aba_routing,
            &["021000021", "0110-0001-5", "122105155", "322271627"],
            &[
                "021000022",
                "012000021",
                "000000000",
                "02100002",
                "999999992",
            ],
        );
    }

    #[test]
    fn errors_are_caught() {
        assert_catches(
            is_aba_routing,
            &Scheme {
                shape: "029999999",
                check: 1,
                caught: Caught::AnyDigit,
            },
        );
    }
}
