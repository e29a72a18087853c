//! The one pass over every byte: which of them are worth a look.
//!
//! It takes a chunk at a time: the class of every byte is told by a bit, the bits are combined with those
//! before them by shifts, several words at once, and what is left is looked at. What triggers depends on
//! the bytes around a position and on nothing else, so that every way of cutting a text gives the same
//! triggers.

mod classes;

pub(crate) use classes::Triples;
use classes::{Classes, SEEN, WORD, WORDS};

/// The bytes of one block of escapes.
pub(crate) const BLOCK: usize = 64;
/// A run of so many bytes of a token starts one: no English word and few identifiers are so long.
pub(crate) const TOKEN_RUN: usize = 16;
/// So many dashes open the armor of PEM (RFC 7468).
pub(crate) const DASH_RUN: usize = 5;
/// What is shorter is no number of interest: `1.2.3.4`, or six digits and more.
pub(crate) const NUMBER_RUN: usize = 7;
/// An address of six groups or more is no shorter: `1:2:3:4:5:6:`.
pub(crate) const ADDRESS_RUN: usize = 12;

/// Between the end of a key and the mark after it there are no more bytes than that, less one: a quote,
/// a bracket, and three of space, `:` and `=`.
pub(crate) const KEY_GAP: usize = 6;

/// So many words are taken at once.
const LANES: usize = 4;

/// Why a position is worth a look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trigger {
    /// `@`.
    At,
    /// `:` or `=`, and one of the [`KEY_GAP`] bytes before it may end a telling key.
    Mark,
    /// The last of the first [`NUMBER_RUN`] bytes of a number: a digit that follows neither digit nor
    /// letter, and digits and separators; or the byte after its first six digits.
    Number,
    /// The first digit after a letter.
    Mixed,
    /// The second digit of what may be a year: a separator is before it, and a digit not far before that,
    /// of the day.
    Year,
    /// The second slash of `://`.
    Url,
    /// The second colon of `::`.
    Colons,
    /// The last of the first [`ADDRESS_RUN`] bytes of a run of hexadecimal digits and colons, of both.
    Address,
    /// The last of the first [`TOKEN_RUN`] bytes of a run of letters, digits, `_` and `-`.
    Token,
    /// The last of the first [`DASH_RUN`] dashes of a run.
    Dashes,
}

impl Trigger {
    /// All of them, in the order in which those at one place are looked at.
    const ALL: [Self; 10] = [
        Self::At,
        Self::Mark,
        Self::Number,
        Self::Mixed,
        Self::Year,
        Self::Url,
        Self::Colons,
        Self::Address,
        Self::Token,
        Self::Dashes,
    ];
}

/// The triggers of a chunk: a bit for every byte, the first byte of each word in the lowest.
struct Triggers {
    any: [u32; WORDS],
    /// By [`Trigger`].
    of: [[u32; WORDS]; Trigger::ALL.len()],
}

/// Calls `look` for every trigger from `from` up to `to`, in order of position.
#[inline]
pub(crate) fn scan(text: &[u8], from: usize, to: usize, look: impl FnMut(usize, Trigger)) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
    {
        // SAFETY: this machine has what it is compiled for.
        unsafe { scan_by_avx2(text, from, to, look) };
        return;
    }
    scan_by(classes::one_by_one, Triggers::find, text, from, to, look);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn scan_by_avx2(text: &[u8], from: usize, to: usize, look: impl FnMut(usize, Trigger)) {
    /// Compiled for vectors of four words.
    #[target_feature(enable = "avx2")]
    fn find(triggers: &mut Triggers, classes: &Classes, words: usize) {
        triggers.find(classes, words);
    }
    scan_by(
        |bytes, i, into| classes::by_avx2(bytes, i, into),
        |triggers, classes, words| find(triggers, classes, words),
        text,
        from,
        to,
        look,
    );
}

// Inlined, it is compiled for the instructions of its caller.
#[inline(always)]
fn scan_by(
    classify: impl Fn(&[u8; SEEN], usize, &mut Classes),
    find: impl Fn(&mut Triggers, &Classes, usize),
    text: &[u8],
    from: usize,
    to: usize,
    mut look: impl FnMut(usize, Trigger),
) {
    let (mut classes, mut triggers) = (Classes::NONE, Triggers::NONE);
    classify(&seen(text, from), 0, &mut classes);
    let mut start = from;
    while start < to {
        let words = (to - start).div_ceil(WORD).min(WORDS);
        for i in 0..words {
            let end = start + (i + 1) * WORD;
            let whole = end.checked_sub(SEEN).and_then(|first| text.get(first..end));
            match whole.and_then(<[u8]>::first_chunk) {
                Some(bytes) => classify(bytes, i + 1, &mut classes),
                None => classify(&seen(text, end), i + 1, &mut classes),
            }
        }
        find(&mut triggers, &classes, words);
        for i in 0..words {
            let first = start + i * WORD;
            let mut left = triggers.any[i] & low_bits(to - first);
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                triggers.at_bit(i, bit, |trigger| look(first + bit as usize, trigger));
            }
        }
        classes.go_on();
        start += WORDS * WORD;
    }
}

/// What a word is made of that ends at `end`; zeros before the text and after it.
fn seen(text: &[u8], end: usize) -> [u8; SEEN] {
    let mut bytes = [0; SEEN];
    let start = end.saturating_sub(SEEN);
    let part = &text[start..text.len().min(end)];
    bytes[SEEN - (end - start)..][..part.len()].copy_from_slice(part);
    bytes
}

#[inline]
fn low_bits(count: usize) -> u32 {
    if count >= WORD {
        u32::MAX
    } else {
        (1 << count) - 1
    }
}

impl Triggers {
    const NONE: Self = Self {
        any: [0; WORDS],
        of: [[0; WORDS]; Trigger::ALL.len()],
    };

    /// Finds the triggers of the first `words` words of a chunk. Without a branch, so that it is compiled
    /// to vectors.
    #[inline(always)]
    fn find(&mut self, classes: &Classes, words: usize) {
        for i in 0..words.next_multiple_of(LANES).min(WORDS) {
            // The word in the upper half, the one before in the lower.
            let wide = |of: &[u32; WORDS + 1]| u64::from(of[i + 1]) << WORD | u64::from(of[i]);
            let upper = |bits: u64| (bits >> WORD) as u32;
            let (digit, letter, gap) = (
                wide(&classes.digit),
                wide(&classes.letter),
                wide(&classes.gap),
            );

            let first = digit & !(digit << 1);
            let mixed = upper(first & letter << 1);

            let alone = first & !(letter << 1);
            let two = digit & digit << 1;
            let six = two & two << 2 & two << 4;
            let in_number = digit | gap;
            let two = in_number & in_number << 1;
            let four = two & two << 2;
            let seven = four & four << 3;
            let number = upper(alone << 6 & seven | (alone << 5 & six) << 1);

            let two = digit | digit << 1;
            let four = two | two << 2;
            let eight = four | four << 4;
            let near = eight | eight << 8 | eight << 16;
            let year = upper(digit & (first & gap << 1 & !(digit << 2) & near << 2) << 1);

            let in_token = digit | letter | wide(&classes.joiner);
            let two = in_token & in_token << 1;
            let four = two & two << 2;
            let eight = four & four << 4;
            let sixteen = eight & eight << 8;
            let token = upper(sixteen & !(sixteen << 1));

            let (colon, slash) = (wide(&classes.colon), wide(&classes.slash));
            let url = upper(slash & slash << 1 & colon << 2);
            let colons = upper(colon & colon << 1);
            let hex = digit | wide(&classes.hex_letter) | colon;
            let two = hex & hex << 1;
            let four = two & two << 2;
            let twelve = four & four << 4 & four << 8;
            let two = colon | colon << 1;
            let four = two | two << 2;
            let near = four | four << 4 | four << 8;
            let address = upper(twelve & !(twelve << 1) & near);

            let dash = wide(&classes.dash);
            let two = dash & dash << 1;
            let five = two & two << 2 & dash << 4;
            let dashes = upper(five & !(five << 1));

            let key = wide(&classes.key_end) << 1;
            let two = key | key << 1;
            let near = two | two << 2 | two << (KEY_GAP - 2);
            let mark = (classes.colon[i + 1] | classes.equals[i + 1]) & upper(near);

            let at = classes.at[i + 1];
            // In the order of `Trigger`.
            let of = [
                at, mark, number, mixed, year, url, colons, address, token, dashes,
            ];
            self.any[i] = of.iter().fold(0, |any, bits| any | bits);
            for (all, bits) in self.of.iter_mut().zip(of) {
                all[i] = bits;
            }
        }
    }

    /// Gives `take` the triggers at bit `bit` of word `i`.
    #[inline(always)]
    fn at_bit(&self, i: usize, bit: u32, mut take: impl FnMut(Trigger)) {
        // Of each a bit, rather than a branch: which of them it is cannot be predicted.
        let mut found = 0;
        for (kind, bits) in self.of.iter().enumerate() {
            found |= (bits[i] >> bit & 1) << kind;
        }
        while found != 0 {
            take(Trigger::ALL[found.trailing_zeros() as usize]);
            found &= found - 1;
        }
    }
}

/// A bit for every `\\` and `%`, which start an escape.
#[inline]
pub(crate) fn escapes(block: &[u8; BLOCK]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: this machine has what it is compiled for.
        return unsafe { escapes_by_avx2(block) };
    }
    escapes_one_by_one(block)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn escapes_by_avx2(block: &[u8; BLOCK]) -> u64 {
    use std::arch::x86_64::{
        _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256,
        _mm256_set1_epi8,
    };

    let mut mask = 0;
    for half in 0..2 {
        // SAFETY: 32 bytes from here on are in the block; no alignment is asked for.
        let bytes = unsafe { _mm256_loadu_si256(block.as_ptr().add(half * 32).cast()) };
        let found = _mm256_or_si256(
            _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\\'.cast_signed())),
            _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'%'.cast_signed())),
        );
        mask |= u64::from(_mm256_movemask_epi8(found).cast_unsigned()) << (half * 32);
    }
    mask
}

fn escapes_one_by_one(block: &[u8; BLOCK]) -> u64 {
    let bit = |(at, &byte)| u64::from(matches!(byte, b'\\' | b'%')) << at;
    block.iter().enumerate().map(bit).sum()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::bytes;
    use crate::detect::KEY_ENDS;
    use proptest::prelude::*;

    /// The same triggers, one byte after another.
    fn slow(text: &[u8], from: usize, to: usize) -> Vec<(usize, Trigger)> {
        let run = |at: usize, is: &dyn Fn(u8) -> bool| {
            text[..=at]
                .iter()
                .rev()
                .take_while(|&&byte| is(byte))
                .count()
        };
        let digit = |at: usize| text[at].is_ascii_digit();
        let gap = |byte: u8| matches!(byte, b' ' | b'('..=b'/' | 0x80..);
        let first = |at: usize| {
            digit(at) && (at == 0 || !digit(at - 1) && !text[at - 1].is_ascii_alphabetic())
        };
        let mut all = Vec::new();
        for (at, &byte) in text.iter().enumerate().take(to).skip(from) {
            let mut add = |is: bool, trigger| {
                if is {
                    all.push((at, trigger));
                }
            };
            let key = (at.saturating_sub(KEY_GAP)..at)
                .any(|end| end >= 2 && KEY_ENDS.has([text[end - 2], text[end - 1], text[end]]));
            add(matches!(byte, b':' | b'=') && key, Trigger::Mark);
            add(byte == b'@', Trigger::At);
            let number = at >= 6 && first(at - 6) && {
                let part = &text[at - 6..=at];
                let (six, last) = (&part[..6], part[6]);
                six.iter().all(u8::is_ascii_digit)
                    || (last.is_ascii_digit() || gap(last))
                        && six.iter().all(|&byte| byte.is_ascii_digit() || gap(byte))
            };
            add(number, Trigger::Number);
            let mixed = at > 0 && digit(at) && text[at - 1].is_ascii_alphabetic();
            add(mixed, Trigger::Mixed);
            let year = at >= 2
                && digit(at)
                && first(at - 1)
                && gap(text[at - 2])
                && (at < 3 || !digit(at - 3))
                && (at.saturating_sub(26)..at - 2).any(digit);
            add(year, Trigger::Year);
            add(text[..=at].ends_with(b"://"), Trigger::Url);
            add(text[..=at].ends_with(b"::"), Trigger::Colons);
            let hex = run(at, &|byte| byte.is_ascii_hexdigit() || byte == b':');
            let near = text[at.saturating_sub(ADDRESS_RUN - 1)..=at].contains(&b':');
            add(hex == ADDRESS_RUN && near, Trigger::Address);
            let token = run(at, &|byte| bytes::is(byte, bytes::TOKEN));
            add(token == TOKEN_RUN, Trigger::Token);
            add(run(at, &|byte| byte == b'-') == DASH_RUN, Trigger::Dashes);
        }
        all
    }

    proptest! {
        #[test]
        fn triggers_are_those_of_the_slow_way(
            text in proptest::collection::vec(
                prop_oneof![
                    6 => Just(b'a'), 6 => Just(b'-'), 1 => Just(b'_'), 5 => Just(b'7'),
                    4 => Just(b':'), 2 => Just(b'/'), 1 => Just(b'@'), 1 => Just(b' '),
                    1 => Just(b'z'), 1 => any::<u8>(), 4 => Just(b'k'), 4 => Just(b'e'), 4 => Just(b'y'),
                ],
                0..1200,
            ),
            cut in (0.0..1.0, 0.0..1.0),
        ) {
            let place = |share: f64| (share * text.len() as f64) as usize;
            let (a, b) = (place(cut.0), place(cut.1));
            let (from, to) = (a.min(b), a.max(b));
            let slow = slow(&text, from, to);
            let mut fast = Vec::new();
            scan(&text, from, to, |at, trigger| fast.push((at, trigger)));
            prop_assert_eq!(&fast, &slow);
            fast.clear();
            scan_by(classes::one_by_one, Triggers::find, &text, from, to, |at, trigger| fast.push((at, trigger)));
            prop_assert_eq!(fast, slow);
        }

        #[test]
        fn escapes_are_those_of_the_slow_way(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'\\'), Just(b'%'), Just(b'['), any::<u8>()],
                BLOCK,
            ),
        ) {
            let block = bytes.first_chunk().unwrap();
            prop_assert_eq!(escapes(block), escapes_one_by_one(block));
        }
    }
}
