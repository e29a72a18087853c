//! The one pass over every byte: which of them are worth a look.
//!
//! It classifies 64 bytes at a time. What triggers depends on the bytes around a position and on
//! nothing else, so that every way of cutting a text gives the same triggers.

/// The bytes of one block.
const BLOCK: usize = 64;
/// A run of so many bytes of a token starts one: no English word and few identifiers are so long.
pub(crate) const TOKEN_RUN: usize = 16;
/// So many dashes open the armor of PEM (RFC 7468).
pub(crate) const DASH_RUN: usize = 5;

/// Why a position is worth a look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trigger {
    /// `@`.
    At,
    /// `:` or `=`.
    Mark,
    /// The first digit of a run.
    Digit,
    /// The last of the first [`TOKEN_RUN`] bytes of a run of letters, digits, `_` and `-`.
    Token,
    /// The last of the first [`DASH_RUN`] dashes of a run.
    Dashes,
}

/// A bit for every byte of a block, the first byte in the lowest.
#[derive(Clone, Copy, Default)]
struct Masks {
    digit: u64,
    token: u64,
    at: u64,
    mark: u64,
    dash: u64,
}

/// Calls `look` for every trigger from `from` up to `to`, in order of position.
#[inline]
pub(crate) fn scan(text: &[u8], from: usize, to: usize, mut look: impl FnMut(usize, Trigger)) {
    let mut previous = masks_before(text, from);
    let mut start = from;
    while start < to {
        let (masks, valid) = match text.get(start..start + BLOCK).and_then(<[u8]>::first_chunk) {
            Some(block) if to - start >= BLOCK => (masks(block), u64::MAX),
            _ => (
                partial(&text[start..text.len().min(start + BLOCK)]),
                low_bits(to - start),
            ),
        };
        let digits = masks.digit & !shift_in(masks.digit, previous.digit, 1);
        let tokens = run_of_16(masks.token, previous.token);
        let dashes = if masks.dash == 0 {
            0
        } else {
            run_of_5(masks.dash, previous.dash)
        };
        let mut triggers = (digits | tokens | dashes | masks.at | masks.mark) & valid;
        while triggers != 0 {
            let bit = triggers & triggers.wrapping_neg();
            let at = start + triggers.trailing_zeros() as usize;
            triggers ^= bit;
            if digits & bit != 0 {
                look(at, Trigger::Digit);
            } else if masks.mark & bit != 0 {
                look(at, Trigger::Mark);
            } else if masks.at & bit != 0 {
                look(at, Trigger::At);
            }
            if tokens & bit != 0 {
                look(at, Trigger::Token);
            }
            if dashes & bit != 0 {
                look(at, Trigger::Dashes);
            }
        }
        previous = masks;
        start += BLOCK;
    }
}

/// The masks of the block that ends before `at`.
fn masks_before(text: &[u8], at: usize) -> Masks {
    let head = &text[at.saturating_sub(BLOCK)..at];
    let mut block = [0; BLOCK];
    block[BLOCK - head.len()..].copy_from_slice(head);
    masks(&block)
}

/// The masks of fewer bytes than a block.
fn partial(tail: &[u8]) -> Masks {
    let mut block = [0; BLOCK];
    block[..tail.len()].copy_from_slice(tail);
    masks(&block)
}

#[inline]
fn low_bits(count: usize) -> u64 {
    if count >= BLOCK {
        u64::MAX
    } else {
        (1 << count) - 1
    }
}

/// `mask` moved up by `by`, with the last bits of the block before it.
#[inline]
fn shift_in(mask: u64, previous: u64, by: u32) -> u64 {
    mask << by | previous >> (64 - by)
}

/// Where a run becomes 16 long.
#[inline]
fn run_of_16(mask: u64, previous: u64) -> u64 {
    let (mask, previous) = (run_of_2(mask, previous), previous & previous << 1);
    let (mask, previous) = (mask & shift_in(mask, previous, 2), previous & previous << 2);
    let (mask, previous) = (mask & shift_in(mask, previous, 4), previous & previous << 4);
    let (mask, previous) = (mask & shift_in(mask, previous, 8), previous & previous << 8);
    mask & !shift_in(mask, previous, 1)
}

/// Where a run becomes 5 long.
#[inline]
fn run_of_5(mask: u64, previous: u64) -> u64 {
    let (two, two_before) = (run_of_2(mask, previous), previous & previous << 1);
    let (four, four_before) = (
        two & shift_in(two, two_before, 2),
        two_before & two_before << 2,
    );
    let (five, five_before) = (
        four & shift_in(mask, previous, 4),
        four_before & previous << 4,
    );
    five & !shift_in(five, five_before, 1)
}

#[inline]
fn run_of_2(mask: u64, previous: u64) -> u64 {
    mask & shift_in(mask, previous, 1)
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn masks(block: &[u8; BLOCK]) -> Masks {
    // SAFETY: every x86-64 has SSE2.
    unsafe { by_sse2(block) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn by_sse2(block: &[u8; BLOCK]) -> Masks {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi8, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set_epi64x, _mm_set1_epi8,
    };

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(block: &[u8; BLOCK], at: usize) -> __m128i {
        let half = |at: usize| {
            let bytes = block[at..].first_chunk().copied().unwrap_or_default();
            i64::from_le_bytes(bytes)
        };
        _mm_set_epi64x(half(at + 8), half(at))
    }

    /// Whether a byte is one of the `count` from `first` on: moved to the lowest of the signed.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn range(bytes: __m128i, first: u8, count: u8) -> __m128i {
        let lowest = _mm_add_epi8(
            bytes,
            _mm_set1_epi8(0x80_u8.wrapping_sub(first).cast_signed()),
        );
        _mm_cmplt_epi8(
            lowest,
            _mm_set1_epi8(0x80_u8.wrapping_add(count).cast_signed()),
        )
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn equal(bytes: __m128i, byte: u8) -> __m128i {
        _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed()))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn bits(mask: __m128i, at: usize) -> u64 {
        u64::from(_mm_movemask_epi8(mask).cast_unsigned()) << at
    }

    let mut masks = Masks::default();
    for at in [0, 16, 32, 48] {
        let bytes = load(block, at);
        let lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
        let digit = range(bytes, b'0', 10);
        let dash = equal(bytes, b'-');
        let joiner = _mm_or_si128(equal(bytes, b'_'), dash);
        let word = _mm_or_si128(range(lower, b'a', 26), digit);
        let mark = _mm_or_si128(equal(bytes, b':'), equal(bytes, b'='));
        masks.digit |= bits(digit, at);
        masks.token |= bits(_mm_or_si128(word, joiner), at);
        masks.at |= bits(equal(bytes, b'@'), at);
        masks.mark |= bits(mark, at);
        masks.dash |= bits(dash, at);
    }
    masks
}

#[cfg(not(target_arch = "x86_64"))]
fn masks(block: &[u8; BLOCK]) -> Masks {
    by_table(block)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn by_table(block: &[u8; BLOCK]) -> Masks {
    use crate::bytes;

    let collect = |is: fn(u8) -> bool| {
        block
            .iter()
            .rev()
            .fold(0, |mask, &byte| mask << 1 | u64::from(is(byte)))
    };
    Masks {
        digit: collect(|byte| byte.is_ascii_digit()),
        token: collect(|byte| bytes::is(byte, bytes::TOKEN)),
        at: collect(|byte| byte == b'@'),
        mark: collect(|byte| matches!(byte, b':' | b'=')),
        dash: collect(|byte| byte == b'-'),
    }
}

#[cfg(test)]
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
        let mut all = Vec::new();
        for (at, &byte) in text.iter().enumerate().take(to).skip(from) {
            if run(at, &|byte| byte.is_ascii_digit()) == 1 {
                all.push((at, Trigger::Digit));
            }
            if matches!(byte, b':' | b'=') {
                all.push((at, Trigger::Mark));
            }
            if byte == b'@' {
                all.push((at, Trigger::At));
            }
            if run(at, &|byte| bytes::is(byte, bytes::TOKEN)) == TOKEN_RUN {
                all.push((at, Trigger::Token));
            }
            if run(at, &|byte| byte == b'-') == DASH_RUN {
                all.push((at, Trigger::Dashes));
            }
        }
        all
    }

    proptest! {
        #[test]
        fn triggers_are_those_of_the_slow_way(
            text in proptest::collection::vec(
                prop_oneof![
                    6 => Just(b'a'), 6 => Just(b'-'), 1 => Just(b'_'), 2 => Just(b'7'),
                    1 => Just(b':'), 1 => Just(b'@'), 1 => Just(b' '), 1 => any::<u8>(),
                ],
                0..400,
            ),
            cut in (0.0..1.0, 0.0..1.0),
        ) {
            let place = |share: f64| (share * text.len() as f64) as usize;
            let (a, b) = (place(cut.0), place(cut.1));
            let (from, to) = (a.min(b), a.max(b));
            let mut fast = Vec::new();
            scan(&text, from, to, |at, trigger| fast.push((at, trigger)));
            prop_assert_eq!(fast, slow(&text, from, to));
        }

        #[test]
        fn every_way_to_classify_agrees(block in any::<[[u8; 32]; 2]>()) {
            let block: [u8; BLOCK] = std::array::from_fn(|i| block[i / 32][i % 32]);
            let (fast, slow) = (masks(&block), by_table(&block));
            prop_assert_eq!(fast.digit, slow.digit);
            prop_assert_eq!(fast.token, slow.token);
            prop_assert_eq!(fast.at, slow.at);
            prop_assert_eq!(fast.mark, slow.mark);
            prop_assert_eq!(fast.dash, slow.dash);
        }
    }
}
