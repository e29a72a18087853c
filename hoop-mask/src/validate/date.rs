//! Calendar dates, alone and inside of personal numbers.

use Part::{Month, Number};

/// Whether the day exists in the Gregorian calendar.
pub(super) fn is_day(year: u32, month: u32, day: u32) -> bool {
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// Whether the day exists in some century: a two-digit year says no more. Every year divisible by
/// four was a leap year in 2000 or 1904 to 1996.
pub(super) fn is_day_of_some_century(year: u32, month: u32, day: u32) -> bool {
    is_day(2000 + year, month, day)
}

/// Whether `text` is a date in a form in which people write a day of birth: `1987-03-14`,
/// `14.3.1987`, `3/14/87`, `19870314`, `14 March 1987`, `Mar 14th, 1987`. Years 1880 to 2079 in
/// four digits, any in two; a date whose day and month could change places passes if either order
/// exists. Months by name: English, German, French, Spanish, Italian, Portuguese and Dutch, whole
/// or cut to three or more letters.
pub fn is_date(text: &[u8]) -> bool {
    let mut parts = [Month(0); 3];
    let mut count = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (Some((part, after)), Some(place)) = (Part::read(rest), parts.get_mut(count)) else {
            return false;
        };
        *place = part;
        count += 1;
        rest = match skip_separator(after) {
            // Nothing may follow a separator at the end.
            Some(rest) if rest.is_empty() == after.is_empty() => rest,
            _ => return false,
        };
    }
    match parts[..count] {
        [Number(date, 8)] => {
            let (year, month, day) = (date / 10_000, date / 100 % 100, date % 100);
            let (first, second, last) = (date / 1_000_000, date / 10_000 % 100, date % 10_000);
            is_year(year) && is_day(year, month, day)
                || is_year(last) && either_order(last, first, second)
        }
        [
            Number(year, 4),
            Number(month, 1..=2) | Month(month),
            Number(day, 1..=2),
        ] => is_year(year) && is_day(year, month, day),
        [Number(first, 1..=2), Number(second, 1..=2), Number(year, 4)] => {
            is_year(year) && either_order(year, first, second)
        }
        [Number(first, 1..=2), Number(second, 1..=2), Number(last, 2)] => {
            either_order(2000 + last, first, second) || is_day_of_some_century(first, second, last)
        }
        [Number(day, 1..=2), Month(month), Number(year, length)]
        | [Month(month), Number(day, 1..=2), Number(year, length)] => match length {
            2 => is_day_of_some_century(year, month, day),
            4 => is_year(year) && is_day(year, month, day),
            _ => false,
        },
        _ => false,
    }
}

/// Whether the word is the name of a month, or three letters or more of its start.
pub(crate) fn is_month(word: &[u8]) -> bool {
    month(word).is_some()
}

/// One of the three parts of a date.
#[derive(Clone, Copy)]
enum Part {
    /// Value and number of digits.
    Number(u32, usize),
    Month(u32),
}

impl Part {
    /// The part at the start of `text`, and what follows it.
    fn read(text: &[u8]) -> Option<(Self, &[u8])> {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 8 {
            return None;
        }
        if digits > 0 {
            let value = text[..digits]
                .iter()
                .fold(0, |sum, &byte| sum * 10 + u32::from(byte - b'0'));
            let after = &text[digits..];
            let ordinal = ["st", "nd", "rd", "th", "er"]
                .iter()
                .find_map(|ending| strip(after, ending.as_bytes()));
            return Some((Number(value, digits), ordinal.unwrap_or(after)));
        }
        // Bytes above 0x7f are the accented letters of `février`, `août`, `März`, `março`.
        let letters = text
            .iter()
            .take_while(|&&byte| byte.is_ascii_alphabetic() || byte >= 0x80)
            .count();
        let (word, after) = text.split_at(letters);
        month(word).map(|month| (Month(month), after))
    }
}

/// What follows one separator, or two of which the second is a space, or a Spanish or Portuguese
/// ` de `.
fn skip_separator(text: &[u8]) -> Option<&[u8]> {
    if text.is_empty() {
        return Some(text);
    }
    if let Some(rest) = strip(text, b" de ").or_else(|| strip(text, b" of ")) {
        return Some(rest);
    }
    let (&separator, rest) = text.split_first()?;
    match separator {
        b'.' | b',' => Some(rest.strip_prefix(b" ").unwrap_or(rest)),
        b' ' | b'-' | b'/' => Some(rest),
        _ => None,
    }
}

fn strip<'text>(text: &'text [u8], prefix: &[u8]) -> Option<&'text [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn either_order(year: u32, first: u32, second: u32) -> bool {
    is_day(year, first, second) || is_day(year, second, first)
}

/// Years in which a living person, or the subject of a record, may be born or a card may end.
fn is_year(year: u32) -> bool {
    (1880..2080).contains(&year)
}

/// The month of a name, or of its first three letters or more.
fn month(word: &[u8]) -> Option<u32> {
    let &[a, b, c, ..] = word else {
        return None;
    };
    let start = start_of(a, b, c);
    if STARTS[start >> 6] & 1 << (start & 63) == 0 {
        return None;
    }
    let is_start_of = |name: &str| {
        let name = name.as_bytes();
        (3..=name.len()).contains(&word.len()) && name[..word.len()].eq_ignore_ascii_case(word)
    };
    (1..)
        .zip(MONTHS)
        .find(|(_, names)| names.split(' ').any(is_start_of))
        .map(|(month, _)| month)
}

/// Three letters, in any case, as a number of 15 bits.
const fn start_of(a: u8, b: u8, c: u8) -> usize {
    (a as usize & 31) << 10 | (b as usize & 31) << 5 | c as usize & 31
}

/// A bit for each three letters that a month starts with, to turn other words away.
static STARTS: [u64; 512] = {
    let mut starts = [0; 512];
    let mut month = 0;
    while month < MONTHS.len() {
        let names = MONTHS[month].as_bytes();
        let mut i = 0;
        while i + 2 < names.len() {
            if i == 0 || names[i - 1] == b' ' {
                let start = start_of(names[i], names[i + 1], names[i + 2]);
                starts[start >> 6] |= 1 << (start & 63);
            }
            i += 1;
        }
        month += 1;
    }
    starts
};

/// Names of the months from January on; one that is the start of another is left out.
const MONTHS: [&str; 12] = [
    "january januari janvier enero gennaio janeiro",
    "february februari février fevrier febrero febbraio fevereiro",
    "march märz maerz mars marzo março marco maart",
    "april avril abril aprile",
    "may mai mayo maggio maio mei",
    "june juni juin junio giugno junho",
    "july juli juillet julio luglio julho",
    "august augustus août aout agosto",
    "september septembre septiembre settembre setembro",
    "october oktober octobre octubre ottobre outubro",
    "november novembre noviembre novembro",
    "december dezember décembre decembre diciembre dicembre dezembro",
];

#[cfg(test)]
mod tests {
    use super::super::testing::assert_examples;
    use super::*;

    #[test]
    fn forms_of_a_date() {
        assert_examples(
            is_date,
            &[
                "1987-03-14",
                "1987/3/14",
                "14.3.1987",
                "14.03.87",
                "3/14/1987",
                "3/14/87",
                "14-03-1987",
                "19870314",
                "14031987",
                "14 March 1987",
                "14. März 1987",
                "March 14, 1987",
                "Mar 14th, 1987",
                "1er août 1987",
                "14 de marzo de 1987",
                "1987 Mar 14",
                "29.02.2000",
                "3rd of May 1960",
                "14-Mar-87",
            ],
            &[
                "",
                "14",
                "14.03",
                "30.02.1987",
                "29.02.1900",
                "1987-13-14",
                "1987-03-32",
                "13/13/1987",
                "0.3.1987",
                "14 Marchy 1987",
                "14 Ma 1987",
                "1790-03-14",
                "14.03.1987.",
                "1.2.3.4",
                "192.168.1.1",
                "198703145",
                "14  March 1987",
            ],
        );
    }

    #[test]
    fn leap_days() {
        assert!(is_day(2024, 2, 29) && is_day(2000, 2, 29));
        assert!(!is_day(2023, 2, 29) && !is_day(1900, 2, 29));
        assert!(is_day_of_some_century(0, 2, 29) && !is_day_of_some_century(1, 2, 29));
        assert!(!is_day(2024, 0, 1) && !is_day(2024, 1, 0) && !is_day(2024, 4, 31));
    }
}
