//! Reading a number out of the ways people write it.

/// The longest run of separators between two characters of one number, as in `1234 - 5678`.
const MAX_SEPARATORS: usize = 3;

/// Up to `N` ASCII letters and digits of a text, letters in upper case, separators left out.
pub(super) struct Compact<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Compact<N> {
    /// None when `text` has more than `N` characters, a separator at an end, a long run of
    /// separators, or any other byte.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut compact = Self {
            bytes: [0; N],
            len: 0,
        };
        let mut rest = text;
        let mut separators = 0;
        while let Some(&byte) = rest.first() {
            if byte.is_ascii_alphanumeric() {
                *compact.bytes.get_mut(compact.len)? = byte.to_ascii_uppercase();
                compact.len += 1;
                separators = 0;
                rest = &rest[1..];
            } else {
                separators += 1;
                if compact.len == 0 || separators > MAX_SEPARATORS {
                    return None;
                }
                rest = &rest[separator_len(rest)?..];
            }
        }
        (separators == 0 && compact.len > 0).then_some(compact)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The values of the digits; none when there is a letter.
    pub(super) fn into_digits(mut self) -> Option<Digits<N>> {
        for byte in &mut self.bytes[..self.len] {
            *byte = digit(*byte)?;
        }
        Some(Digits {
            values: self.bytes,
            len: self.len,
        })
    }
}

/// Up to `N` decimal digits as values 0 to 9.
pub(super) struct Digits<const N: usize> {
    values: [u8; N],
    len: usize,
}

impl<const N: usize> Digits<N> {
    /// See [`Compact::read`].
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        Compact::read(text)?.into_digits()
    }

    pub(super) fn values(&self) -> &[u8] {
        &self.values[..self.len]
    }
}

/// Exactly `N` letters and digits.
pub(super) fn compact<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let read = Compact::<N>::read(text)?;
    (read.len == N).then_some(read.bytes)
}

/// Exactly `N` digits, as values 0 to 9.
pub(super) fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let read = Digits::<N>::read(text)?;
    (read.len == N).then_some(read.values)
}

/// The value of an ASCII digit.
pub(super) fn digit(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then(|| byte - b'0')
}

/// The values of ASCII digits.
pub(super) fn digits_of<const N: usize>(bytes: &[u8; N]) -> Option<[u8; N]> {
    let mut values = [0; N];
    for (value, &byte) in values.iter_mut().zip(bytes) {
        *value = digit(byte)?;
    }
    Some(values)
}

/// The number that at most nine digit values spell.
pub(super) fn number(digits: &[u8]) -> u32 {
    digits
        .iter()
        .fold(0, |sum, &digit| sum * 10 + u32::from(digit))
}

/// Whether all digits are the same: such numbers pass many formulas and are never issued.
pub(super) fn all_equal(digits: &[u8]) -> bool {
    digits.windows(2).all(|pair| pair[0] == pair[1])
}

/// Length of the separator that `text` starts with: a space, or the `+` that stands for one in a
/// form, a hyphen, a dot, a slash, or the
/// no-break and thin spaces and the hyphens and dashes of typeset text, in UTF-8.
fn separator_len(text: &[u8]) -> Option<usize> {
    match text {
        [b' ' | b'-' | b'.' | b'/' | b'+', ..] => Some(1),
        // U+00A0 no-break space.
        [0xc2, 0xa0, ..] => Some(2),
        // U+2002 to U+200A spaces, U+2010 to U+2014 hyphens and dashes, U+202F narrow no-break
        // space, U+2212 minus sign.
        [0xe2, 0x80, 0x82..=0x8a | 0x90..=0x94 | 0xaf, ..] | [0xe2, 0x88, 0x92, ..] => Some(3),
        _ => None,
    }
}
