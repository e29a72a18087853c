//! Telephone numbers.

use super::text::{digit, number};

/// Whether `text` is plausible as a telephone number by itself: international, or of the North
/// American plan. Groups may be set apart by spaces, hyphens, dots, slashes and parentheses; an
/// extension (`x12`, `ext. 12`, `;ext=12`, `#12`) may follow.
pub fn is_phone(text: &[u8]) -> bool {
    Dialled::read(text)
        .is_some_and(|dialled| dialled.is_international() || dialled.is_north_american())
}

/// Whether `text` is in international form: `+`, `00` or `011`, a country code of ITU-T E.164 and a
/// national number of a length that this country uses; a trunk prefix in parentheses, as in
/// `+44 (0)20`, does not count.
pub fn is_international(text: &[u8]) -> bool {
    Dialled::read(text).is_some_and(|dialled| dialled.is_international())
}

/// Whether `text` is a number of the North American Numbering Plan, with or without country code 1:
/// ten digits, area code and exchange begin with 2 to 9 and do not end in 11 (ATIS-0300055,
/// 0300119).
pub fn is_north_american(text: &[u8]) -> bool {
    Dialled::read(text).is_some_and(|dialled| dialled.is_north_american())
}

/// The digits of E.164 and the longest prefix of a call abroad.
const MAX_DIGITS: usize = 15 + 3;
/// The longest extension, RFC 3966 aside, that numbers are written with.
const MAX_EXTENSION: usize = 7;

/// A number as one would dial it.
struct Dialled {
    plus: bool,
    digits: [u8; MAX_DIGITS],
    len: usize,
}

impl Dialled {
    fn read(text: &[u8]) -> Option<Self> {
        let (number, extension) = split_extension(text);
        let extension_fits = |extension: &[u8]| {
            (1..=MAX_EXTENSION).contains(&extension.len())
                && extension.iter().all(u8::is_ascii_digit)
        };
        if !extension.is_none_or(extension_fits) {
            return None;
        }
        let number = number.trim_ascii_end();
        let plus = number.first() == Some(&b'+');
        let mut dialled = Self {
            plus,
            digits: [0; MAX_DIGITS],
            len: 0,
        };
        let mut open = false;
        for &byte in &number[usize::from(plus)..] {
            match (byte, open) {
                (b'0'..=b'9', _) => {
                    *dialled.digits.get_mut(dialled.len)? = digit(byte)?;
                    dialled.len += 1;
                }
                (b'(', false) => open = true,
                (b')', true) => open = false,
                (b' ' | b'+' | b'-' | b'.' | b'/', _) => {}
                _ => return None,
            }
        }
        (!open && number.last().is_some_and(u8::is_ascii_digit)).then_some(dialled)
    }

    fn digits(&self) -> &[u8] {
        &self.digits[..self.len]
    }

    fn is_international(&self) -> bool {
        let abroad = match self.digits() {
            digits if self.plus => digits,
            [0, 0, rest @ ..] | [0, 1, 1, rest @ ..] => rest,
            _ => return false,
        };
        // Country codes are free of prefixes: at most one of the three is in the table.
        (1..=3).any(|length| {
            let Some((code, national)) = abroad.split_at_checked(length) else {
                return false;
            };
            let code = number(code);
            let Ok(found) = COUNTRIES.binary_search_by_key(&code, |&(code, ..)| u32::from(code))
            else {
                return false;
            };
            let (_, min, max) = COUNTRIES[found];
            let national = national.strip_prefix(&[0]).unwrap_or(national);
            (usize::from(min)..=usize::from(max)).contains(&national.len())
                && (code != 1 || is_north_american_national(national))
        })
    }

    fn is_north_american(&self) -> bool {
        match self.digits() {
            [1, national @ ..] => is_north_american_national(national),
            national => !self.plus && is_north_american_national(national),
        }
    }
}

fn is_north_american_national(digits: &[u8]) -> bool {
    let code = |code: &[u8]| code[0] >= 2 && code[1..] != [1, 1];
    digits.len() == 10 && code(&digits[..3]) && code(&digits[3..6])
}

/// The number, and the digits of the extension if one is written.
fn split_extension(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(place) = text
        .iter()
        .position(|byte| matches!(byte.to_ascii_lowercase(), b'x' | b'e' | b'#' | b';'))
    else {
        return (text, None);
    };
    let (number, marker) = text.split_at(place);
    let lower = |word: &str| {
        marker.len() >= word.len() && marker[..word.len()].eq_ignore_ascii_case(word.as_bytes())
    };
    let length = [";ext=", "extension", "ext.", "ext", "x", "#"]
        .into_iter()
        .find(|word| lower(word))
        .map_or(0, str::len);
    (number, Some(marker[length..].trim_ascii_start()))
}

/// Country code and the least and most digits of its national numbers, after ITU-T E.164 and its
/// operational bulletins; where a country's plan leaves it open, what is in use.
const COUNTRIES: &[(u16, u8, u8)] = &[
    (1, 10, 10),
    (7, 10, 10),
    (20, 8, 10),
    (27, 9, 9),
    (30, 10, 10),
    (31, 9, 11),
    (32, 8, 9),
    (33, 9, 9),
    (34, 9, 9),
    (36, 8, 9),
    (39, 6, 12),
    (40, 9, 9),
    (41, 9, 9),
    (43, 4, 13),
    (44, 9, 10),
    (45, 8, 8),
    (46, 7, 10),
    (47, 8, 8),
    (48, 9, 9),
    (49, 5, 13),
    (51, 8, 9),
    (52, 10, 11),
    (53, 6, 8),
    (54, 10, 11),
    (55, 10, 11),
    (56, 9, 9),
    (57, 8, 10),
    (58, 10, 10),
    (60, 8, 10),
    (61, 9, 9),
    (62, 7, 12),
    (63, 8, 10),
    (64, 8, 10),
    (65, 8, 8),
    (66, 8, 9),
    (81, 9, 10),
    (82, 8, 11),
    (84, 9, 10),
    (86, 9, 11),
    (90, 10, 10),
    (91, 10, 10),
    (92, 9, 10),
    (93, 9, 9),
    (94, 9, 9),
    (95, 7, 10),
    (98, 10, 10),
    (211, 9, 9),
    (212, 9, 9),
    (213, 8, 9),
    (216, 8, 8),
    (218, 8, 9),
    (220, 7, 7),
    (221, 9, 9),
    (222, 8, 8),
    (223, 8, 8),
    (224, 8, 9),
    (225, 8, 10),
    (226, 8, 8),
    (227, 8, 8),
    (228, 8, 8),
    (229, 8, 10),
    (230, 7, 8),
    (231, 7, 9),
    (232, 8, 8),
    (233, 9, 9),
    (234, 8, 10),
    (235, 8, 8),
    (236, 8, 8),
    (237, 9, 9),
    (238, 7, 7),
    (239, 7, 7),
    (240, 9, 9),
    (241, 7, 8),
    (242, 9, 9),
    (243, 7, 9),
    (244, 9, 9),
    (245, 7, 9),
    (246, 7, 7),
    (247, 4, 5),
    (248, 7, 7),
    (249, 9, 9),
    (250, 9, 9),
    (251, 9, 9),
    (252, 6, 9),
    (253, 8, 8),
    (254, 9, 9),
    (255, 9, 9),
    (256, 9, 9),
    (257, 8, 8),
    (258, 8, 9),
    (260, 9, 9),
    (261, 9, 9),
    (262, 9, 9),
    (263, 8, 10),
    (264, 8, 9),
    (265, 7, 9),
    (266, 8, 8),
    (267, 7, 8),
    (268, 8, 8),
    (269, 7, 7),
    (290, 4, 5),
    (291, 7, 7),
    (297, 7, 7),
    (298, 6, 6),
    (299, 6, 6),
    (350, 8, 8),
    (351, 9, 9),
    (352, 4, 11),
    (353, 7, 10),
    (354, 7, 9),
    (355, 8, 9),
    (356, 8, 8),
    (357, 8, 8),
    (358, 5, 12),
    (359, 7, 9),
    (370, 8, 8),
    (371, 8, 8),
    (372, 7, 8),
    (373, 8, 8),
    (374, 8, 8),
    (375, 9, 10),
    (376, 6, 9),
    (377, 8, 9),
    (378, 6, 10),
    (380, 9, 9),
    (381, 7, 9),
    (382, 8, 8),
    (383, 8, 9),
    (385, 8, 9),
    (386, 8, 8),
    (387, 8, 8),
    (389, 8, 8),
    (420, 9, 9),
    (421, 9, 9),
    (423, 7, 9),
    (500, 5, 5),
    (501, 7, 7),
    (502, 8, 8),
    (503, 8, 8),
    (504, 8, 8),
    (505, 8, 8),
    (506, 8, 8),
    (507, 7, 8),
    (508, 6, 9),
    (509, 8, 8),
    (590, 9, 9),
    (591, 8, 8),
    (592, 7, 7),
    (593, 8, 9),
    (594, 9, 9),
    (595, 7, 9),
    (596, 9, 9),
    (597, 6, 7),
    (598, 8, 8),
    (599, 7, 8),
    (670, 7, 8),
    (672, 6, 6),
    (673, 7, 7),
    (674, 7, 7),
    (675, 7, 8),
    (676, 5, 7),
    (677, 5, 7),
    (678, 5, 7),
    (679, 7, 7),
    (680, 7, 7),
    (681, 6, 6),
    (682, 5, 5),
    (683, 4, 7),
    (685, 5, 7),
    (686, 5, 8),
    (687, 6, 6),
    (688, 5, 7),
    (689, 6, 8),
    (690, 4, 7),
    (691, 7, 7),
    (692, 7, 7),
    (800, 8, 8),
    (808, 8, 8),
    (850, 8, 10),
    (852, 8, 8),
    (853, 8, 8),
    (855, 8, 9),
    (856, 8, 10),
    (870, 9, 9),
    (878, 12, 12),
    (880, 8, 10),
    (881, 9, 9),
    (882, 7, 12),
    (883, 7, 12),
    (886, 8, 9),
    (888, 11, 11),
    (960, 7, 7),
    (961, 7, 8),
    (962, 8, 9),
    (963, 8, 9),
    (964, 8, 10),
    (965, 8, 8),
    (966, 9, 9),
    (967, 7, 9),
    (968, 8, 8),
    (970, 8, 9),
    (971, 8, 9),
    (972, 8, 9),
    (973, 8, 8),
    (974, 8, 8),
    (975, 7, 8),
    (976, 8, 8),
    (977, 8, 10),
    (979, 9, 9),
    (992, 9, 9),
    (993, 8, 8),
    (994, 9, 9),
    (995, 9, 9),
    (996, 9, 9),
    (998, 9, 9),
];

#[cfg(test)]
mod tests {
    use super::super::testing::assert_examples;
    use super::*;

    #[test]
    fn examples() {
        assert_examples(
            is_phone,
            &[
                "+1 212 555 0123",
                "+44 20 7946 0958",
                "+44 (0)20 7946 0958",
                "0049 30 901820",
                "+33 1 99 00 12 34",
                "011 81 3 1234 5678",
                "+91-98765-43210",
                "+358 50 1234567",
                "+86 138 0013 8000",
                "(212) 555-0123",
                "212.555.0123",
                "1-212-555-0123 ext. 4567",
                "2125550123x89",
                "+1-212-555-0123;ext=12",
            ],
            &[
                "",
                "+",
                "+999 123 456 789",
                "+44 20 7946",
                "+1 112 555 0123",
                "112 555 0123",
                "212 155 0123",
                "911 555 0123",
                "212 555 012",
                "+33 1 99 00 12 34 56",
                "212 555 0123 x",
                "212 555 0123 x12345678",
                "(212 555 0123",
                "212) 555 0123",
                "2125550123 abc",
                "1234567890123456789",
            ],
        );
        assert!(!is_international(b"212 555 0123") && is_north_american(b"212 555 0123"));
        assert!(is_international(b"+12125550123") && !is_north_american(b"+442079460958"));
    }

    #[test]
    fn no_country_code_begins_with_another() {
        assert!(COUNTRIES.is_sorted());
        let codes: Vec<String> = COUNTRIES
            .iter()
            .map(|(code, ..)| code.to_string())
            .collect();
        for code in &codes {
            assert!(
                !codes
                    .iter()
                    .any(|other| other != code && other.starts_with(code.as_str())),
                "{code}"
            );
        }
        assert!(
            COUNTRIES
                .iter()
                .all(|&(code, min, max)| min <= max
                    && code.to_string().len() + usize::from(max) <= 15)
        );
    }
}
