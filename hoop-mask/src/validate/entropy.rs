//! How random a value looks.

/// Shannon entropy of the bytes, in bits per byte: 0 for one repeated byte or none, at most 8. A
/// value of n bytes reaches at most log2(n).
pub fn shannon(bytes: &[u8]) -> f64 {
    let mut counts = [0_usize; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let length = bytes.len() as f64;
    let bits = |&count: &usize| {
        let share = count as f64 / length;
        -share * share.log2()
    };
    counts.iter().filter(|&&count| count > 0).map(bits).sum()
}

/// Whether `text` looks like a generated secret: 16 to 512 bytes of printable ASCII without spaces,
/// and no fewer bits per byte than random hexadecimal of that length has.
pub fn is_high_entropy(text: &[u8]) -> bool {
    // 32 random hexadecimal digits have 3.6 bits on average and hardly ever under 3.
    (16..=512).contains(&text.len())
        && text.iter().all(u8::is_ascii_graphic)
        && shannon(text) >= 3.0
}

#[cfg(test)]
mod tests {
    use super::super::testing::assert_examples;
    use super::*;

    #[test]
    fn known_values() {
        assert!(shannon(b"") == 0.0 && shannon(b"aaaa") == 0.0);
        assert!((shannon(b"abcd") - 2.0).abs() < 1e-12);
        assert!((shannon(b"aabb") - 1.0).abs() < 1e-12);
        let every: Vec<u8> = (0..=255).collect();
        assert!((shannon(&every) - 8.0).abs() < 1e-12);
    }

    #[test]
    fn examples() {
        assert_examples(
            is_high_entropy,
            &["d41d8cd98f00b204e9800998ecf8427e", "q7Zt0+XkP2vLw9sRuB4c"],
            &[
                "",
                "aaaaaaaaaaaaaaaaaaaaaaaa",
                "q7Zt0XkP2vLw9s",
                "abababababababababab",
                "two words, with a space",
            ],
        );
    }
}
