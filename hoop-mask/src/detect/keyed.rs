//! Values beside a telling key: `password=`, `"api_key": `, `Authorization: `, `Cookie: `.

use super::{Ahead, Core, Scan, Shape, entropy, is_placeholder};
use crate::bytes::{self, ALNUM, JOINER, SPACE};
use crate::prefilter::Triples;
use crate::view::quote_level;

const KEY_LIMIT: usize = 64;
/// So many letters of a key's end are read.
const TELLING: usize = 24;

/// What a key says of its value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Password,
    /// A value of some entropy.
    Secret,
    AwsSecret,
    Authorization,
    Cookie,
}

/// The ends of keys, in lower case and without `_`, `-` and `.`.
const KEYS: &[(&str, Kind)] = &[
    ("password", Kind::Password),
    ("passwd", Kind::Password),
    ("pwd", Kind::Password),
    ("passphrase", Kind::Password),
    ("passcode", Kind::Password),
    ("pass", Kind::Password),
    ("passwort", Kind::Password),
    ("kennwort", Kind::Password),
    ("contrasena", Kind::Password),
    ("pgpassword", Kind::Password),
    ("cvv", Kind::Password),
    ("cvc", Kind::Password),
    ("secretaccesskey", Kind::AwsSecret),
    ("awssecretkey", Kind::AwsSecret),
    ("awssecret", Kind::AwsSecret),
    ("proxyauthorization", Kind::Authorization),
    ("authorization", Kind::Authorization),
    ("setcookie", Kind::Cookie),
    ("cookie", Kind::Cookie),
    ("secret", Kind::Secret),
    ("token", Kind::Secret),
    ("key", Kind::Secret),
    ("credential", Kind::Secret),
    ("credentials", Kind::Secret),
    ("auth", Kind::Secret),
    ("bearer", Kind::Secret),
    ("signature", Kind::Secret),
    ("sessionid", Kind::Secret),
    ("sid", Kind::Secret),
    ("jsessionid", Kind::Secret),
    ("phpsessid", Kind::Secret),
    ("session", Kind::Secret),
    ("sig", Kind::Secret),
    ("otp", Kind::Secret),
    ("salt", Kind::Secret),
];

/// Keys that end like telling ones and name what is public.
const PUBLIC: &[&str] = &[
    "publickey",
    "primarykey",
    "foreignkey",
    "cachekey",
    "pubkey",
    "idempotencykey",
    "partitionkey",
];

/// A bit for each three letters that a telling key ends in, to turn the others away.
static ENDS: [u64; 512] = {
    let mut ends = [0; 512];
    let mut i = 0;
    while i < KEYS.len() {
        let key = KEYS[i].0.as_bytes();
        let end = end_of(key[key.len() - 3], key[key.len() - 2], key[key.len() - 1]);
        ends[end >> 6] |= 1 << (end & 63);
        i += 1;
    }
    ends
};

/// The last three letters of telling keys, and of `session.id`, whose dot does not count.
pub(crate) static KEY_ENDS: Triples = {
    let mut ends = Triples::NONE.with(*b".id");
    let mut i = 0;
    while i < KEYS.len() {
        if let [.., a, b, c] = *KEYS[i].0.as_bytes() {
            ends = ends.with([a, b, c]);
        }
        i += 1;
    }
    ends
};

/// No key.
const NONE: u8 = u8::MAX;

/// By last letter the first key, and by key the next one with that last letter.
static CHAINS: ([u8; 32], [u8; KEYS.len()]) = {
    let (mut first, mut next) = ([NONE; 32], [NONE; KEYS.len()]);
    let mut i = KEYS.len();
    while i > 0 {
        i -= 1;
        let key = KEYS[i].0.as_bytes();
        let last = (key[key.len() - 1] & 31) as usize;
        next[i] = first[last];
        first[last] = i as u8;
    }
    (first, next)
};

/// Whether a telling key may end in these letters.
#[inline]
pub(super) fn may_end(a: u8, b: u8, c: u8) -> bool {
    let end = end_of(a, b, c);
    ENDS[end >> 6] & 1 << (end & 63) != 0
}

/// Three letters, in any case, as a number of 15 bits.
const fn end_of(a: u8, b: u8, c: u8) -> usize {
    (a as usize & 31) << 10 | (b as usize & 31) << 5 | c as usize & 31
}

pub(super) fn kind_of(key: &[u8]) -> Option<Kind> {
    let mut letters = [0; TELLING];
    let mut free = TELLING;
    for &byte in key.iter().rev() {
        if free == 0 {
            break;
        }
        if bytes::is(byte, ALNUM) {
            free -= 1;
            letters[free] = byte.to_ascii_lowercase();
        }
    }
    let letters = &letters[free..];
    let mut i = CHAINS.0[(*letters.last()? & 31) as usize];
    while i != NONE && !letters.ends_with(KEYS[i as usize].0.as_bytes()) {
        i = CHAINS.1[i as usize];
    }
    let (end, kind) = KEYS.get(i as usize)?;
    // Short ones are a word of their own, not the end of another: `compass`, `monkey`, `inside`.
    let start = letters.len() - end.len();
    let whole = start == 0 || starts_word(key, end.len());
    let public = || {
        PUBLIC
            .iter()
            .any(|public| letters.ends_with(public.as_bytes()))
    };
    ((end.len() > 5 || whole) && !public()).then_some(*kind)
}

/// Whether a word of the key starts `len` letters before its end.
fn starts_word(key: &[u8], len: usize) -> bool {
    let mut left = len;
    let mut at = key.len();
    while at > 0 && left > 0 {
        at -= 1;
        if bytes::is(key[at], ALNUM) {
            left -= 1;
        }
    }
    let before = bytes::before(key, at);
    !bytes::is(before, ALNUM)
        || key[at].is_ascii_uppercase() && before.is_ascii_lowercase()
        || [
            &b"api"[..],
            b"access",
            b"auth",
            b"client",
            b"secret",
            b"private",
            b"user",
            b"db",
            b"id",
            b"session",
            b"refresh",
            b"account",
            b"shared",
        ]
        .iter()
        .any(|word| at >= word.len() && key[at - word.len()..at].eq_ignore_ascii_case(word))
}

/// Whether a field of that name is secret whatever its value is.
pub(crate) fn secret_field(name: &[u8]) -> Option<Core> {
    match kind_of(name)? {
        Kind::Password => Some(Core::Password),
        Kind::AwsSecret => Some(Core::AwsSecretKey),
        Kind::Authorization => Some(Core::Authorization),
        Kind::Cookie => Some(Core::Cookie),
        Kind::Secret => None,
    }
}

/// Looks at the key before and the value after the `:` or `=` at `mark`.
#[inline]
pub(super) fn look(scan: &mut Scan<'_>, mark: usize) {
    let text = scan.text;
    let mut end = mark;
    while end > 0 && mark - end < 3 && matches!(text[end - 1], b' ' | b'=' | b':') {
        end -= 1;
    }
    let quoted = end > 0 && (is_quote(text[end - 1]) || text[end - 1] == b']');
    if quoted {
        end -= 1;
        if end > 0 && text[end] == b']' && is_quote(text[end - 1]) {
            end -= 1;
        }
    }
    let Some(&[.., a, b, c]) = text
        .get(end.saturating_sub(3)..end)
        .filter(|last| last.len() == 3)
    else {
        return;
    };
    if may_end(a, b, c) {
        telling(scan, mark, end, quoted);
    }
}

#[inline(never)]
fn telling(scan: &mut Scan<'_>, mark: usize, end: usize, quoted: bool) {
    let text = scan.text;
    let mut start = end;
    while start > 0
        && end - start < KEY_LIMIT
        && (bytes::is(text[start - 1], ALNUM | JOINER) || text[start - 1] == b'.')
    {
        start -= 1;
    }
    let Some(kind) = kind_of(&text[start..end]) else {
        return;
    };
    let mut value = mark + 1;
    if matches!(bytes::get(text, value), b'=' | b':') {
        return;
    }
    if bytes::get(text, value) == b'>' {
        value += 1;
    }
    value = skip_blank(text, value);
    let quote = bytes::get(text, value);
    let line = matches!(bytes::before(text, start), 0 | b'\n' | b'\r');
    match kind {
        Kind::Authorization => authorization(scan, value),
        Kind::Cookie => cookie(scan, value, line),
        _ if is_quote(quote) => {
            let (end, open) = quoted_end(scan, value + 1, quote);
            judge(scan, kind, value + 1, end, open, true);
        }
        _ => {
            let form = text[mark] == b'='
                && mark == end
                && value == mark + 1
                && !quoted
                && (line || matches!(bytes::before(text, start), b'&' | b'?' | b';'));
            let end = bare_end(scan, value);
            judge(scan, kind, value, end, Shape::Token, form);
        }
    }
}

fn is_quote(byte: u8) -> bool {
    quote_level(byte).is_some() || matches!(byte, b'\'' | b'`')
}

fn skip_blank(text: &[u8], at: usize) -> usize {
    at + text[at.min(text.len())..]
        .iter()
        .take(8)
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count()
}

/// Where a quoted value ends, and how it goes on if not here.
fn quoted_end(scan: &mut Scan<'_>, start: usize, quote: u8) -> (usize, Shape) {
    if let Some(level) = quote_level(quote) {
        let closes = |byte| quote_level(byte).is_some_and(|found| found <= level);
        return (
            scan.ahead(Ahead::Quote(level), start, closes),
            Shape::Quoted(level),
        );
    }
    let text = scan.text;
    let mut at = start;
    while at < text.len() && text[at] != b'\n' && quote_level(text[at]).is_none() {
        if text[at] == quote {
            // SQL doubles a quote to mean it.
            if bytes::get(text, at + 1) != quote {
                break;
            }
            at += 1;
        }
        at += 1;
    }
    (at.min(text.len()), Shape::Line)
}

/// Where a value without quotes ends.
fn bare_end(scan: &mut Scan<'_>, start: usize) -> usize {
    scan.ahead(Ahead::Bare, start, |byte| {
        bytes::is(byte, SPACE)
            || is_quote(byte)
            || matches!(
                byte,
                b',' | b';' | b'&' | b'<' | b'>' | b'|' | b')' | b'}' | b']' | 0
            )
    })
}

/// Reports the value if it can be a secret; `sure` says that it is one as written, not code.
fn judge(scan: &mut Scan<'_>, kind: Kind, start: usize, end: usize, open: Shape, sure: bool) {
    let text = scan.text;
    let value = &text[start.min(end)..end];
    if is_placeholder(value) || is_word_for_nothing(value) || end <= scan.ends.judged {
        return;
    }
    let core = match kind {
        Kind::Password if is_password(value, sure) => Core::Password,
        Kind::AwsSecret if value.len() >= 40 => Core::AwsSecretKey,
        Kind::Secret | Kind::AwsSecret if is_random(value) => Core::Secret,
        _ => {
            if open == Shape::Token {
                scan.ends.judged = end;
            }
            return;
        }
    };
    scan.report_open(core, start, end, open);
}

fn is_word_for_nothing(value: &[u8]) -> bool {
    const WORDS: &[&[u8]] = &[
        b"null",
        b"none",
        b"nil",
        b"true",
        b"false",
        b"undefined",
        b"string",
        b"str",
        b"password",
        b"redacted",
        b"required",
        b"optional",
        b"bool",
        b"boolean",
        b"number",
        b"object",
    ];
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(value))
}

fn is_password(value: &[u8], sure: bool) -> bool {
    if sure {
        return value.len() >= 3
            && !value.starts_with(b"process.env")
            && !value.starts_with(b"os.");
    }
    value.len() >= 6
        && !value.iter().any(|byte| matches!(byte, b'(' | b'[' | b'{'))
        && (value
            .iter()
            .any(|&byte| !bytes::is(byte, bytes::ALPHA) && !matches!(byte, b'.' | b'_' | b'-'))
            || is_mixed_up(value))
}

/// Whether upper and lower case change more often than they do in the words of a name.
pub(super) fn is_mixed_up(value: &[u8]) -> bool {
    let changes = value
        .windows(2)
        .filter(|pair| pair[0].is_ascii_uppercase() != pair[1].is_ascii_uppercase());
    value.len() >= 8 && changes.count() * 3 >= value.len()
}

/// Whether a value is of one piece, mixed, and not made of words.
fn is_random(value: &[u8]) -> bool {
    let head = &value[..value.len().min(512)];
    head.len() >= 8
        && head
            .iter()
            .all(|&byte| byte.is_ascii_graphic() && !matches!(byte, b'(' | b'{' | b'['))
        && (head.iter().any(u8::is_ascii_digit) || head.len() >= 16 && is_mixed_up(head))
        && head.iter().any(u8::is_ascii_alphabetic)
        && entropy(head) >= if head.len() < 16 { 2.7 } else { 3.0 }
}

/// The credentials of RFC 9110, section 11.6.2: what follows the scheme, or all.
fn authorization(scan: &mut Scan<'_>, value: usize) {
    let text = scan.text;
    let quote = bytes::get(text, value);
    let (start, end, shape) = if is_quote(quote) {
        let (end, shape) = quoted_end(scan, value + 1, quote);
        (value + 1, end, shape)
    } else {
        let end = line_end(scan, value);
        (value, end, Shape::Line)
    };
    let scheme = start
        + text[start.min(end)..end]
            .iter()
            .take(32)
            .take_while(|&&byte| bytes::is(byte, ALNUM | JOINER))
            .count();
    let first = skip_blank(text, scheme);
    if scheme > start && first > scheme && first < end {
        let one_piece = [&b"bearer"[..], b"basic", b"token", b"apikey", b"negotiate"]
            .iter()
            .any(|known| text[start..scheme].eq_ignore_ascii_case(known));
        let piece = if one_piece {
            bare_end(scan, first).min(end)
        } else {
            end
        };
        if one_piece && piece - first >= 4 && !is_placeholder(&text[first..piece]) {
            let shape = if piece == end { shape } else { Shape::Token };
            scan.report_open(Core::Authorization, first, piece, shape);
        } else if !one_piece
            && text[first..end]
                .iter()
                .any(|byte| matches!(byte, b'=' | b'/'))
        {
            scan.report_open(Core::Authorization, first, end, shape);
        }
    } else if scheme <= end && is_random(text[start..end].trim_ascii()) {
        scan.report_open(Core::Authorization, start, end, shape);
    }
}

/// A header's value to the end of its line, or of the string that it stands in.
fn line_end(scan: &mut Scan<'_>, start: usize) -> usize {
    scan.ahead(Ahead::Line, start, |byte| {
        matches!(byte, b'\n' | b'\r' | 0 | b'"' | b'\'')
    })
}

/// Cookies: RFC 6265, section 4.
fn cookie(scan: &mut Scan<'_>, value: usize, line: bool) {
    let text = scan.text;
    let quote = bytes::get(text, value);
    let (start, end, shape) = if is_quote(quote) {
        let (end, shape) = quoted_end(scan, value + 1, quote);
        (value + 1, end, shape)
    } else {
        (value, line_end(scan, value), Shape::Line)
    };
    let name = start
        + text[start.min(end)..end]
            .iter()
            .take(256)
            .take_while(|&&byte| bytes::is(byte, ALNUM | JOINER) || byte == b'.')
            .count();
    let pairs = name > start && name < end && text[name] == b'=' && end - name > 1;
    if pairs && (line || name + 2 < end) {
        scan.report_open(Core::Cookie, start, end, shape);
    }
}
