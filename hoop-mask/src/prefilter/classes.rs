//! The class of every byte, as bits: by AVX2, or one by one.

use crate::detect::KEY_ENDS;

/// The bytes of a word of bits.
pub(super) const WORD: usize = 32;
/// The words of a chunk.
pub(super) const WORDS: usize = 16;
/// The bytes that a word is made of: the end of a key has three letters, the last of them in the word.
pub(super) const SEEN: usize = 2 + WORD;

/// Bits for a chunk, and for the word before it, which comes first; the first byte is the lowest bit.
type Bits = [u32; WORDS + 1];

/// A bit for every byte of a chunk and each class.
pub(super) struct Classes {
    pub(super) digit: Bits,
    pub(super) letter: Bits,
    /// `a` to `f`, in any case.
    pub(super) hex_letter: Bits,
    /// What is between the groups of a number: space, `(` to `/`, bytes beyond ASCII.
    pub(super) gap: Bits,
    /// `_` and `-`.
    pub(super) joiner: Bits,
    pub(super) dash: Bits,
    pub(super) at: Bits,
    pub(super) colon: Bits,
    pub(super) equals: Bits,
    pub(super) slash: Bits,
    /// The last of three bytes that a telling key may end in.
    pub(super) key_end: Bits,
}

impl Classes {
    pub(super) const NONE: Self = Self {
        digit: [0; WORDS + 1],
        letter: [0; WORDS + 1],
        hex_letter: [0; WORDS + 1],
        gap: [0; WORDS + 1],
        joiner: [0; WORDS + 1],
        dash: [0; WORDS + 1],
        at: [0; WORDS + 1],
        colon: [0; WORDS + 1],
        equals: [0; WORDS + 1],
        slash: [0; WORDS + 1],
        key_end: [0; WORDS + 1],
    };

    /// Makes the last word the one before the chunk.
    pub(super) fn go_on(&mut self) {
        for bits in [
            &mut self.digit,
            &mut self.letter,
            &mut self.hex_letter,
            &mut self.gap,
            &mut self.joiner,
            &mut self.dash,
            &mut self.at,
            &mut self.colon,
            &mut self.equals,
            &mut self.slash,
            &mut self.key_end,
        ] {
            bits[0] = bits[WORDS];
        }
    }
}

/// Three letters in a row out of a set, looked up by the halves of each byte: some that are not in the
/// set pass.
pub(crate) struct Triples {
    /// By the lower and by the upper half of the first, second and third byte a bit for every group of
    /// triples.
    low: [[u8; 16]; 3],
    high: [[u8; 16]; 3],
}

impl Triples {
    pub(crate) const NONE: Self = Self {
        low: [[0; 16]; 3],
        high: [[0; 16]; 3],
    };

    /// Adds three letters, whatever their case.
    pub(crate) const fn with(mut self, letters: [u8; 3]) -> Self {
        // What spreads those of keys best.
        let group = 1 << ((letters[0] as usize * 2 + letters[2] as usize) % 8);
        let mut i = 0;
        while i < 3 {
            self.low[i][(letters[i] & 15) as usize] |= group;
            self.high[i][(letters[i] >> 4) as usize] |= group;
            self.high[i][(letters[i] >> 4 ^ 2) as usize] |= group;
            i += 1;
        }
        self
    }

    /// Whether these may be one of the set.
    #[inline]
    pub(crate) fn has(&self, bytes: [u8; 3]) -> bool {
        let groups = |i: usize| {
            self.low[i][usize::from(bytes[i] & 15)] & self.high[i][usize::from(bytes[i] >> 4)]
        };
        groups(0) & groups(1) & groups(2) != 0
    }
}

/// Writes word `i`, whose bytes are those of `bytes` after the first two.
pub(super) fn one_by_one(bytes: &[u8; SEEN], i: usize, into: &mut Classes) {
    let bits = |is: &dyn Fn(usize) -> bool| (0..WORD).map(|at| u32::from(is(at)) << at).sum();
    let bits_of = |is: &dyn Fn(u8) -> bool| bits(&|at| is(bytes[SEEN - WORD + at]));
    into.digit[i] = bits_of(&|byte| byte.is_ascii_digit());
    into.letter[i] = bits_of(&|byte| byte.is_ascii_alphabetic());
    into.hex_letter[i] = bits_of(&|byte| matches!(byte | 0x20, b'a'..=b'f'));
    into.gap[i] = bits_of(&|byte| matches!(byte, b' ' | b'('..=b'/' | 0x80..));
    into.joiner[i] = bits_of(&|byte| matches!(byte, b'_' | b'-'));
    into.dash[i] = bits_of(&|byte| byte == b'-');
    into.at[i] = bits_of(&|byte| byte == b'@');
    into.colon[i] = bits_of(&|byte| byte == b':');
    into.equals[i] = bits_of(&|byte| byte == b'=');
    into.slash[i] = bits_of(&|byte| byte == b'/');
    into.key_end[i] = bits(&|at| KEY_ENDS.has([bytes[at], bytes[at + 1], bytes[at + 2]]));
}

/// The same as [`one_by_one`].
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn by_avx2(bytes: &[u8; SEEN], i: usize, into: &mut Classes) {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm256_add_epi8, _mm256_and_si256, _mm256_broadcastsi128_si256,
        _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_movemask_epi8,
        _mm256_or_si256, _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8,
        _mm256_srli_epi16,
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
    fn bits(mask: __m256i) -> u32 {
        _mm256_movemask_epi8(mask).cast_unsigned()
    }

    /// The groups of triples that have each byte at place `i`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn groups(bytes: __m256i, i: usize) -> __m256i {
        let table = |half: &[u8; 16]| {
            // SAFETY: it has the 16 bytes that are read; no alignment is asked for.
            _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(half.as_ptr().cast()) })
        };
        let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(15));
        // Where the highest bit is set, the lower look-up gives none.
        _mm256_and_si256(
            _mm256_shuffle_epi8(table(&KEY_ENDS.low[i]), bytes),
            _mm256_shuffle_epi8(table(&KEY_ENDS.high[i]), upper),
        )
    }

    let load = |first: usize| {
        let part: &[u8; WORD] = bytes[first..].first_chunk().expect("`first` is 2 at most");
        // SAFETY: it has the 32 bytes that are read; no alignment is asked for.
        unsafe { _mm256_loadu_si256(part.as_ptr().cast()) }
    };
    let (before_last, last, bytes) = (load(0), load(1), load(2));
    let lower = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
    let dash = equal(bytes, b'-');
    // The sign is that of bytes beyond ASCII.
    let gap = _mm256_or_si256(range(bytes, b'(', 8), equal(bytes, b' '));
    let key_end = _mm256_and_si256(
        _mm256_and_si256(groups(before_last, 0), groups(last, 1)),
        groups(bytes, 2),
    );
    into.digit[i] = bits(range(bytes, b'0', 10));
    into.letter[i] = bits(range(lower, b'a', 26));
    into.hex_letter[i] = bits(range(lower, b'a', 6));
    into.gap[i] = bits(_mm256_or_si256(gap, bytes));
    into.joiner[i] = bits(_mm256_or_si256(equal(bytes, b'_'), dash));
    into.dash[i] = bits(dash);
    into.at[i] = bits(equal(bytes, b'@'));
    into.colon[i] = bits(equal(bytes, b':'));
    into.equals[i] = bits(equal(bytes, b'='));
    into.slash[i] = bits(equal(bytes, b'/'));
    into.key_end[i] = !bits(_mm256_cmpeq_epi8(key_end, _mm256_setzero_si256()));
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn avx2_gives_the_classes_of_the_slow_way(
            text in proptest::collection::vec(
                prop_oneof![
                    3 => any::<u8>(),
                    2 => proptest::sample::select(&b" (/09:=@_-.\x7f\x80`{"[..]),
                    4 => proptest::sample::select(&b"PassWordTOKENkeySIDsid"[..]),
                ],
                SEEN,
            ),
        ) {
            let Some(bytes) = text.first_chunk() else {
                return Err(TestCaseError::fail("a text of another length"));
            };
            if !is_x86_feature_detected!("avx2") {
                return Ok(());
            }
            let (mut slow, mut fast) = (Classes::NONE, Classes::NONE);
            one_by_one(bytes, 1, &mut slow);
            // SAFETY: this machine has what it is compiled for.
            unsafe { by_avx2(bytes, 1, &mut fast) };
            prop_assert_eq!(words(&fast), words(&slow));
        }
    }

    /// The first word of each class.
    fn words(of: &Classes) -> [u32; 11] {
        [
            of.digit[1],
            of.letter[1],
            of.hex_letter[1],
            of.gap[1],
            of.joiner[1],
            of.dash[1],
            of.at[1],
            of.colon[1],
            of.equals[1],
            of.slash[1],
            of.key_end[1],
        ]
    }
}
