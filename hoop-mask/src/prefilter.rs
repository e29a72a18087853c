//! The one pass over every byte: which of them are worth a look.
//!
//! It classifies 64 bytes at a time and combines the classes of neighbours with shifts. What triggers
//! depends on the bytes around a position and on nothing else, so that every way of cutting a text gives
//! the same triggers.

/// The bytes of one block.
pub(crate) const BLOCK: usize = 64;
/// A run of so many bytes of a token starts one: no English word and few identifiers are so long.
pub(crate) const TOKEN_RUN: usize = 16;
/// So many dashes open the armor of PEM (RFC 7468).
pub(crate) const DASH_RUN: usize = 5;
/// What is shorter is no number of interest: `1.2.3.4`, or six digits and more.
pub(crate) const NUMBER_RUN: usize = 7;
/// An address of six groups or more is no shorter: `1:2:3:4:5:6:`.
pub(crate) const ADDRESS_RUN: usize = 12;

/// Why a position is worth a look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trigger {
    /// `@`.
    At,
    /// `:` or `=`.
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

/// A bit for every byte of a block, the first byte in the lowest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Masks {
    digit: u64,
    letter: u64,
    /// `a` to `f`, in any case.
    hex_letter: u64,
    /// What is between the groups of a number: space, `(` to `/`, bytes beyond ASCII.
    gap: u64,
    /// `_` and `-`.
    joiner: u64,
    dash: u64,
    at: u64,
    colon: u64,
    equals: u64,
    slash: u64,
}

/// The triggers of a block.
struct Triggers {
    at: u64,
    mark: u64,
    number: u64,
    mixed: u64,
    year: u64,
    url: u64,
    colons: u64,
    address: u64,
    token: u64,
    dashes: u64,
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
    scan_by(masks, text, from, to, look);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn scan_by_avx2(text: &[u8], from: usize, to: usize, look: impl FnMut(usize, Trigger)) {
    scan_by(|block| by_avx2(block), text, from, to, look);
}

// Inlined, it is compiled for the instructions of its caller.
#[inline(always)]
fn scan_by(
    masks: impl Fn(&[u8; BLOCK]) -> Masks,
    text: &[u8],
    from: usize,
    to: usize,
    mut look: impl FnMut(usize, Trigger),
) {
    let head = &text[from.saturating_sub(BLOCK)..from];
    let mut block = [0; BLOCK];
    block[BLOCK - head.len()..].copy_from_slice(head);
    let mut previous = masks(&block);
    let mut start = from;
    while start < to {
        let (current, valid) = match text.get(start..start + BLOCK).and_then(<[u8]>::first_chunk) {
            Some(block) if to - start >= BLOCK => (masks(block), u64::MAX),
            _ => {
                let tail = &text[start..text.len().min(start + BLOCK)];
                let mut block = [0; BLOCK];
                block[..tail.len()].copy_from_slice(tail);
                (masks(&block), low_bits(to - start))
            }
        };
        let triggers = Triggers::of(&previous, &current);
        let mut left = triggers.any() & valid;
        while left != 0 {
            let at = start + left.trailing_zeros() as usize;
            let bit = left & left.wrapping_neg();
            left ^= bit;
            triggers.at_bit(bit, |trigger| look(at, trigger));
        }
        previous = current;
        start += BLOCK;
    }
}

#[inline]
fn low_bits(count: usize) -> u64 {
    if count >= BLOCK {
        u64::MAX
    } else {
        (1 << count) - 1
    }
}

impl Triggers {
    /// The triggers of the block of `current`; `previous` is the block before it.
    // Apart from the loop that uses them: that has registers of its own.
    #[inline(never)]
    fn of(previous: &Masks, current: &Masks) -> Self {
        // The block in the upper half, the one before in the lower.
        let wide = |of: fn(&Masks) -> u64| u128::from(of(current)) << 64 | u128::from(of(previous));
        let upper = |mask: u128| (mask >> 64) as u64;
        let (digit, letter) = (wide(|masks| masks.digit), wide(|masks| masks.letter));
        let gap = wide(|masks| masks.gap);

        let first = digit & !(digit << 1);
        let mixed = first & letter << 1;
        let (mut number, mut year) = (0, 0);
        if current.digit | previous.digit >> 32 != 0 {
            let first = first & !(letter << 1);
            let two = digit & digit << 1;
            let six = two & two << 2 & two << 4;
            let in_number = digit | gap;
            let two = in_number & in_number << 1;
            let four = two & two << 2;
            let seven = four & four << 3;
            number = upper(first << 6 & seven | (first << 5 & six) << 1);
            let two = digit | digit << 1;
            let four = two | two << 2;
            let eight = four | four << 4;
            let near = eight | eight << 8 | eight << 16;
            year = upper(digit & (first & gap << 1 & !(digit << 2) & near << 2) << 1);
        }

        let token = digit | letter | wide(|masks| masks.joiner);
        let two = token & token << 1;
        let four = two & two << 2;
        let eight = four & four << 4;
        let sixteen = eight & eight << 8;
        let token = upper(sixteen & !(sixteen << 1));

        let (mut url, mut colons, mut address) = (0, 0, 0);
        if current.colon | previous.colon >> 32 != 0 {
            let (colon, slash) = (wide(|masks| masks.colon), wide(|masks| masks.slash));
            url = upper(slash & slash << 1 & colon << 2);
            colons = upper(colon & colon << 1);
            let hex = digit | wide(|masks| masks.hex_letter) | colon;
            let two = hex & hex << 1;
            let four = two & two << 2;
            let twelve = four & four << 4 & four << 8;
            let two = colon | colon << 1;
            let four = two | two << 2;
            let near = four | four << 4 | four << 8;
            address = upper(twelve & !(twelve << 1) & near);
        }
        let mut dashes = 0;
        if current.dash != 0 {
            let dash = wide(|masks| masks.dash);
            let two = dash & dash << 1;
            let five = two & two << 2 & dash << 4;
            dashes = upper(five & !(five << 1));
        }
        Self {
            at: current.at,
            mark: current.colon | current.equals,
            number,
            mixed: upper(mixed),
            year,
            url,
            colons,
            address,
            token,
            dashes,
        }
    }

    #[inline(always)]
    fn any(&self) -> u64 {
        self.at
            | self.mark
            | self.number
            | self.mixed
            | self.year
            | self.url
            | self.colons
            | self.address
            | self.token
            | self.dashes
    }

    /// Gives `take` the triggers at one bit.
    #[inline(always)]
    fn at_bit(&self, bit: u64, mut take: impl FnMut(Trigger)) {
        if self.mark & bit != 0 {
            take(Trigger::Mark);
        }
        let rare = self.number
            | self.mixed
            | self.year
            | self.url
            | self.colons
            | self.address
            | self.token
            | self.dashes
            | self.at;
        if rare & bit == 0 {
            return;
        }
        for (mask, trigger) in [
            (self.at, Trigger::At),
            (self.number, Trigger::Number),
            (self.mixed, Trigger::Mixed),
            (self.year, Trigger::Year),
            (self.url, Trigger::Url),
            (self.colons, Trigger::Colons),
            (self.address, Trigger::Address),
            (self.token, Trigger::Token),
            (self.dashes, Trigger::Dashes),
        ] {
            if mask & bit != 0 {
                take(trigger);
            }
        }
    }
}

// Inlined, its masks would be kept as vectors of bits between the blocks, one by one.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn by_avx2(block: &[u8; BLOCK]) -> Masks {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi8, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256,
        _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    };

    /// Whether a byte is one of the `count` from `first` on: moved to the lowest of the signed.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn range(bytes: __m256i, first: u8, count: u8) -> __m256i {
        let lowest = 0x80_u8.wrapping_sub(first).cast_signed();
        let beyond = 0x80_u8.wrapping_add(count).cast_signed();
        _mm256_cmpgt_epi8(
            _mm256_set1_epi8(beyond),
            _mm256_add_epi8(bytes, _mm256_set1_epi8(lowest)),
        )
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn equal(bytes: __m256i, byte: u8) -> __m256i {
        _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte.cast_signed()))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn bits(mask: __m256i, half: usize) -> u64 {
        u64::from(_mm256_movemask_epi8(mask).cast_unsigned()) << (half * 32)
    }

    let mut masks = Masks::default();
    for half in 0..2 {
        // SAFETY: 32 bytes from here on are in the block; no alignment is asked for.
        let bytes = unsafe { _mm256_loadu_si256(block.as_ptr().add(half * 32).cast()) };
        let lower = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
        let dash = equal(bytes, b'-');
        // The sign is that of bytes beyond ASCII.
        let gap = _mm256_or_si256(range(bytes, b'(', 8), equal(bytes, b' '));
        masks.digit |= bits(range(bytes, b'0', 10), half);
        masks.letter |= bits(range(lower, b'a', 26), half);
        masks.hex_letter |= bits(range(lower, b'a', 6), half);
        masks.gap |= bits(_mm256_or_si256(gap, bytes), half);
        masks.joiner |= bits(_mm256_or_si256(equal(bytes, b'_'), dash), half);
        masks.dash |= bits(dash, half);
        masks.at |= bits(equal(bytes, b'@'), half);
        masks.colon |= bits(equal(bytes, b':'), half);
        masks.equals |= bits(equal(bytes, b'='), half);
        masks.slash |= bits(equal(bytes, b'/'), half);
    }
    masks
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

/// The same without the instructions of any machine.
fn masks(block: &[u8; BLOCK]) -> Masks {
    let mut masks = Masks::default();
    for (at, &byte) in block.iter().enumerate() {
        let bit = |is: bool| u64::from(is) << at;
        masks.digit |= bit(byte.is_ascii_digit());
        masks.letter |= bit(byte.is_ascii_alphabetic());
        masks.hex_letter |= bit(matches!(byte | 0x20, b'a'..=b'f'));
        masks.gap |= bit(matches!(byte, b' ' | b'('..=b'/' | 0x80..));
        masks.joiner |= bit(matches!(byte, b'_' | b'-'));
        masks.dash |= bit(byte == b'-');
        masks.at |= bit(byte == b'@');
        masks.colon |= bit(byte == b':');
        masks.equals |= bit(byte == b'=');
        masks.slash |= bit(byte == b'/');
    }
    masks
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::bytes;
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
            add(matches!(byte, b':' | b'='), Trigger::Mark);
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
                    1 => Just(b'z'), 1 => any::<u8>(),
                ],
                0..400,
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
            scan_by(masks, &text, from, to, |at, trigger| fast.push((at, trigger)));
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
