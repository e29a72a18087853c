//! Everything that starts with a digit: cards, personal numbers, telephone numbers, dates, IPv4.

use std::ops::Range;

use super::{CORE, Core, Normal, Scan, Spec, context, spoken};
use crate::bytes::{self, ALNUM, ALPHA, DIGIT, HIGH, WORD};
use crate::validate::{
    self, americas, asia_pacific, card, date, europe, iban, mod97, net, nordic, phone, us,
};

/// The most groups of digits that one number is written in.
const GROUPS: usize = 12;
/// The longest number, separators included.
const LIMIT: usize = 48;

/// Declares the personal numbers: class, name, digits, check, and whether they stand by themselves.
macro_rules! national {
    ($($class:literal $rule:literal $digits:pat, $check:path, $sure:expr;)*) => {
        /// The personal numbers: ids follow those of [`CORE`].
        pub(crate) static NATIONAL: &[Spec] = &[$(Spec {
            class: $class, rule: $rule, rank: 5, normal: Normal::Compact,
        }),*];

        static CHECKS: &[National] = &[$(National {
            digits: {
                let (mut mask, mut digits) = (0_u32, 0);
                while digits < 32 {
                    if matches!(digits, $digits) {
                        mask |= 1 << digits;
                    }
                    digits += 1;
                }
                mask
            },
            check: $check,
            sure: $sure,
        }),*];
    };
}

struct National {
    /// A bit for each number of digits that it can have.
    digits: u32,
    check: validate::Check,
    /// Its form is proof enough; other numbers need a word that says what they are.
    sure: fn(&[u8]) -> bool,
}

impl National {
    /// Whether a value of so many digits is one.
    #[inline]
    fn passes(&self, digits: usize, value: &[u8]) -> bool {
        digits < 32 && self.digits & 1 << digits != 0 && (self.check)(value)
    }
}

national! {
    "BR_CPF" "br-cpf" 11, americas::is_br_cpf, |text| shaped(text, b"###.###.###-##");
    "BR_CNPJ" "br-cnpj" 14, americas::is_br_cnpj, |text| shaped(text, b"##.###.###/####-##");
    "FR_NIR" "fr-nir" 13..=15, mod97::is_fr_nir, |_| true;
    "IT_CODICE_FISCALE" "it-codice-fiscale" 5..=9, mod97::is_it_codice_fiscale, |_| true;
    "CN_RESIDENT_ID" "cn-resident-id" 17 | 18, asia_pacific::is_cn_resident_id, |_| true;
    "KR_RRN" "kr-rrn" 13, asia_pacific::is_kr_rrn, |text| shaped(text, b"######-#######");
    "CH_AHV" "ch-ahv" 13, europe::is_ch_ahv, |_| true;
    "ES_DNI" "es-dni" 7 | 8, europe::is_es_dni, |_| true;
    "FI_HETU" "fi-hetu" 9 | 10, nordic::is_fi_hetu, |_| true;
    "SG_NRIC" "sg-nric" 7, asia_pacific::is_sg_nric, |_| true;
    "BE_NATIONAL_NUMBER" "be-national-number" 11, mod97::is_be_national_number, |text| shaped(text, b"##.##.##-###.##");
    "SE_PERSONNUMMER" "se-personnummer" 10 | 12, nordic::is_se_personnummer, |text| shaped(text, b"######-####") || shaped(text, b"########-####");
    "IN_AADHAAR" "in-aadhaar" 12, asia_pacific::is_in_aadhaar, |text| shaped(text, b"#### #### ####");
    "DE_STEUER_ID" "de-steuer-id" 11, europe::is_de_steuer_id, |text| shaped(text, b"## ### ### ###");
    "UK_NHS" "uk-nhs" 10, europe::is_uk_nhs, |text| shaped(text, b"### ### ####");
    "NL_BSN" "nl-bsn" 8 | 9, europe::is_nl_bsn, |_| false;
    "PL_PESEL" "pl-pesel" 11, europe::is_pl_pesel, |_| false;
    "PT_NIF" "pt-nif" 9, europe::is_pt_nif, |_| false;
    "TR_TCKN" "tr-tckn" 11, europe::is_tr_tckn, |_| false;
    "NO_FODSELSNUMMER" "no-fodselsnummer" 11, nordic::is_no_fodselsnummer, |_| false;
    "DK_CPR" "dk-cpr" 10, nordic::is_dk_cpr, |text| shaped(text, b"######-####");
    "CA_SIN" "ca-sin" 9, americas::is_ca_sin, |text| shaped(text, b"###-###-###") || shaped(text, b"### ### ###");
    "AU_TFN" "au-tfn" 8 | 9, asia_pacific::is_au_tfn, |_| false;
    "AU_MEDICARE" "au-medicare" 10 | 11, asia_pacific::is_au_medicare, |_| false;
    "ZA_ID" "za-id" 13, asia_pacific::is_za_id, |_| false;
}

/// Whether `text` has the shape: `#` is a digit, anything else itself.
fn shaped(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text.iter().zip(shape).all(|(&byte, &form)| match form {
            b'#' => byte.is_ascii_digit(),
            // In a form a space is a `+`.
            b' ' => matches!(byte, b' ' | b'+'),
            _ => byte == form,
        })
}

/// The groups of digits from one place on.
struct Number {
    ends: [usize; GROUPS],
    /// The digits up to the end of each group.
    digits: [usize; GROUPS],
    groups: usize,
}

impl Number {
    /// Reads on over single separators, and over `) ` and ` (`, as telephone numbers have them.
    fn read(text: &[u8], start: usize, first_end: usize) -> Self {
        let mut number = Self {
            ends: [first_end; GROUPS],
            digits: [first_end - start; GROUPS],
            groups: 1,
        };
        let limit = text.len().min(start + LIMIT);
        let mut at = first_end;
        while number.groups < GROUPS && at < limit {
            let separator = separator(&text[at..limit]);
            if separator == 0 {
                break;
            }
            let group = bytes::run_end(text, at + separator, DIGIT, LIMIT);
            if group == at + separator || group > limit {
                break;
            }
            number.ends[number.groups] = group;
            number.digits[number.groups] =
                number.digits[number.groups - 1] + (group - at - separator);
            number.groups += 1;
            at = group;
        }
        number
    }
}

fn separator(text: &[u8]) -> usize {
    match text {
        [b')', b' ' | b'+' | b'-' | b'.' | b'/', ..]
        | [b' ' | b'+', b'(', ..]
        | [0xc2, 0xa0, ..] => 2,
        [b' ' | b'-' | b'.' | b'/' | b'(' | b')' | b'+', ..] => 1,
        [0xe2, 0x80, 0x90..=0x94 | 0xaf, ..] => 3,
        _ => 0,
    }
}

/// Looks at the digits from `at` on, which follow a letter.
#[inline(never)]
pub(super) fn after_letter(scan: &mut Scan<'_>, at: usize) {
    spoken::look_at_digit(scan, at);
    if bytes::get(scan.text, at + 1).is_ascii_digit() {
        let end = bytes::run_end(scan.text, at, DIGIT, LIMIT + 1);
        letters_first(scan, at, end - at);
    }
}

/// Looks at what may be the year of a date whose month has a name.
#[inline(never)]
pub(super) fn look_at_year(scan: &mut Scan<'_>, at: usize) {
    let text = scan.text;
    let end = bytes::run_end(text, at, DIGIT, 5);
    // Two digits are a year in the likes of `14-Mar-87` only.
    let year = match end - at {
        4 => matches!(text[at], b'1' | b'2'),
        2 => bytes::before(text, at) != b' ',
        _ => false,
    };
    if year {
        named_date(scan, at, end);
    }
}

/// Looks at the number whose first digit is at `at`.
#[inline(never)]
pub(super) fn look(scan: &mut Scan<'_>, at: usize) {
    let text = scan.text;
    let first_end = bytes::run_end(text, at, DIGIT, LIMIT + 1);
    let first = first_end - at;
    let before = bytes::before(text, at);
    // Most numbers in a text are short and stand alone, or are a decimal fraction.
    if first < 7 && !more_follows(text, first_end) || first > LIMIT || bytes::is(before, WORD) {
        return;
    }
    let joined = matches!(before, b'.' | b'-' | b'/' | b'_' | b',' | b':')
        && at >= 2
        && bytes::is(text[at - 2], ALNUM);
    if before == b'.' && joined && first >= 5 {
        return;
    }
    // In a row of numbers only what can be the start of one in groups.
    if before == b' ' && first < 3 && at >= 2 && text[at - 2].is_ascii_digit() {
        return;
    }
    let number = Number::read(text, at, first_end);
    for group in (0..number.groups).rev() {
        let digits = number.digits[group];
        // IPv4 has the fewest.
        if digits < 4 {
            break;
        }
        let whole = group + 1 == number.groups;
        if judge(scan, at..number.ends[group], digits, joined, whole) {
            return;
        }
    }
    trailing_letter(scan, at, first_end);
}

#[inline]
fn more_follows(text: &[u8], end: usize) -> bool {
    let next = bytes::get(text, end);
    match next {
        b' ' | b'-' | b'.' | b'/' | b'(' | b')' | b'+' => {
            let after = bytes::get(text, end + 1);
            after.is_ascii_digit()
                || matches!(after, b' ' | b'+' | b'(' | b'-' | b'/' | b'.')
                    && bytes::get(text, end + 2).is_ascii_digit()
                || bytes::is(after, ALPHA) && next == b'-'
        }
        0xc2 | 0xe2 => true,
        _ => bytes::is(next, ALPHA),
    }
}

/// Judges the digits from `start` to `end`; the last of the tries is the shortest.
fn judge(
    scan: &mut Scan<'_>,
    range: Range<usize>,
    digits: usize,
    joined: bool,
    whole: bool,
) -> bool {
    let text = scan.text;
    let Range { start, end } = range;
    let after = bytes::get(text, end);
    if bytes::is(after, WORD) && !matches!(after, b'x' | b'X' | b'e' | b'T') || after == b'_' {
        return false;
    }
    let value = &text[start..end];
    // A fraction, or a file's name.
    if after == b'.' && bytes::is(bytes::get(text, end + 1), ALNUM) && whole {
        return false;
    }
    if (12..=19).contains(&digits) && is_grouped_card(value) && card::is_card(value) {
        scan.report(Core::Card, start, end);
        return true;
    }
    if joined {
        return false;
    }
    if digits <= 12
        && value.iter().filter(|&&byte| byte == b'.').count() == 3
        && net::is_ipv4(value)
    {
        return ipv4(scan, start, end);
    }
    if digits == 9 && shaped(value, b"###-##-####") && us::is_ssn(value) {
        scan.report(Core::UsSsn, start, end);
        return true;
    }
    if !(6..=18).contains(&digits) {
        return false;
    }
    let plus =
        start > 0 && text[start - 1] == b'+' || start > 1 && text[start - 2..start] == *b"+(";
    if plus {
        let hints = scan.context.subjects(text, start, end);
        return phone_number(scan, start, end, hints.all);
    }
    let mut hints = None;
    let mut hint =
        |scan: &mut Scan<'_>| *hints.get_or_insert_with(|| scan.context.subjects(text, start, end));
    // Most dates with a time are when something happened.
    let timed = matches!(after, b'T' | b' ') && bytes::get(text, end + 1).is_ascii_digit();
    if (6..=8).contains(&digits) && (timed && shaped(value, b"####-##-##") || is_date(value)) {
        let born = if timed {
            !matches!(bytes::before(text, start), 0 | b'\n')
                && context::key_says(text, start, context::BIRTH)
        } else {
            hint(scan).all & context::BIRTH != 0
        };
        if born {
            scan.report(Core::DateOfBirth, start, end);
        }
        return true;
    }
    let passes = |national: &National| national.passes(digits, value);
    let is_ssn = digits == 9 && us::is_ssn(value);
    if is_ssn || CHECKS.iter().any(passes) {
        let hints = hint(scan);
        // The end of a longer number is none by form alone, nor is what the last word calls a
        // telephone number.
        let phone = hints.nearest & context::PHONE != 0;
        let sure = !phone && !continues(text, start);
        let named = |subject| !phone && hints.all & subject != 0;
        if is_ssn && sure && named(context::SSN) {
            scan.report(Core::UsSsn, start, end);
            return true;
        }
        let fits = |national: &National| {
            passes(national) && (named(context::IDENTITY) || sure && (national.sure)(value))
        };
        if let Some(i) = CHECKS.iter().position(fits) {
            scan.push(CORE.len() + i, start, end, None);
            return true;
        }
    }
    if (12..=19).contains(&digits)
        && hint(scan).all & context::CARD != 0
        && is_grouped_card(value)
        && card::is_luhn(value)
    {
        scan.report(Core::Card, start, end);
        return true;
    }
    if (whole || digits >= 10) && plausible(value) {
        let hints = hint(scan);
        return phone_number(scan, start, end, hints.all);
    }
    false
}

/// Whether digits and one separator are before the number.
fn continues(text: &[u8], start: usize) -> bool {
    start >= 2 && matches!(text[start - 1], b' ' | b'-' | b'.') && text[start - 2].is_ascii_digit()
}

/// Whether the digits are together, or in groups as cards have them.
fn is_grouped_card(value: &[u8]) -> bool {
    value
        .split(|byte| !byte.is_ascii_digit())
        .filter(|group| !group.is_empty())
        .all(|group| (2..=19).contains(&group.len()))
        && !value.iter().any(|byte| matches!(byte, b'/' | b')' | b'('))
}

fn ipv4(scan: &mut Scan<'_>, start: usize, end: usize) -> bool {
    let text = scan.text;
    let value = &text[start..end];
    let before = bytes::before(text, start);
    if bytes::get(text, end) == b'.' && bytes::is(bytes::get(text, end + 1), ALNUM) {
        return true;
    }
    if !matches!(value, b"127.0.0.1" | b"0.0.0.0" | b"255.255.255.255")
        && before != b'.'
        && before != b'-'
    {
        scan.report(Core::IpAddress, start, end);
    }
    true
}

/// A date of a calendar, in figures.
fn is_date(value: &[u8]) -> bool {
    value.iter().any(|byte| !byte.is_ascii_digit()) && date::is_date(value)
}

fn phone_number(scan: &mut Scan<'_>, start: usize, end: usize, hints: u32) -> bool {
    let text = scan.text;
    let plus = bytes::before(text, start) == b'+';
    let mut start = start - usize::from(plus);
    let closes = |start: usize| {
        let first = text[start..end]
            .iter()
            .find(|byte| matches!(byte, b'(' | b')'));
        bytes::before(text, start) == b'(' && first == Some(&b')')
    };
    if closes(start) {
        start -= 1;
    }
    if !plus && bytes::before(text, start) == b'+' {
        start -= 1;
    }
    let extended = extension_end(text, end);
    let value = &text[start..extended];
    let dialled = &text[start..end];
    // A number with a fraction is not separated.
    let separators = dialled[1..].iter().filter(|byte| !byte.is_ascii_digit());
    let separated = match separators.clone().count() {
        0 => false,
        1 => !separators.clone().any(|&byte| byte == b'.'),
        _ => true,
    };
    let sure = if value.starts_with(b"+") || value.starts_with(b"(+") {
        // With separators a wrong area code is more likely than another meaning.
        phone::is_international(value)
            || separated
                && plausible(dialled)
                && groups(dialled).next().is_some_and(|first| first <= 4)
    } else if value.starts_with(b"00") {
        separated && phone::is_international(value)
    } else {
        separated && phone::is_phone(value) && !value.starts_with(b"0") && is_american_form(dialled)
    };
    let known = hints & context::PHONE != 0 && plausible(dialled)
        || hints & context::MESSAGE != 0 && looks_dialled(dialled, separated);
    if (sure || known) && !is_time(text, end) {
        scan.report(Core::Phone, start, extended);
        return true;
    }
    false
}

/// The lengths of the groups of digits.
fn groups(value: &[u8]) -> impl Iterator<Item = usize> {
    value
        .split(|byte| !byte.is_ascii_digit())
        .map(<[u8]>::len)
        .filter(|&len| len > 0)
}

/// Whether the groups are those in which North American numbers are written.
fn is_american_form(value: &[u8]) -> bool {
    const FORMS: [&[usize]; 4] = [&[3, 3, 4], &[1, 3, 3, 4], &[3, 7], &[1, 3, 7]];
    FORMS
        .iter()
        .any(|form| groups(value).eq(form.iter().copied()))
}

/// Whether a number in a text about telephones can be one: E.164 allows 15 digits, and islands have
/// numbers of six, in pairs.
fn plausible(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let count = |wanted| value.iter().filter(|&&byte| byte == wanted).count();
    ((7..=15).contains(&digits) || shaped(value, b"## ## ##"))
        && !shaped(value, b"####-##-##")
        && count(b'(') <= count(b')')
}

/// Whether a number in a text about messages looks like one to send them to, rather than years.
fn looks_dialled(value: &[u8], separated: bool) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let years =
        shaped(value, b"####-####") && (value.starts_with(b"19") || value.starts_with(b"20"));
    let least = if separated { 7 } else { 8 };
    digits >= least && plausible(value) && !years
}

/// Whether the last group before `end` is the hour of a time, after a date.
fn is_time(text: &[u8], end: usize) -> bool {
    matches!(text[end.min(text.len())..], [b':', tens, units, ..] if tens.is_ascii_digit() && units.is_ascii_digit())
}

/// A date of birth with the month by name, whose year is at `at`.
fn named_date(scan: &mut Scan<'_>, at: usize, end: usize) {
    let text = scan.text;
    let [.., end_of_word, separator] = text[..at] else {
        return;
    };
    let follows = match separator {
        b' ' => bytes::is(end_of_word, ALPHA | HIGH) || matches!(end_of_word, b',' | b'.'),
        b'-' | b'/' | b'.' => bytes::is(end_of_word, ALPHA | HIGH),
        _ => false,
    };
    if !follows {
        return;
    }
    let (mut from, mut start, mut month) = (at, None, false);
    // `14 de marzo de 1987` has the most words.
    for _ in 0..4 {
        let gap = text[..from]
            .iter()
            .rev()
            .take(2)
            .take_while(|byte| b" ,.-/".contains(byte))
            .count();
        let word = bytes::run_start(text, from - gap, ALNUM | HIGH, 12);
        if gap == 0 || word == from - gap {
            break;
        }
        month |= date::is_month(&text[word..from - gap]);
        from = word;
        if month && date::is_date(&text[from..end]) {
            start = Some(from);
        }
    }
    let whole = |&start: &usize| !bytes::is(bytes::before(text, start), WORD);
    if let Some(start) = start.filter(whole)
        && scan.context.subjects(text, at, end).all & context::BIRTH != 0
    {
        scan.report(Core::DateOfBirth, start, end);
    }
}

/// Where the extension after a telephone number ends: `x12`, ` ext. 12`.
fn extension_end(text: &[u8], end: usize) -> usize {
    let mut at = end;
    if bytes::get(text, at) == b' ' {
        at += 1;
    }
    let rest = &text[at.min(text.len())..];
    let marker = [&b"ext. "[..], b"ext.", b"ext ", b"ext", b"x"]
        .into_iter()
        .find(|marker| {
            rest.len() > marker.len() && rest[..marker.len()].eq_ignore_ascii_case(marker)
        })
        .map_or(0, <[u8]>::len);
    let digits = bytes::run_end(text, at + marker, DIGIT, 7);
    if marker == 0 || digits == at + marker || bytes::is(bytes::get(text, digits), WORD) {
        return end;
    }
    digits
}

/// Numbers that start with letters: IBAN, and the personal numbers of Spain, Italy, Singapore.
fn letters_first(scan: &mut Scan<'_>, at: usize, first: usize) {
    let text = scan.text;
    let start = bytes::run_start(text, at, ALPHA, 7);
    if !matches!(at - start, 1 | 2 | 6)
        || bytes::is(bytes::before(text, start), WORD)
        || bytes::before(text, start) == b'_'
    {
        return;
    }
    let letters = at - start;
    if letters == 2
        && first >= 2
        && let Some(end) = iban_end(text, start)
    {
        scan.report(Core::Iban, start, end);
        return;
    }
    let end = bytes::run_end(text, at, ALNUM, LIMIT);
    let len = end - start;
    if letters == 6 && len == 16 || letters == 1 && len == 9 {
        letters_and_digits(scan, start, end);
    }
}

/// Where the IBAN at `start` ends (ISO 13616): together or in groups of four.
fn iban_end(text: &[u8], start: usize) -> Option<usize> {
    let want = iban::length(
        text[start].to_ascii_uppercase(),
        text[start + 1].to_ascii_uppercase(),
    )?;
    let (mut at, mut count) = (start, 0);
    while count < want {
        let byte = bytes::get(text, at);
        if bytes::is(byte, ALNUM) {
            count += 1;
        } else if !(matches!(byte, b' ' | b'-' | b'+')
            && count % 4 == 0
            && count > 0
            && bytes::is(bytes::get(text, at + 1), ALNUM))
        {
            return None;
        }
        at += 1;
    }
    let value = &text[start..at];
    let spaced;
    let value = if value.contains(&b'+') {
        spaced = value
            .iter()
            .map(|&byte| if byte == b'+' { b' ' } else { byte })
            .collect::<Vec<_>>();
        &spaced
    } else {
        value
    };
    (!bytes::is(bytes::get(text, at), WORD) && iban::is_iban(value)).then_some(at)
}

/// Personal numbers that start with digits and have letters after them.
fn trailing_letter(scan: &mut Scan<'_>, start: usize, first_end: usize) {
    let text = scan.text;
    if !matches!(first_end - start, 6 | 8 | 17) {
        return;
    }
    let mut end = first_end;
    if matches!(bytes::get(text, end), b'-' | b'+') {
        end += 1;
    }
    let end = bytes::run_end(text, end, ALNUM, 8);
    if end > first_end {
        letters_and_digits(scan, start, end);
    }
}

fn letters_and_digits(scan: &mut Scan<'_>, start: usize, end: usize) {
    let text = scan.text;
    if bytes::is(bytes::get(text, end), WORD)
        || matches!(bytes::before(text, start), b'-' | b'.' | b'_')
    {
        return;
    }
    let value = &text[start..end];
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    if !value.iter().any(u8::is_ascii_alphabetic) {
        return;
    }
    let passes = |national: &National| national.passes(digits, value);
    if let Some(i) = CHECKS.iter().position(passes) {
        scan.push(CORE.len() + i, start, end, None);
    }
}
